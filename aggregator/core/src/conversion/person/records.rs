//! Which events tell of one lead: those about one record of their source, such as a contact that is created first and
//! given its touch by a later delivery.

use super::{super::credit, Lead, Person};
use std::collections::BTreeMap;
use whence_schemas::{ids::EventId, subject::SubjectKey, time::UnixMs, token::CLOCK_SKEW_MS_MAX};

/// The person's leads, each with what the touches of all its events prove, in order of receipt; and of the other
/// events the one that stands for them.
pub(super) fn told(person: &Person) -> (Vec<Lead>, BTreeMap<EventId, EventId>) {
    let mut of_record: BTreeMap<SubjectKey, Vec<&Lead>> = BTreeMap::new();
    for lead in person.leads.values() {
        if let Some(record) = lead.record {
            of_record.entry(record).or_default().push(lead);
        }
    }
    let mut stands_for = BTreeMap::new();
    let mut leads = Vec::with_capacity(person.leads.len());
    for lead in person.leads.values() {
        match lead.record.and_then(|record| of_record.get(&record)) {
            None => leads.push(lead.clone()),
            Some(events) if events[0].id == lead.id => leads.push(together(events)),
            Some(events) => _ = stands_for.insert(lead.id, events[0].id),
        }
    }
    (leads, stands_for)
}

/// The first of these, credited as if all had come at once: at the time of the earliest. Of codes, which carry no time,
/// those of the first event that has any count: a later one is another visit's.
fn together(events: &[&Lead]) -> Lead {
    let first = events[0];
    if events.len() == 1 {
        return first.clone();
    }
    let occurred_at = events.iter().map(|lead| lead.occurred_at).min().unwrap_or(first.occurred_at);
    let is_code =
        |touch: &whence_schemas::rows::TouchValue| touch.click_id.is_nil() && touch.refused.is_empty();
    let with_code = events.iter().find(|lead| lead.touches.iter().any(is_code)).map(|lead| lead.id);
    let is_later = |clicked_at: UnixMs| clicked_at.ms_since(occurred_at) > CLOCK_SKEW_MS_MAX;
    let touches = events.iter().flat_map(|lead| {
        lead.touches.iter().filter(move |touch| {
            if is_code(touch) {
                with_code == Some(lead.id)
            } else {
                lead.id == first.id || !is_later(touch.clicked_at)
            }
        })
    });
    let touches: Vec<_> = touches.cloned().collect();
    let proved = credit::chosen(&touches, first.model, first.window_ms, occurred_at);
    Lead { proved, occurred_at, touches, ..first.clone() }
}
