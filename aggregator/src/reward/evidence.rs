//! What is known about the person behind a qualification: when the lead clicked, who else the person is.
//!
//! Found in `subject_keys` from the qualification's id to its keys, to the leads with one of them, to the
//! referrers who joined with a key of theirs; whoever is linked by a longer chain is not found. Personal columns
//! of facts are not read: an erasure blanks them.

use super::{Change, risk::Signals};
use crate::{
    position::Horizon,
    store::{EventName, LeadTimes, Rows, Store, StoreError},
};
use std::collections::{BTreeSet, HashMap};
use whence_schemas::{
    ids::EventId,
    rows::{QualificationRow, SubjectKeyRow},
    subject::SubjectKey,
    time::UnixMs,
};

/// Words of `subject_keys.kind`.
const QUALIFICATION: &str = "qualification";
const LEAD: &str = "lead";
const PARTICIPANT: &str = "participant";
/// Qualification, lead, referrer.
const LINKS: usize = 3;

/// A key within its program.
type Name = (String, SubjectKey);
/// A row, with the offset of its record where that is one of the block.
type Seen = (Option<u64>, SubjectKeyRow);

/// What was stored before the block, and what its records add.
#[derive(Default)]
pub(super) struct Evidence {
    times: HashMap<EventName, LeadTimes>,
    named: HashMap<Name, Vec<Seen>>,
}

impl Evidence {
    /// About the leads and persons of these changes.
    pub async fn load<S: Store>(
        before: &Horizon,
        changes: &[Change<'_>],
        leads: &[EventName],
        made: &[Rows],
        store: &S,
    ) -> Result<Evidence, StoreError> {
        let mut evidence = Evidence::default();
        for rows in made {
            match rows {
                Rows::Leads(rows) => rows.iter().for_each(|row| evidence.know(LeadTimes::of(row))),
                Rows::SubjectKeys(rows) => {
                    rows.iter().for_each(|row| evidence.name(Some(row.offset), row.clone()));
                }
                _ => {}
            }
        }
        store.lead_times(before, leads).await?.into_iter().for_each(|times| evidence.know(times));
        let standing = changes.iter().filter_map(Change::now);
        let mut next: Vec<Name> = standing.map(|row| (row.program.0.clone(), id_key(row.id))).collect();
        let mut asked: BTreeSet<Name> = next.iter().cloned().collect();
        for _ in 0..LINKS {
            if next.is_empty() {
                break;
            }
            for row in store.subjects(before, &next).await? {
                evidence.name(None, row);
            }
            let found = next.iter().flat_map(|name| {
                let linking = evidence.of(name, QUALIFICATION).chain(evidence.of(name, LEAD));
                linking.flat_map(|(_, row)| row.keys.iter().map(|key| (row.program.0.clone(), *key)))
            });
            let found: Vec<_> = found.collect();
            next = found.into_iter().filter(|name| asked.insert(name.clone())).collect();
        }
        Ok(evidence)
    }

    fn know(&mut self, times: LeadTimes) {
        self.times.insert((times.program.clone(), times.id), times);
    }

    fn name(&mut self, offset: Option<u64>, row: SubjectKeyRow) {
        if row.live && [QUALIFICATION, LEAD, PARTICIPANT].contains(&row.kind.0.as_str()) {
            self.named.entry((row.program.0.clone(), row.key)).or_default().push((offset, row));
        }
    }

    fn of(&self, name: &Name, kind: &'static str) -> impl Iterator<Item = &Seen> {
        self.named.get(name).into_iter().flatten().filter(move |(_, row)| row.kind.0 == kind)
    }

    /// What is known about this qualification when the record at `offset` has been taken.
    pub fn signals(&self, row: &QualificationRow, offset: u64) -> Signals {
        let program = &row.program.0;
        let known = |key: &SubjectKey, kind| {
            let name = (program.clone(), *key);
            let rows = self.of(&name, kind);
            rows.filter(|(at, _)| at.is_none_or(|at| at <= offset)).map(|(_, row)| row).collect::<Vec<_>>()
        };
        let own: BTreeSet<SubjectKey> =
            known(&id_key(row.id), QUALIFICATION).into_iter().flat_map(|row| row.keys.clone()).collect();
        let leads: Vec<_> = own.iter().flat_map(|key| known(key, LEAD)).collect();
        let keys: BTreeSet<SubjectKey> =
            leads.iter().flat_map(|lead| lead.keys.clone()).chain(own.iter().copied()).collect();
        let mut joined = keys.iter().flat_map(|key| known(key, PARTICIPANT));
        let ids: BTreeSet<EventId> = leads.iter().map(|lead| lead.event_id).collect();
        let times = self.times.get(&(program.clone(), EventId(row.lead_id)));
        let clicked = times.filter(|times| times.clicked_at != UnixMs(0));
        Signals {
            click_to_lead_ms: clicked.map(|times| times.occurred_at.ms_since(times.clicked_at)),
            is_self: joined.any(|joined| joined.referrer == row.referrer),
            leads: ids.len(),
        }
    }
}

/// The key that finds a qualification by its event id.
fn id_key(id: EventId) -> SubjectKey {
    SubjectKey(id.0.into_bytes())
}
