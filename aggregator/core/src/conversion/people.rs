//! Whose events are whose. All keys of an event are one person's, so that events are linked by keys and keys by
//! events, in chains of any length; two persons that turn out to be one are merged.
//!
//! What was stored before a block about the persons of its events is loaded first, in as many batched look-ups
//! as the longest chain has links, whatever the number of events, and at most [`LINKS_MAX`].

use super::{
    decode::{Conversion, Kind},
    person::Person,
    rows::{NewestRow, disqualification_of, lead_of, qualification_of, reinstatement_of},
};
use crate::{
    position::Horizon,
    store::{EventName, Store, StoreError},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use whence_schemas::{
    ids::EventId,
    rows::{DisqualificationRow, LeadRow, QualificationRow, ReinstatementRow, SubjectKeyRow},
    subject::SubjectKey,
};

/// Events of one person, at most: further ones are refused. A person's credit is decided over all of them.
pub(super) const PERSON_EVENTS_MAX: usize = 5000;
/// Links from an event to the end of its person's longest chain, at most: further ones are not followed, and the event
/// is refused. Each is a look-up that the whole block waits for.
pub(super) const LINKS_MAX: usize = 100;
/// How often one key may join as a referrer: every event of its person asks for all of these rows.
pub(super) const PARTICIPANTS_MAX: usize = 1000;

/// Words of `subject_keys.kind`.
pub(super) mod kind {
    pub const LEAD: &str = "lead";
    pub const QUALIFICATION: &str = "qualification";
    /// A qualification, in rows of earlier versions.
    pub const WAITING: &str = "waiting";
    pub const DISQUALIFICATION: &str = "disqualification";
    pub const REINSTATEMENT: &str = "reinstatement";
    pub const IDENTIFY: &str = "identify";
    pub const PARTICIPANT: &str = "participant";
    pub const ERASED: &str = "erased";
}

/// A key within its program and mode: test events find only test events.
pub(super) type Name = (String, bool, SubjectKey);

/// The key that finds a qualification or disqualification by its event id: both are 16 bytes of a hash.
pub(super) fn id_key(id: EventId) -> SubjectKey {
    SubjectKey(id.0.into_bytes())
}

/// The keys that an event links: those that find its person.
pub(super) fn linking_keys(conversion: &Conversion) -> Vec<SubjectKey> {
    let Conversion { id, keys, payments, .. } = conversion;
    let of_event: Vec<SubjectKey> = match &conversion.kind {
        Kind::Qualification { .. } => vec![id_key(*id)],
        // It is the payment's person, whatever else the event says of it.
        Kind::Disqualification { qualification, .. } if qualification.is_some() || !payments.is_empty() => {
            return [Some(*id), *qualification]
                .into_iter()
                .flatten()
                .map(id_key)
                .chain(payments.clone())
                .collect();
        }
        Kind::Reinstatement { disqualification, .. } => {
            return disqualification.map(id_key).into_iter().chain(payments.clone()).collect();
        }
        Kind::Disqualification { .. } => vec![id_key(*id)],
        Kind::Lead { record, .. } => record.iter().copied().collect(),
        _ => Vec::new(),
    };
    keys.iter().chain(payments).copied().chain(of_event).collect()
}

/// A person with all the names it goes by.
#[derive(Default)]
struct Known {
    person: Person,
    names: Vec<Name>,
}

/// The persons of a block's events, and the rows that stand for their events.
#[derive(Default)]
pub(super) struct People {
    of: HashMap<Name, usize>,
    known: Vec<Known>,
    /// Names that are suppressed.
    pub erased: HashSet<Name>,
    /// Keys that end a chain which was not followed further.
    cut_off: BTreeSet<(String, SubjectKey)>,
    /// Events by which a name joined the program as referrer.
    pub participants: HashMap<Name, BTreeSet<EventId>>,
    pub leads: BTreeMap<EventId, NewestRow<LeadRow>>,
    pub qualifications: BTreeMap<EventId, NewestRow<QualificationRow>>,
    pub disqualifications: BTreeMap<EventId, NewestRow<DisqualificationRow>>,
    pub reinstatements: BTreeMap<EventId, NewestRow<ReinstatementRow>>,
}

/// The stored events that name a person, by kind.
#[derive(Default)]
struct Index {
    names: BTreeMap<EventId, BTreeSet<Name>>,
    /// With the names that each has for one payment.
    identifies: BTreeMap<EventId, Vec<SubjectKey>>,
    leads: BTreeSet<EventName>,
    qualifications: BTreeSet<EventName>,
    disqualifications: BTreeSet<EventName>,
    reinstatements: BTreeSet<EventName>,
}

impl Index {
    fn add(&mut self, people: &mut People, row: &SubjectKeyRow) {
        let name = |key| (row.program.0.clone(), row.live, key);
        let event = (row.program.0.clone(), row.event_id);
        match row.kind.0.as_str() {
            kind::ERASED => {
                people.erased.insert(name(row.key));
                return;
            }
            kind::PARTICIPANT => {
                people.participants.entry(name(row.key)).or_default().insert(row.event_id);
                return;
            }
            kind::LEAD => self.leads.insert(event),
            kind::QUALIFICATION | kind::WAITING => self.qualifications.insert(event),
            kind::DISQUALIFICATION => self.disqualifications.insert(event),
            kind::REINSTATEMENT => self.reinstatements.insert(event),
            _ => self.identifies.insert(row.event_id, row.payments.clone()).is_none(),
        };
        let names = self.names.entry(row.event_id).or_default();
        names.insert(name(row.key));
        names.extend(row.keys.iter().map(|key| name(*key)));
    }
}

impl People {
    /// What was stored before the block about the persons of these events.
    pub async fn load<S: Store>(
        before: &Horizon,
        events: impl Iterator<Item = &Conversion>,
        store: &S,
    ) -> Result<People, StoreError> {
        let mut people = People::default();
        let mut index = Index::default();
        let mut asked: BTreeSet<(String, SubjectKey)> = BTreeSet::new();
        let mut wanted: BTreeSet<(String, SubjectKey)> = BTreeSet::new();
        let mut links_max = LINKS_MAX;
        for event in events {
            if matches!(event.kind, Kind::Erasure { .. }) {
                // Nobody is forgotten in part. What its chain has is bounded by the events of a person.
                links_max = usize::MAX;
            }
            let keys = linking_keys(event).into_iter().chain(event.keys.iter().copied());
            wanted.extend(keys.map(|key| (event.program.clone(), key)));
        }
        for _ in 0..links_max {
            if wanted.is_empty() {
                break;
            }
            let names: Vec<_> = wanted.iter().cloned().collect();
            asked.append(&mut wanted);
            for row in store.subjects(before, &names).await? {
                let links = !matches!(row.kind.0.as_str(), kind::ERASED | kind::PARTICIPANT);
                for key in row.keys.iter().filter(|_| links) {
                    let name = (row.program.0.clone(), *key);
                    if !asked.contains(&name) {
                        wanted.insert(name);
                    }
                }
                index.add(&mut people, &row);
            }
        }
        people.cut_off = wanted;
        people.load_events(before, index, &asked, store).await?;
        Ok(people)
    }

    async fn load_events<S: Store>(
        &mut self,
        before: &Horizon,
        index: Index,
        asked: &BTreeSet<(String, SubjectKey)>,
        store: &S,
    ) -> Result<(), StoreError> {
        // What an erasure blanks may stand still where it was not come to yet: no correction copies it.
        let forgotten: HashSet<EventId> = index
            .names
            .iter()
            .filter(|(_, names)| names.iter().any(|name| self.erased.contains(name)))
            .map(|(id, _)| *id)
            .collect();
        let list = |events: BTreeSet<EventName>| events.into_iter().collect::<Vec<_>>();
        let (leads, qualifications) = (list(index.leads), list(index.qualifications));
        let (disqualifications, reinstatements) = (list(index.disqualifications), list(index.reinstatements));
        if !leads.is_empty() {
            for mut row in store.leads(before, &leads).await? {
                if forgotten.contains(&row.id) {
                    row.lead.clear();
                    row.keys.clear();
                }
                self.person_of(index.names[&row.id].iter().cloned()).add_lead(lead_of(&row));
                self.leads.insert(row.id, NewestRow::new(row));
            }
        }
        if !qualifications.is_empty() {
            for mut row in store.qualifications(before, &qualifications).await? {
                if forgotten.contains(&row.id) {
                    row.lead.clear();
                    row.keys.clear();
                }
                let person = self.person_of(index.names[&row.id].iter().cloned());
                person.add_qualification(qualification_of(&row));
                self.qualifications.insert(row.id, NewestRow::new(row));
            }
        }
        let (mut taken, mut given) = (Vec::new(), Vec::new());
        if !disqualifications.is_empty() {
            taken = store.disqualifications(before, &disqualifications).await?;
        }
        if !reinstatements.is_empty() {
            given = store.reinstatements(before, &reinstatements).await?;
        }
        // They are found by their payment; whether their own keys were suppressed was not asked with that.
        let of_taken = taken.iter().flat_map(|row| row.keys.iter().map(|key| (row.program.0.clone(), *key)));
        let of_given = given.iter().flat_map(|row| row.keys.iter().map(|key| (row.program.0.clone(), *key)));
        let unasked: BTreeSet<_> = of_taken.chain(of_given).filter(|name| !asked.contains(name)).collect();
        if !unasked.is_empty() {
            let unasked: Vec<_> = unasked.into_iter().collect();
            let rows = store.subjects(before, &unasked).await?;
            let suppressed = rows.into_iter().filter(|row| row.kind.0 == kind::ERASED);
            self.erased.extend(suppressed.map(|row| (row.program.0, row.live, row.key)));
        }
        let is_forgotten = |erased: &HashSet<Name>, program: &str, live: bool, keys: &[SubjectKey]| {
            keys.iter().any(|key| erased.contains(&(program.to_owned(), live, *key)))
        };
        for mut row in taken {
            if is_forgotten(&self.erased, &row.program.0, row.live, &row.keys) {
                row.lead.clear();
                row.keys.clear();
            }
            let person = self.person_of(index.names[&row.id].iter().cloned());
            person.add_disqualification(disqualification_of(&row));
            self.disqualifications.insert(row.id, NewestRow::new(row));
        }
        for mut row in given {
            if is_forgotten(&self.erased, &row.program.0, row.live, &row.keys) {
                row.lead.clear();
                row.keys.clear();
            }
            let person = self.person_of(index.names[&row.id].iter().cloned());
            person.add_reinstatement(reinstatement_of(&row));
            self.reinstatements.insert(row.id, NewestRow::new(row));
        }
        for (id, names) in index.names {
            let person = self.person_of(names.into_iter());
            if let Some(payments) = index.identifies.get(&id) {
                person.add_name(id, payments.clone());
            }
        }
        Ok(())
    }

    /// The persons that these names are known as, as they are before an event links them.
    pub fn found<'a>(&'a self, names: &[Name]) -> impl Iterator<Item = &'a Person> {
        let found: BTreeSet<usize> = names.iter().filter_map(|name| self.of.get(name)).copied().collect();
        found.into_iter().map(|at| &self.known[at].person)
    }

    /// Whether not all is known of the persons of these names, because their chains are too long.
    pub fn is_cut_off(&self, names: &[Name]) -> bool {
        let is_end = |(program, _, key): &Name| self.cut_off.contains(&(program.clone(), *key));
        !self.cut_off.is_empty() && self.all_names(names).iter().any(is_end)
    }

    /// All names of the persons that these names are known as, themselves included.
    pub fn all_names(&self, names: &[Name]) -> BTreeSet<Name> {
        let found: BTreeSet<usize> = names.iter().filter_map(|name| self.of.get(name)).copied().collect();
        let theirs = found.into_iter().flat_map(|at| &self.known[at].names);
        names.iter().chain(theirs).cloned().collect()
    }

    /// The one person of these names: who were several are merged.
    pub fn person_of(&mut self, names: impl Iterator<Item = Name>) -> &mut Person {
        let mut unknown = Vec::new();
        let mut found = BTreeSet::new();
        for name in names {
            match self.of.get(&name) {
                Some(at) => _ = found.insert(*at),
                None => unknown.push(name),
            }
        }
        // The one with the most names stays where it is.
        let largest = found.iter().copied().max_by_key(|at| (self.known[*at].names.len(), *at));
        let at = largest.unwrap_or_else(|| {
            self.known.push(Known::default());
            self.known.len() - 1
        });
        for other in found.into_iter().filter(|other| *other != at) {
            let Known { person, names } = std::mem::take(&mut self.known[other]);
            self.known[at].person.merge(person);
            unknown.extend(names);
        }
        for name in &unknown {
            self.of.insert(name.clone(), at);
        }
        self.known[at].names.extend(unknown);
        &mut self.known[at].person
    }
}
