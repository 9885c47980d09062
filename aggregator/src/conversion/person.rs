//! What is known about one person, and what follows from it: who is credited with each lead, which lead each
//! qualification belongs to, and what is taken back.
//!
//! [`Person::decision`] is a function of the set of a person's events: in whatever order they come, the same
//! decision stands in the end. The rules:
//!
//! - A person's leads are ordered by time of receipt, then id. The first one is credited by its own touches.
//! - A later lead whose touch was made when the person was known already is an existing customer: credited by
//!   its own touch where the program allows that, else to nobody.
//! - Any other later lead is the same referral told twice, and relies on the earliest credited lead.
//! - A qualification belongs to the earliest lead that a touch before it is credited with, else to the first.
//! - What is taken back is taken in order of receipt, from the newest qualification first where none is named,
//!   and never more than is left.
//! - A qualification that has a condition counts where what is left of the person's payments meets it: `history`.

mod history;

use super::{
    condition::Condition,
    credit::{Credit, NO_TOUCH},
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use whence_schemas::{ids::EventId, rows::Evidence, time::UnixMs};

/// A lead, by what its record says.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    pub received_at: UnixMs,
    pub occurred_at: UnixMs,
    pub id: EventId,
    /// What its own touches prove.
    pub proved: Credit,
    pub allows_existing: bool,
}

/// A qualification, by what its record says.
#[derive(Clone, Debug)]
pub(super) struct Qualification {
    pub id: EventId,
    pub occurred_at: UnixMs,
    pub name: String,
    pub paid_minor: i64,
    pub currency: String,
    /// On the person's history; `None`: it counts whatever that is.
    pub condition: Option<Condition>,
}

/// A disqualification, by what its record says.
#[derive(Clone, Debug)]
pub(super) struct Disqualification {
    pub received_at: UnixMs,
    pub id: EventId,
    pub occurred_at: UnixMs,
    /// What it takes back; `None`: all so far.
    pub qualification: Option<EventId>,
    /// 0: all of it.
    pub value_minor: i64,
    pub currency: String,
}

/// All events of one person that decide anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    leads: BTreeMap<(UnixMs, EventId), Lead>,
    qualifications: BTreeMap<EventId, Qualification>,
    disqualifications: BTreeMap<(UnixMs, EventId), Disqualification>,
    /// Events that only name the person.
    named_by: BTreeSet<EventId>,
}

/// What stands for a lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeadState {
    pub credit: Credit,
    /// The person's first lead, nil where it is this one.
    pub first_lead: Uuid,
}

/// What stands for a qualification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QualificationState {
    /// Its lead with its credit; `None`: it waits.
    pub lead: Option<(EventId, Credit)>,
    /// What is left of its value; `None`: all of it was taken back.
    pub left_minor: Option<i64>,
    /// Why its condition is not met: the word in the table. Empty: it is met, or there is none.
    pub unmet: &'static str,
}

/// What stands for a disqualification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DisqualificationState {
    /// The word in the table.
    pub outcome: &'static str,
    pub qualifications: u64,
    pub taken_minor: i64,
    pub taken_currency: String,
    pub excess_minor: i64,
}

/// What stands for all of a person's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub leads: BTreeMap<EventId, LeadState>,
    pub qualifications: BTreeMap<EventId, QualificationState>,
    pub disqualifications: BTreeMap<EventId, DisqualificationState>,
}

impl Person {
    pub fn add_lead(&mut self, lead: Lead) {
        self.leads.insert((lead.received_at, lead.id), lead);
    }

    pub fn add_qualification(&mut self, qualification: Qualification) {
        self.qualifications.insert(qualification.id, qualification);
    }

    pub fn add_disqualification(&mut self, disqualification: Disqualification) {
        self.disqualifications.insert((disqualification.received_at, disqualification.id), disqualification);
    }

    pub fn add_name(&mut self, id: EventId) {
        self.named_by.insert(id);
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.leads.len() + self.qualifications.len() + self.disqualifications.len() + self.named_by.len()
    }

    /// Of all events.
    pub fn ids(&self) -> impl Iterator<Item = EventId> {
        let leads = self.leads.keys().map(|(_, id)| *id);
        let disqualifications = self.disqualifications.keys().map(|(_, id)| *id);
        let rest = self.qualifications.keys().chain(&self.named_by).copied();
        leads.chain(disqualifications).chain(rest)
    }

    /// Both are one.
    pub fn merge(&mut self, other: Person) {
        self.leads.extend(other.leads);
        self.qualifications.extend(other.qualifications);
        self.disqualifications.extend(other.disqualifications);
        self.named_by.extend(other.named_by);
    }

    /// What stands.
    pub fn decision(&self) -> Decision {
        let credits = self.credits();
        let first = self.leads.values().next().map_or(Uuid::nil(), |lead| lead.id.0);
        let mut left: BTreeMap<EventId, Option<i64>> =
            self.qualifications.values().map(|q| (q.id, Some(q.paid_minor))).collect();
        let disqualifications =
            self.disqualifications.values().map(|d| (d.id, self.take_back(d, &mut left))).collect();
        let unmet = history::unmet(self, &left, |q| Some(self.lead_of(q, &credits)?.0));
        let qualifications = self.qualifications.values().map(|q| {
            let unmet = unmet.get(&q.id).copied().unwrap_or_default();
            (q.id, QualificationState { lead: self.lead_of(q, &credits), left_minor: left[&q.id], unmet })
        });
        let qualifications = qualifications.collect();
        let leads = credits.into_iter().map(|(id, credit)| {
            let first_lead = if id.0 == first { Uuid::nil() } else { first };
            (id, LeadState { credit, first_lead })
        });
        Decision { leads: leads.collect(), qualifications, disqualifications }
    }

    fn credits(&self) -> BTreeMap<EventId, Credit> {
        let mut credits = BTreeMap::new();
        let mut known_since = None;
        let mut earliest: Option<Credit> = None;
        for lead in self.leads.values() {
            let credit = match known_since {
                None => lead.proved.clone(),
                Some(known_since) => later_credit(lead, known_since, earliest.as_ref()),
            };
            known_since.get_or_insert(lead.received_at);
            if !credit.referrer.is_empty() && earliest.is_none() {
                earliest = Some(credit.clone());
            }
            credits.insert(lead.id, credit);
        }
        credits
    }

    fn lead_of(
        &self,
        qualification: &Qualification,
        credits: &BTreeMap<EventId, Credit>,
    ) -> Option<(EventId, Credit)> {
        let by_touch_before = |lead: &&Lead| {
            let credit = &credits[&lead.id];
            credit.is_own() && credit.clicked_at <= qualification.occurred_at
        };
        let lead = self.leads.values().find(by_touch_before).or_else(|| self.leads.values().next())?;
        Some((lead.id, credits[&lead.id].clone()))
    }

    /// Takes a disqualification's part out of what is left of the qualifications.
    fn take_back(
        &self,
        disqualification: &Disqualification,
        left: &mut BTreeMap<EventId, Option<i64>>,
    ) -> DisqualificationState {
        let mut targets: Vec<&Qualification> = match disqualification.qualification {
            Some(id) => self.qualifications.get(&id).into_iter().collect(),
            None => {
                let so_far = |q: &&Qualification| q.occurred_at <= disqualification.occurred_at;
                self.qualifications.values().filter(so_far).collect()
            }
        };
        if targets.is_empty() {
            return DisqualificationState { outcome: "waiting", ..DisqualificationState::default() };
        }
        targets.sort_by_key(|q| std::cmp::Reverse((q.occurred_at, q.id)));
        match disqualification.value_minor {
            0 => take_all(&targets, left),
            value_minor => take_part(value_minor, &disqualification.currency, &targets, left),
        }
    }
}

/// The credit of a lead of a person who was a lead before.
fn later_credit(lead: &Lead, known_since: UnixMs, earliest: Option<&Credit>) -> Credit {
    let proved = &lead.proved;
    let touched_later = match proved.evidence {
        Evidence::Token => proved.clicked_at > known_since,
        Evidence::Code => true,
        Evidence::None | Evidence::Alias => false,
    };
    match earliest {
        _ if touched_later && !lead.allows_existing => Credit::nobody("existing_customer"),
        _ if touched_later => proved.clone(),
        Some(earliest) if proved.is_own() => earliest.as_alias("repeated_lead"),
        Some(earliest) if proved.reason == NO_TOUCH => earliest.as_alias(""),
        Some(earliest) => earliest.as_alias(&proved.reason),
        None => proved.clone(),
    }
}

/// All that is left of these.
fn take_all(targets: &[&Qualification], left: &mut BTreeMap<EventId, Option<i64>>) -> DisqualificationState {
    let mut taken: BTreeMap<&str, i64> = BTreeMap::new();
    let mut qualifications = 0;
    for target in targets {
        if let Some(minor) = left.insert(target.id, None).flatten() {
            qualifications += 1;
            *taken.entry(&target.currency).or_default() += minor;
        }
    }
    let (taken_currency, taken_minor) = match taken.into_iter().collect::<Vec<_>>()[..] {
        [(currency, minor)] => (currency.to_owned(), minor),
        _ => (String::new(), 0),
    };
    let outcome = if qualifications == 0 { "repeated" } else { "applied" };
    DisqualificationState { outcome, qualifications, taken_minor, taken_currency, excess_minor: 0 }
}

/// This much of these. What has nothing left is taken back whole.
fn take_part(
    value_minor: i64,
    currency: &str,
    targets: &[&Qualification],
    left: &mut BTreeMap<EventId, Option<i64>>,
) -> DisqualificationState {
    let mut rest = value_minor;
    let mut qualifications = 0;
    for target in targets.iter().filter(|target| target.currency == currency) {
        let Some(minor) = left[&target.id].filter(|minor| *minor > 0 && rest > 0) else { continue };
        let part = minor.min(rest);
        rest -= part;
        qualifications += 1;
        left.insert(target.id, Some(minor - part).filter(|minor| *minor > 0));
    }
    let is_of_currency = targets.iter().any(|target| target.currency == currency);
    let outcome = match rest {
        _ if !is_of_currency => "currency",
        0 => "applied",
        _ => "excess",
    };
    DisqualificationState {
        outcome,
        qualifications,
        taken_minor: value_minor - rest,
        taken_currency: if qualifications > 0 { currency.to_owned() } else { String::new() },
        excess_minor: rest,
    }
}

#[cfg(test)]
mod tests;
