//! What is known about one person, and what follows from it: who is credited with each lead, which lead each
//! qualification belongs to, and what is taken back.
//!
//! [`Person::decision`] is a function of the set of a person's events: in whatever order they come, the same
//! decision stands in the end. The rules:
//!
//! - Lead events about one record of their source are one lead: `records`.
//! - A person's leads are ordered by time of receipt, then id. The first one is credited by its own touches.
//! - A later lead whose touch was made when the person was known already is an existing customer: credited by
//!   its own touch where the program allows that, else to nobody.
//! - Any other later lead is the same referral told twice, and relies on the earliest credited lead.
//! - A qualification belongs to the earliest lead that a touch before it is credited with, else to the first.
//! - Qualifications that tell of one payment count once, and what is taken back and given again is of payments:
//!   `payments`.
//! - A qualification that has a condition counts where what is left of the person's payments meets it: `history`.
//! - Whoever was a lead is one person in the program. For it stand its first qualification that counts and has a lead, and
//!   the lead that this one belongs to; without any, the earliest lead that is credited, or else the first. So a person who
//!   qualified is counted where it is counted as a lead.

mod history;
mod payments;
mod records;

use super::{
    condition::Condition,
    credit::{Credit, NO_TOUCH},
    people::id_key,
};
use crate::reward::SAME_PAYMENT;
use payments::Payments;
use std::collections::BTreeMap;
use uuid::Uuid;
use whence_schemas::{
    event::AttributionModel,
    ids::EventId,
    rows::{Evidence, TouchValue},
    subject::SubjectKey,
    time::UnixMs,
};

/// A lead, by what its record says.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    pub received_at: UnixMs,
    pub occurred_at: UnixMs,
    pub id: EventId,
    /// What its own touches prove.
    pub proved: Credit,
    /// All of them.
    pub touches: Vec<TouchValue>,
    pub model: AttributionModel,
    pub window_ms: u64,
    pub allows_existing: bool,
    /// The source's record that it is; `None`: it is a lead of its own.
    pub record: Option<SubjectKey>,
}

/// A qualification, by what its record says.
#[derive(Clone, Debug)]
pub(super) struct Qualification {
    pub id: EventId,
    pub received_at: UnixMs,
    pub occurred_at: UnixMs,
    /// The names that the payment has.
    pub payments: Vec<SubjectKey>,
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
    /// What it takes back, by its event or by names of the payment; neither: all so far.
    pub qualification: Option<EventId>,
    pub payments: Vec<SubjectKey>,
    /// 0: all of it.
    pub value_minor: i64,
    pub currency: String,
}

/// A reinstatement, by what its record says.
#[derive(Clone, Debug)]
pub(super) struct Reinstatement {
    pub received_at: UnixMs,
    pub id: EventId,
    pub occurred_at: UnixMs,
    /// What it undoes, whenever that came; `None`: what was taken of the payment before.
    pub disqualification: Option<EventId>,
    pub payments: Vec<SubjectKey>,
    /// 0: all of it.
    pub value_minor: i64,
    pub currency: String,
}

/// All events of one person that decide anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    /// By receipt. Of those that were received in one millisecond the one that happened first comes first; ids, which are
    /// hashes, decide only where nothing else does.
    leads: BTreeMap<(UnixMs, UnixMs, EventId), Lead>,
    qualifications: BTreeMap<EventId, Qualification>,
    disqualifications: BTreeMap<EventId, Disqualification>,
    reinstatements: BTreeMap<EventId, Reinstatement>,
    /// Events that only name the person, and the names that each has for one payment.
    named_by: BTreeMap<EventId, Vec<SubjectKey>>,
}

/// What stands for a lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeadState {
    pub credit: Credit,
    /// The person's first lead, nil where it is this one; of an event about the record of another one, that.
    pub first_lead: Uuid,
    /// Whether it counts: no other event stands for it.
    pub counts: bool,
    /// Whether it is the one that stands for its person.
    pub is_person: bool,
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
    /// Whether it is the first of its person that counts.
    pub is_person: bool,
}

impl QualificationState {
    /// Whether it counts: something is left of it, and its condition is met.
    fn counts(&self) -> bool {
        self.unmet.is_empty() && self.left_minor.is_some()
    }
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

/// What stands for a reinstatement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReinstatementState {
    /// The word in the table.
    pub outcome: &'static str,
    pub given_minor: i64,
    pub given_currency: String,
    pub excess_minor: i64,
}

/// What stands for all of a person's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub leads: BTreeMap<EventId, LeadState>,
    pub qualifications: BTreeMap<EventId, QualificationState>,
    pub disqualifications: BTreeMap<EventId, DisqualificationState>,
    pub reinstatements: BTreeMap<EventId, ReinstatementState>,
}

/// Why a lead event does not count: a word of `leads.reason`.
const SAME_RECORD: &str = "same_record";

impl Person {
    pub fn add_lead(&mut self, lead: Lead) {
        self.leads.insert((lead.received_at, lead.occurred_at, lead.id), lead);
    }

    pub fn add_qualification(&mut self, qualification: Qualification) {
        self.qualifications.insert(qualification.id, qualification);
    }

    pub fn add_disqualification(&mut self, disqualification: Disqualification) {
        self.disqualifications.insert(disqualification.id, disqualification);
    }

    pub fn add_reinstatement(&mut self, reinstatement: Reinstatement) {
        self.reinstatements.insert(reinstatement.id, reinstatement);
    }

    pub fn add_name(&mut self, id: EventId, payments: Vec<SubjectKey>) {
        self.named_by.insert(id, payments);
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.leads.len()
            + self.qualifications.len()
            + self.disqualifications.len()
            + self.reinstatements.len()
            + self.named_by.len()
    }

    /// Of all events.
    pub fn ids(&self) -> impl Iterator<Item = EventId> {
        let leads = self.leads.keys().map(|(_, _, id)| *id);
        let taken = self.disqualifications.keys().chain(self.reinstatements.keys()).copied();
        let rest = self.qualifications.keys().chain(self.named_by.keys()).copied();
        leads.chain(taken).chain(rest)
    }

    /// What events go by: their ids, those that they name, names of payments, records. Nobody's, and not to be forgotten
    /// with the person.
    pub fn names_of_events(&self) -> impl Iterator<Item = SubjectKey> {
        let named = self.disqualifications.values().filter_map(|back| back.qualification);
        let undone = self.reinstatements.values().filter_map(|again| again.disqualification);
        let payments = self.qualifications.values().map(|q| &q.payments);
        let payments = payments.chain(self.disqualifications.values().map(|d| &d.payments));
        let payments = payments.chain(self.reinstatements.values().map(|r| &r.payments));
        let payments = payments.chain(self.named_by.values()).flatten().copied();
        let records = self.leads.values().filter_map(|lead| lead.record);
        self.ids().chain(named).chain(undone).map(id_key).chain(payments).chain(records)
    }

    /// Both are one.
    pub fn merge(&mut self, other: Person) {
        self.leads.extend(other.leads);
        self.qualifications.extend(other.qualifications);
        self.disqualifications.extend(other.disqualifications);
        self.reinstatements.extend(other.reinstatements);
        self.named_by.extend(other.named_by);
    }

    /// What stands.
    pub fn decision(&self) -> Decision {
        let (leads, stands_for) = records::told(self);
        let credits = credits(&leads);
        let first = leads.first().map_or(Uuid::nil(), |lead| lead.id.0);
        let payments = Payments::of(self);
        let unmet = history::unmet(&leads, &payments, |q| Some(lead_of(q, &leads, &credits)?.0));
        let qualifications = self.qualifications.values().map(|q| {
            let is_told_again = payments.told_again.contains(&q.id);
            let unmet =
                if is_told_again { SAME_PAYMENT } else { unmet.get(&q.id).copied().unwrap_or_default() };
            let left_minor = payments.left.get(&q.id).copied().unwrap_or(Some(q.paid_minor));
            let lead = lead_of(q, &leads, &credits);
            (q.id, QualificationState { lead, left_minor, unmet, is_person: false })
        });
        let mut qualifications: BTreeMap<_, _> = qualifications.collect();
        let qualified = self.first_that_counts(&qualifications);
        let standing = match qualified.and_then(|id| qualifications.get_mut(&id)) {
            Some(state) => {
                state.is_person = true;
                state.lead.as_ref().map(|(lead, _)| *lead)
            }
            None => {
                let is_credited = |lead: &&Lead| !credits[&lead.id].referrer.is_empty();
                leads.iter().find(is_credited).or(leads.first()).map(|lead| lead.id)
            }
        };
        let told_again = stands_for.into_iter().map(|(id, other)| {
            let credit = Credit::nobody(SAME_RECORD);
            (id, LeadState { credit, first_lead: other.0, counts: false, is_person: false })
        });
        let leads = credits.into_iter().map(|(id, credit)| {
            let first_lead = if id.0 == first { Uuid::nil() } else { first };
            (id, LeadState { credit, first_lead, counts: true, is_person: standing == Some(id) })
        });
        Decision {
            leads: leads.chain(told_again).collect(),
            qualifications,
            disqualifications: payments.disqualifications,
            reinstatements: payments.reinstatements,
        }
    }

    /// The first qualification that counts and has a lead, by when it happened, then by when it came.
    fn first_that_counts(&self, states: &BTreeMap<EventId, QualificationState>) -> Option<EventId> {
        let counting = states.iter().filter(|(_, state)| state.counts() && state.lead.is_some());
        let order = |id: &EventId| {
            let qualification = &self.qualifications[id];
            (qualification.occurred_at, qualification.received_at, *id)
        };
        counting.map(|(id, _)| order(id)).min().map(|(_, _, id)| id)
    }
}

fn credits(leads: &[Lead]) -> BTreeMap<EventId, Credit> {
    let mut credits = BTreeMap::new();
    let mut known_since = None;
    let mut earliest: Option<Credit> = None;
    for lead in leads {
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
    qualification: &Qualification,
    leads: &[Lead],
    credits: &BTreeMap<EventId, Credit>,
) -> Option<(EventId, Credit)> {
    let by_touch_before = |lead: &&Lead| {
        let credit = &credits[&lead.id];
        credit.is_own() && credit.clicked_at <= qualification.occurred_at
    };
    let lead = leads.iter().find(by_touch_before).or(leads.first())?;
    Some((lead.id, credits[&lead.id].clone()))
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

#[cfg(test)]
mod tests;
