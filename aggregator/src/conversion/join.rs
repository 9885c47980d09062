//! Leads and qualifications find each other by the keys of their subject, whichever comes first.

use super::{
    credit::{self, Credit},
    decode::{Conversion, Kind},
};
use crate::{
    position::{BlockRange, Horizon},
    refusal::Refusal,
    store::{EventName, Rows, Store, StoreError},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;
use whence_schemas::{
    event::AttributionModel,
    ids::EventId,
    rows::{Evidence, Lc, LeadRow, QualificationRow, SubjectKeyRow},
    subject::SubjectKey,
    time::UnixMs,
    token::KeyRing,
};

/// `subject_keys.kind` of a lead.
const LEAD: &str = "lead";
/// `subject_keys.kind` of a qualification that had no lead when it came.
const WAITING: &str = "waiting";

/// A key within its program and mode: test events find only test events.
type Name = (String, bool, SubjectKey);

/// A lead that can be found by a key. The earliest one counts, by time of receipt, then by id.
#[derive(Clone, Debug)]
struct KnownLead {
    received_at: UnixMs,
    id: EventId,
    credit: Credit,
}

/// What is known of the subjects of a block, and the rows that its records have made so far.
#[derive(Default)]
pub(super) struct Subjects {
    leads: HashMap<Name, KnownLead>,
    waiting: HashMap<Name, BTreeSet<EventId>>,
    unmatched: BTreeMap<EventId, QualificationRow>,
    made: Made,
}

#[derive(Default)]
struct Made {
    leads: Vec<LeadRow>,
    qualifications: Vec<QualificationRow>,
    subject_keys: Vec<SubjectKeyRow>,
}

impl Subjects {
    /// What was stored before the block about the subjects that its new events name.
    pub async fn load<S: Store>(
        before: &Horizon,
        decoded: &[Result<Conversion, Refusal>],
        known: &HashSet<EventId>,
        store: &S,
    ) -> Result<Subjects, StoreError> {
        let mut subjects = Subjects::default();
        let new = decoded.iter().flatten().filter(|conversion| !known.contains(&conversion.id));
        let names: BTreeSet<(String, SubjectKey)> = new
            .flat_map(|conversion| conversion.keys.iter().map(|key| (conversion.program.clone(), *key)))
            .collect();
        if names.is_empty() {
            return Ok(subjects);
        }
        let names: Vec<_> = names.into_iter().collect();
        let mut waiting: BTreeSet<EventName> = BTreeSet::new();
        for row in store.subjects(before, &names).await? {
            let name = (row.program.0.clone(), row.live, row.key);
            if row.kind.0 == WAITING {
                waiting.insert((row.program.0, row.event_id));
                subjects.waiting.entry(name).or_default().insert(row.event_id);
            } else {
                subjects.know_lead(name, known_lead(row));
            }
        }
        if !waiting.is_empty() {
            let waiting: Vec<_> = waiting.into_iter().collect();
            let rows = store.unmatched(before, &waiting).await?;
            subjects.unmatched = rows.into_iter().map(|row| (row.id, row)).collect();
        }
        Ok(subjects)
    }

    fn know_lead(&mut self, name: Name, lead: KnownLead) {
        let earliest = self.leads.entry(name).or_insert_with(|| lead.clone());
        if (lead.received_at, lead.id) < (earliest.received_at, earliest.id) {
            *earliest = lead;
        }
    }

    /// The earliest lead that one of the keys finds.
    fn lead_of(&self, conversion: &Conversion) -> Option<&KnownLead> {
        let found = conversion.keys.iter().filter_map(|key| self.leads.get(&name(conversion, *key)));
        found.min_by_key(|lead| (lead.received_at, lead.id))
    }

    /// The credit of the earliest credited lead that one of the keys finds.
    fn alias_credit(&self, conversion: &Conversion) -> Option<Credit> {
        let found = conversion.keys.iter().filter_map(|key| self.leads.get(&name(conversion, *key)));
        let credited = found.filter(|lead| !lead.credit.referrer.is_empty());
        credited.min_by_key(|lead| (lead.received_at, lead.id)).map(|lead| lead.credit.clone())
    }

    /// Takes a new event, the block's next.
    pub fn take(&mut self, range: &BlockRange, offset: u64, conversion: Conversion, keys: &KeyRing) {
        match &conversion.kind {
            Kind::Lead { .. } => self.take_lead(range, offset, conversion, keys),
            Kind::Qualification { .. } => self.take_qualification(range, offset, &conversion),
        }
    }

    fn take_lead(&mut self, range: &BlockRange, offset: u64, conversion: Conversion, keys: &KeyRing) {
        let credit = credit::decide(&conversion, keys, self.alias_credit(&conversion));
        let lead = KnownLead { received_at: conversion.received_at, id: conversion.id, credit };
        for key in &conversion.keys {
            self.made.subject_keys.push(subject_key(range, offset, &conversion, *key, LEAD, &lead.credit));
            self.know_lead(name(&conversion, *key), lead.clone());
        }
        self.complete_waiting(range, offset, &conversion, &lead);
        self.made.leads.push(lead_row(range, offset, conversion, lead.credit));
    }

    /// Gives the lead to every qualification that waited for one of its keys.
    fn complete_waiting(
        &mut self,
        range: &BlockRange,
        offset: u64,
        conversion: &Conversion,
        lead: &KnownLead,
    ) {
        let names = conversion.keys.iter().map(|key| name(conversion, *key));
        let ids: BTreeSet<EventId> = names.filter_map(|name| self.waiting.remove(&name)).flatten().collect();
        for id in ids {
            let Some(stored) = self.unmatched.remove(&id) else { continue };
            let caused = |row: QualificationRow, sign| QualificationRow {
                sign,
                revision: stored.revision + 1,
                incarnation: range.incarnation,
                partition: range.partition.number,
                offset,
                ..row
            };
            self.made.qualifications.push(caused(stored.clone(), -1));
            self.made.qualifications.push(caused(with_lead(stored.clone(), lead), 1));
        }
    }

    fn take_qualification(&mut self, range: &BlockRange, offset: u64, conversion: &Conversion) {
        let lead = self.lead_of(conversion).cloned();
        let row = qualification_row(range, offset, conversion);
        match lead {
            Some(lead) => self.made.qualifications.push(with_lead(row, &lead)),
            None => {
                for key in &conversion.keys {
                    let nobody = Credit::default();
                    self.made
                        .subject_keys
                        .push(subject_key(range, offset, conversion, *key, WAITING, &nobody));
                    self.waiting.entry(name(conversion, *key)).or_default().insert(conversion.id);
                }
                self.unmatched.insert(conversion.id, row.clone());
                self.made.qualifications.push(row);
            }
        }
    }

    /// The rows made, in the order in which their tables are inserted.
    pub fn into_rows(self) -> Vec<Rows> {
        let Made { leads, qualifications, subject_keys } = self.made;
        vec![Rows::Leads(leads), Rows::Qualifications(qualifications), Rows::SubjectKeys(subject_keys)]
    }
}

fn name(conversion: &Conversion, key: SubjectKey) -> Name {
    (conversion.program.clone(), conversion.live, key)
}

fn known_lead(row: SubjectKeyRow) -> KnownLead {
    let credit = Credit {
        evidence: row.evidence,
        reason: "",
        referrer: row.referrer,
        link: row.link,
        channel: row.channel.0,
        click_id: row.click_id,
        clicked_at: UnixMs(0),
    };
    KnownLead { received_at: row.received_at, id: row.event_id, credit }
}

fn with_lead(row: QualificationRow, lead: &KnownLead) -> QualificationRow {
    QualificationRow {
        lead_id: lead.id.0,
        evidence: lead.credit.evidence,
        referrer: lead.credit.referrer.clone(),
        link: lead.credit.link.clone(),
        channel: Lc(lead.credit.channel.clone()),
        click_id: lead.credit.click_id,
        ..row
    }
}

fn subject_key(
    range: &BlockRange,
    offset: u64,
    conversion: &Conversion,
    key: SubjectKey,
    kind: &str,
    credit: &Credit,
) -> SubjectKeyRow {
    SubjectKeyRow {
        program: Lc(conversion.program.clone()),
        key,
        kind: Lc(kind.into()),
        event_id: conversion.id,
        received_at: conversion.received_at,
        live: conversion.live,
        evidence: credit.evidence,
        referrer: credit.referrer.clone(),
        link: credit.link.clone(),
        channel: Lc(credit.channel.clone()),
        click_id: credit.click_id,
        incarnation: range.incarnation,
        partition: range.partition.number,
        offset,
    }
}

fn lead_row(range: &BlockRange, offset: u64, conversion: Conversion, credit: Credit) -> LeadRow {
    let model = match conversion.model {
        AttributionModel::FirstTouch => "first_touch",
        AttributionModel::LastTouch | AttributionModel::Unspecified => "last_touch",
    };
    LeadRow {
        program: Lc(conversion.program),
        id: conversion.id,
        occurred_at: conversion.occurred_at,
        received_at: conversion.received_at,
        lead: conversion.lead,
        keys: conversion.keys,
        evidence: credit.evidence,
        reason: Lc(credit.reason.into()),
        referrer: credit.referrer,
        link: credit.link,
        channel: Lc(credit.channel),
        click_id: credit.click_id,
        clicked_at: credit.clicked_at,
        model: Lc(model.into()),
        window_ms: conversion.window_ms,
        registry_version: conversion.registry_version,
        source: Lc(conversion.source),
        live: conversion.live,
        sign: 1,
        revision: 0,
        incarnation: range.incarnation,
        partition: range.partition.number,
        offset,
    }
}

/// The record's own row, without a lead.
fn qualification_row(range: &BlockRange, offset: u64, conversion: &Conversion) -> QualificationRow {
    let Kind::Qualification { name, value_minor, currency } = &conversion.kind else {
        unreachable!("only qualifications come here")
    };
    QualificationRow {
        program: Lc(conversion.program.clone()),
        id: conversion.id,
        occurred_at: conversion.occurred_at,
        received_at: conversion.received_at,
        name: Lc(name.clone()),
        lead: conversion.lead.clone(),
        keys: conversion.keys.clone(),
        lead_id: Uuid::nil(),
        evidence: Evidence::None,
        referrer: String::new(),
        link: String::new(),
        channel: Lc(String::new()),
        click_id: Uuid::nil(),
        value_minor: *value_minor,
        currency: Lc(currency.clone()),
        source: Lc(conversion.source.clone()),
        live: conversion.live,
        sign: 1,
        revision: 0,
        incarnation: range.incarnation,
        partition: range.partition.number,
        offset,
    }
}
