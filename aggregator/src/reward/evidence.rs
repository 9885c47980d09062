//! What is known about the person behind a qualification: when the lead clicked, who clicked, who else the
//! person is.
//!
//! Persons are found in `subject_keys` from the qualification's id to its keys, to the leads with one of them, to
//! the referrers who joined with a key of theirs; whoever is linked by a longer chain is not found. Personal
//! columns of facts are not read: an erasure blanks them.
//!
//! A click is looked at when its lead comes and, until it is found, by whatever else makes a qualification of the
//! lead count and before each approval.

use super::{Change, Records, risk::Signals};
use crate::{
    position::{BlockRange, Horizon},
    store::{EventName, FoundClick, LeadTimes, Rows, Store, StoreError},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;
use whence_schemas::{
    event::Verdict,
    ids::{ClickId, EventId, Incarnation},
    rows::{self, ClickEvidenceRow, Lc, LeadRow, RewardRow, SubjectKeyRow},
    subject::SubjectKey,
    time::UnixMs,
};

/// Words of `subject_keys.kind`, and of `click_evidence.looked_by`.
const QUALIFICATION: &str = "qualification";
const LEAD: &str = "lead";
const PARTICIPANT: &str = "participant";
const TIMER: &str = "timer";
/// Qualification, lead, referrer.
const LINKS: usize = 3;

/// A key within its program.
type Name = (String, SubjectKey);
/// A row, with the offset of its record where that is one of the block.
type Seen<R> = (Option<u64>, R);

/// A qualification that earns rewards, as a record of the block finds it.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub program: String,
    pub qualification: EventId,
    pub lead: EventId,
    pub referrer: String,
    pub offset: u64,
    looked_by: &'static str,
}

impl About {
    /// What stands after this change, if it is credited to anybody.
    pub fn change(change: &Change<'_>) -> Option<About> {
        let now = change.now().filter(|now| !now.lead_id.is_nil() && !now.referrer.is_empty())?;
        Some(About {
            program: change.program.to_owned(),
            qualification: change.id,
            lead: EventId(now.lead_id),
            referrer: now.referrer.clone(),
            offset: change.offset,
            looked_by: QUALIFICATION,
        })
    }

    /// What a reward whose day has come rests on.
    pub fn due(line: &RewardRow, offset: u64) -> About {
        About {
            program: line.program.0.clone(),
            qualification: line.qualification_id,
            lead: line.lead_id,
            referrer: line.referrer.clone(),
            offset,
            looked_by: TIMER,
        }
    }

    fn lead(&self) -> EventName {
        (self.program.clone(), self.lead)
    }
}

/// What was stored before the block, and what its records add.
#[derive(Default)]
pub(super) struct Evidence {
    times: HashMap<EventName, LeadTimes>,
    named: HashMap<Name, Vec<Seen<SubjectKeyRow>>>,
    clicks: HashMap<EventName, Vec<Seen<ClickEvidenceRow>>>,
    /// Leads whose clicks the block looks at.
    looked_at: BTreeSet<EventName>,
}

impl Evidence {
    /// About the leads and persons of these qualifications.
    pub async fn load<S: Store>(
        before: &Horizon,
        about: &[About],
        made: &[Rows],
        store: &S,
    ) -> Result<Evidence, StoreError> {
        let mut evidence = Evidence::default();
        own_rows(made).for_each(|row| evidence.know(LeadTimes::of(row)));
        for rows in made {
            if let Rows::SubjectKeys(rows) = rows {
                rows.iter().for_each(|row| evidence.name(Some(row.offset), row.clone()));
            }
        }
        if about.is_empty() {
            return Ok(evidence);
        }
        let leads: BTreeSet<EventName> = about.iter().map(About::lead).collect();
        let leads: Vec<_> = leads.into_iter().filter(|lead| !evidence.times.contains_key(lead)).collect();
        if !leads.is_empty() {
            store.lead_times(before, &leads).await?.into_iter().for_each(|times| evidence.know(times));
        }
        let clicked: Vec<_> = leads.into_iter().filter(|lead| evidence.click_of(lead).is_some()).collect();
        if !clicked.is_empty() {
            for row in store.click_evidence(before, &clicked).await? {
                evidence.see(None, row);
            }
        }
        evidence.load_persons(before, about, store).await?;
        Ok(evidence)
    }

    async fn load_persons<S: Store>(
        &mut self,
        before: &Horizon,
        about: &[About],
        store: &S,
    ) -> Result<(), StoreError> {
        let asked = about.iter().map(|about| (about.program.clone(), id_key(about.qualification)));
        let mut asked: BTreeSet<Name> = asked.collect();
        let mut next: Vec<Name> = asked.iter().cloned().collect();
        for _ in 0..LINKS {
            if next.is_empty() {
                break;
            }
            for row in store.subjects(before, &next).await? {
                self.name(None, row);
            }
            let found = next.iter().flat_map(|name| {
                let linking = self.of(name, QUALIFICATION).chain(self.of(name, LEAD));
                linking.flat_map(|(_, row)| row.keys.iter().map(|key| (row.program.0.clone(), *key)))
            });
            let found: Vec<_> = found.collect();
            next = found.into_iter().filter(|name| asked.insert(name.clone())).collect();
        }
        Ok(())
    }

    fn know(&mut self, times: LeadTimes) {
        self.times.insert((times.program.clone(), times.id), times);
    }

    fn see(&mut self, offset: Option<u64>, row: ClickEvidenceRow) {
        self.clicks.entry((row.program.0.clone(), row.lead_id)).or_default().push((offset, row));
    }

    /// The click that a lead's own touch proves.
    fn click_of(&self, lead: &EventName) -> Option<ClickId> {
        let times = self.times.get(lead)?;
        (!times.click_id.is_nil()).then_some(ClickId(times.click_id))
    }

    /// What was found of a lead's click when the record at `offset` had been taken.
    fn found(&self, lead: &EventName, offset: u64) -> Option<&ClickEvidenceRow> {
        let seen = self.clicks.get(lead).into_iter().flatten();
        seen.filter(|(at, _)| at.is_none_or(|at| at <= offset)).map(|(_, row)| row).find(|row| row.found)
    }

    /// Looks at the clicks of the block's leads, and again at those that were not found before: what is there at
    /// this moment, as rows to be stored.
    pub async fn look<S: Store>(
        &mut self,
        range: &BlockRange,
        about: &[About],
        made: &[Rows],
        records: &Records,
        store: &S,
    ) -> Result<Vec<ClickEvidenceRow>, StoreError> {
        let mut wanted: BTreeMap<(u64, EventName), &'static str> = BTreeMap::new();
        for row in own_rows(made) {
            wanted.insert((row.offset, (row.program.0.clone(), row.id)), LEAD);
        }
        for about in about.iter().filter(|about| self.found(&about.lead(), about.offset).is_none()) {
            wanted.entry((about.offset, about.lead())).or_insert(about.looked_by);
        }
        wanted.retain(|(_, lead), _| self.click_of(lead).is_some());
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let clicks = wanted.keys().filter_map(|(_, lead)| Some((lead.0.clone(), self.click_of(lead)?)));
        let clicks: Vec<_> = clicks.collect::<BTreeSet<_>>().into_iter().collect();
        let stored = store.clicks(&clicks).await?.into_iter();
        let stored: HashMap<_, _> = stored.map(|click| ((click.program.clone(), click.id), click)).collect();
        let mut rows = Vec::with_capacity(wanted.len());
        let mut found = HashSet::new();
        for ((offset, lead), looked_by) in wanted {
            let Some(click) = self.click_of(&lead).filter(|_| !found.contains(&lead)) else { continue };
            let stored = stored.get(&(lead.0.clone(), click));
            if stored.is_some() {
                found.insert(lead.clone());
            }
            let (cause, received_at) = records[&offset];
            let row = self.row(&lead, click, stored);
            rows.push(ClickEvidenceRow {
                looked_by: Lc(looked_by.into()),
                cause,
                received_at,
                incarnation: range.incarnation,
                partition: range.partition.number,
                offset,
                ..row
            });
            self.looked_at.insert(lead);
        }
        Ok(rows)
    }

    fn row(&self, lead: &EventName, click: ClickId, stored: Option<&FoundClick>) -> ClickEvidenceRow {
        let times = self.times.get(lead);
        let first_lead = times.map_or(Uuid::nil(), |times| times.first_lead);
        ClickEvidenceRow {
            program: Lc(lead.0.clone()),
            lead_id: lead.1,
            click_id: click,
            clicked_at: click.at(),
            person: if first_lead.is_nil() { lead.1.0 } else { first_lead },
            looked_by: Lc::default(),
            found: stored.is_some(),
            verdict: stored.map_or(Verdict::Unspecified, |click| click.verdict),
            reason: Lc(stored.map_or_else(String::new, |click| click.reason.clone())),
            visitor: stored.map_or(0, |click| click.visitor),
            address: stored.map_or(0, |click| click.address),
            prefix: stored.map_or(0, |click| click.prefix),
            live: times.is_some_and(|times| times.live),
            cause: lead.1,
            received_at: UnixMs(0),
            incarnation: Incarnation(Uuid::nil()),
            partition: 0,
            offset: 0,
        }
    }

    /// Takes what stands of the block's looks.
    pub async fn read_back<S: Store>(&mut self, range: &BlockRange, store: &S) -> Result<(), StoreError> {
        if self.looked_at.is_empty() {
            return Ok(());
        }
        let leads: Vec<_> = self.looked_at.iter().cloned().collect();
        for row in store.click_evidence_of(range, &leads).await? {
            self.see(Some(row.offset), row);
        }
        Ok(())
    }

    fn name(&mut self, offset: Option<u64>, row: SubjectKeyRow) {
        if row.live && [QUALIFICATION, LEAD, PARTICIPANT].contains(&row.kind.0.as_str()) {
            self.named.entry((row.program.0.clone(), row.key)).or_default().push((offset, row));
        }
    }

    fn of(&self, name: &Name, kind: &'static str) -> impl Iterator<Item = &Seen<SubjectKeyRow>> {
        self.named.get(name).into_iter().flatten().filter(move |(_, row)| row.kind.0 == kind)
    }

    /// What is known about this qualification when its record has been taken.
    pub fn signals(&self, about: &About) -> Signals {
        let program = &about.program;
        let known = |key: &SubjectKey, kind| {
            let name = (program.clone(), *key);
            let rows = self.of(&name, kind);
            let is_past = |at: &Option<u64>| at.is_none_or(|at| at <= about.offset);
            rows.filter(|(at, _)| is_past(at)).map(|(_, row)| row).collect::<Vec<_>>()
        };
        let linked = known(&id_key(about.qualification), QUALIFICATION);
        let own: BTreeSet<SubjectKey> = linked.into_iter().flat_map(|row| row.keys.clone()).collect();
        let leads: Vec<_> = own.iter().flat_map(|key| known(key, LEAD)).collect();
        let keys: BTreeSet<SubjectKey> =
            leads.iter().flat_map(|lead| lead.keys.clone()).chain(own.iter().copied()).collect();
        let mut joined = keys.iter().flat_map(|key| known(key, PARTICIPANT));
        // Without a touch it is what another system says of a lead: a CRM of its new contact.
        let referred = leads.iter().filter(|lead| lead.evidence != rows::Evidence::None);
        let ids: BTreeSet<EventId> = referred.map(|lead| lead.event_id).collect();
        let times = self.times.get(&about.lead());
        let clicked = times.filter(|times| times.clicked_at != UnixMs(0));
        let click = self.found(&about.lead(), about.offset);
        Signals {
            click_to_lead_ms: clicked.map(|times| times.occurred_at.ms_since(times.clicked_at)),
            is_self: joined.any(|joined| joined.referrer == about.referrer),
            leads: ids.len(),
            clicked_by: click.map(|click| (click.verdict, click.reason.0.clone())),
        }
    }
}

/// The own rows of the block's leads.
fn own_rows(made: &[Rows]) -> impl Iterator<Item = &LeadRow> {
    let rows = made.iter().flat_map(|rows| match rows {
        Rows::Leads(rows) => rows.as_slice(),
        _ => &[],
    });
    rows.filter(|row| row.revision == 0)
}

/// The key that finds a qualification by its event id.
fn id_key(id: EventId) -> SubjectKey {
    SubjectKey(id.0.into_bytes())
}
