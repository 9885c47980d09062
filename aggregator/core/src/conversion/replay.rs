//! Who would have been credited under other rules: the aggregator's own decision, over what is stored. Pure, and
//! changes nothing.
//!
//! A person is decided again only where the stored events, under their own rules, give what is stored. Where
//! they do not, or where a lead is from before its touches were kept, the answer is [`Undecided`], for all of
//! the person's events.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;
use whence_schemas::{
    event::AttributionModel,
    history::SPEND_AT_LEAST,
    ids::EventId,
    rows::{Evidence, LeadRow, QualificationRow},
    subject::SubjectKey,
    time::UnixMs,
};

use super::{
    credit::{self, NO_TOUCH},
    person::{Decision, Lead, Person},
    rows::{lead_of, qualification_of},
    sets::Sets,
};

/// Other rules; what is `None` stays as it was for each lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Which touch counts.
    pub model: Option<AttributionModel>,
    /// How long it counts, milliseconds.
    pub window_ms: Option<u64>,
    /// Whether a person who was a lead already can be referred again.
    pub allows_existing: Option<bool>,
}

/// What stands of a program's live events.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The leads, also events that another one stands for (`sign` 0).
    pub leads: Vec<LeadRow>,
    /// The qualifications, also those that do not count for their condition (`sign` 0).
    pub qualifications: Vec<QualificationRow>,
    /// The keys of every event that names a person: events that share one are one person's.
    pub names: Vec<(EventId, Vec<SubjectKey>)>,
}

/// Why nothing can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// A lead of the person is stored without its touches.
    NoTouches,
    /// Under the rules of their time the stored events give something else than what is stored.
    NotReproduced,
    /// It counts, or does not, for a total of the person's payments, and some would belong to another lead.
    Total,
}

/// A lead or qualification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its event id.
    pub id: EventId,
    /// Whether it is a lead.
    pub is_lead: bool,
    /// When it happened.
    pub occurred_at: UnixMs,
    /// Who is credited with it; empty: nobody.
    pub before: String,
    /// Who would be.
    pub after: Result<String, Undecided>,
    /// Of a qualification the lead that it would belong to, where that is decided and there is one.
    pub lead: Option<EventId>,
}

/// The outcome for every lead and every qualification that stands, or may under the rules.
#[must_use]
pub fn replay(past: &Past, rules: &Rules) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(past.leads.len() + past.qualifications.len());
    for (leads, qualifications) in persons(past) {
        let decided = decide(&leads, &qualifications, rules);
        for lead in leads.into_iter().filter(|lead| lead.sign > 0) {
            let after = decided.as_ref().map_err(|undecided| *undecided);
            let after = after.map(|decision| decision.leads[&lead.id].credit.referrer.clone());
            outcomes.push(outcome(lead.id, true, lead.occurred_at, &lead.referrer, after, None));
        }
        let has_total = |row: &&QualificationRow| row.condition.0 == SPEND_AT_LEAST;
        let is_moved = |row: &QualificationRow| {
            let decision = decided.as_ref().ok();
            decision.is_some_and(|decision| lead_of_reached(decision, row.id) != known(row.lead_id))
        };
        let is_total_open = qualifications.iter().copied().filter(has_total).any(is_moved);
        for reached in qualifications {
            let (counts, is_open) = (reached.sign > 0, is_total_open && has_total(&reached));
            if !counts && !is_open {
                continue;
            }
            let after = match &decided {
                Err(undecided) => Err(*undecided),
                Ok(_) if is_open => Err(Undecided::Total),
                Ok(decision) => Ok(credited(decision, reached.id)),
            };
            let lead = decided.as_ref().ok().and_then(|decision| lead_of_reached(decision, reached.id));
            let before = if counts { &reached.referrer } else { "" };
            outcomes.push(outcome(reached.id, false, reached.occurred_at, before, after, lead));
        }
    }
    outcomes
}

fn lead_of_reached(decision: &Decision, qualification: EventId) -> Option<EventId> {
    decision.qualifications[&qualification].lead.as_ref().map(|(lead, _)| *lead)
}

fn known(lead: Uuid) -> Option<EventId> {
    (!lead.is_nil()).then_some(EventId(lead))
}

fn outcome(
    id: EventId,
    is_lead: bool,
    occurred_at: UnixMs,
    before: &str,
    after: Result<String, Undecided>,
    lead: Option<EventId>,
) -> Outcome {
    Outcome { id, is_lead, occurred_at, before: before.to_owned(), after, lead }
}

/// What stands for a person's events under the rules.
fn decide(
    leads: &[&LeadRow],
    qualifications: &[&QualificationRow],
    rules: &Rules,
) -> Result<Decision, Undecided> {
    if !leads.iter().all(|lead| has_touches(lead)) {
        return Err(Undecided::NoTouches);
    }
    let decision = |rules: &Rules| {
        let mut person = Person::default();
        leads.iter().for_each(|lead| person.add_lead(under(lead, rules)));
        qualifications.iter().for_each(|row| person.add_qualification(qualification_of(row)));
        person.decision()
    };
    let control = decision(&Rules::default());
    let are_leads = leads.iter().all(|lead| {
        let credit = &control.leads[&lead.id].credit;
        (credit.evidence, &credit.referrer) == (lead.evidence, &lead.referrer)
    });
    let are_qualifications = qualifications.iter().all(|row| credited(&control, row.id) == row.referrer);
    if are_leads && are_qualifications { Ok(decision(rules)) } else { Err(Undecided::NotReproduced) }
}

fn credited(decision: &Decision, qualification: EventId) -> String {
    let lead = &decision.qualifications[&qualification].lead;
    lead.as_ref().map_or_else(String::new, |(_, credit)| credit.referrer.clone())
}

/// Rows of earlier versions have none; they need none where there was nothing to keep.
fn has_touches(lead: &LeadRow) -> bool {
    let had_none = lead.touch_evidence == Evidence::None && lead.touch_reason.0 == NO_TOUCH;
    !lead.touches.is_empty() || had_none
}

/// The lead as it would be under the rules.
fn under(row: &LeadRow, rules: &Rules) -> Lead {
    let lead = lead_of(row);
    let model = rules.model.unwrap_or(lead.model);
    let window_ms = rules.window_ms.unwrap_or(lead.window_ms);
    let allows_existing = rules.allows_existing.unwrap_or(lead.allows_existing);
    let proved = credit::chosen(&row.touches, model, window_ms, row.occurred_at);
    Lead { proved, model, window_ms, allows_existing, ..lead }
}

type Events<'a> = (Vec<&'a LeadRow>, Vec<&'a QualificationRow>);

/// The events of each person.
fn persons(past: &Past) -> Vec<Events<'_>> {
    let mut people = Sets::new();
    let joined = past.names.iter().map(|(id, keys)| (*id, people.join(keys.iter().copied())));
    let of: HashMap<EventId, usize> = joined.collect();
    // Whoever is named by no key is alone.
    let alone = past.names.len() + 1;
    let mut persons: BTreeMap<(usize, Option<EventId>), Events<'_>> = BTreeMap::new();
    let mut place = |id: EventId| match of.get(&id) {
        Some(person) => (people.root(*person), None),
        None => (alone, Some(id)),
    };
    for lead in &past.leads {
        persons.entry(place(lead.id)).or_default().0.push(lead);
    }
    for reached in &past.qualifications {
        persons.entry(place(reached.id)).or_default().1.push(reached);
    }
    persons.into_values().collect()
}

#[cfg(test)]
mod tests;
