//! The in-memory twin of ClickHouse: tables with months as partitions, insert tokens remembered per
//! table and month within a window, rollups fed by views that remember tokens of their own.

use crate::{
    evidence::without_personal,
    rewards,
    rollup::{Group, Sums, groups},
    world::{MadeToFail, Sabotage, Shared},
};
use rand::RngExt;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use whence_aggregator::{
    position::{Horizon, InsertToken, Partition},
    store::{EventName, Rows, Store, StoreError},
};
use whence_schemas::{
    ids::{ClickId, EventId, Incarnation},
    rows::{
        ClickEvidenceRow, ClickRow, DisqualificationRow, ErasureRow, IdentifyRow, LeadRow, ParticipantRow,
        QualificationRow, RejectRow, RewardEventRow, RewardRow, RewardTermsRow, ShareRow, SubjectKeyRow,
    },
    subject::SubjectKey,
    time::{HOUR_MS, UnixMs},
    topics::Stream,
};

/// Tokens that a table's partition remembers.
const WINDOW: usize = 200;
/// A "month" of the twin: short, so that blocks often touch two.
pub const MONTH_MS: i64 = 40 * HOUR_MS;

/// Stands for the month where a rollup remembers what it took from a table.
const VIEW: i64 = i64::MIN;

/// Incarnation, partition, offset.
pub type Place = (Incarnation, u32, u64);

/// Every conversion's own row, of whatever table.
macro_rules! for_each_fact {
    ($tables:expr, |$row:ident| $do:expr) => {{
        $tables.leads.iter().filter(|row| row.revision == 0).for_each(|$row| $do);
        $tables.qualifications.iter().filter(|row| row.revision == 0).for_each(|$row| $do);
        $tables.disqualifications.iter().filter(|row| row.revision == 0).for_each(|$row| $do);
        $tables.identifies.iter().for_each(|$row| $do);
        $tables.participants.iter().for_each(|$row| $do);
        $tables.shares.iter().for_each(|$row| $do);
        $tables.erasures.iter().for_each(|$row| $do);
        $tables.reward_events.iter().for_each(|$row| $do);
    }};
}

#[derive(Default)]
pub struct Tables {
    pub clicks: Vec<ClickRow>,
    pub leads: Vec<LeadRow>,
    pub qualifications: Vec<QualificationRow>,
    pub disqualifications: Vec<DisqualificationRow>,
    pub identifies: Vec<IdentifyRow>,
    pub participants: Vec<ParticipantRow>,
    pub shares: Vec<ShareRow>,
    pub erasures: Vec<ErasureRow>,
    pub subject_keys: Vec<SubjectKeyRow>,
    pub click_evidence: Vec<ClickEvidenceRow>,
    pub reward_terms: Vec<RewardTermsRow>,
    pub rewards: Vec<RewardRow>,
    pub reward_events: Vec<RewardEventRow>,
    pub rewards_daily: BTreeMap<rewards::Group, (i64, i64)>,
    pub rejects: Vec<RejectRow>,
    pub funnel_hourly: BTreeMap<Group, Sums>,
    tokens: BTreeMap<(&'static str, i64), VecDeque<InsertToken>>,
    sent: HashMap<InsertToken, Vec<Rows>>,
    pub deduplicated_inserts: u64,
    /// Tables of which two tries of a block sent different rows.
    pub tries_differ: Vec<&'static str>,
    /// Blocks of which two tries found different things of clicks.
    pub looks_differ: u64,
}

impl Tables {
    /// Whether the token is new to this table's month; remembers it.
    fn is_new(&mut self, table: &'static str, month: i64, token: &InsertToken) -> bool {
        let seen = self.tokens.entry((table, month)).or_default();
        if seen.contains(token) {
            self.deduplicated_inserts += 1;
            return false;
        }
        seen.push_back(token.clone());
        if seen.len() > WINDOW {
            seen.pop_front();
        }
        true
    }

    /// Remembers what was sent under a token: every try must send the same, but for what it found of clicks.
    fn compare(&mut self, token: &InsertToken, rows: &Rows) {
        let rows = &without_personal(rows);
        let sent = self.sent.entry(token.clone()).or_default();
        match sent.iter().find(|sent| sent.table() == rows.table()) {
            None => sent.push(rows.clone()),
            Some(first) if first == rows => {}
            Some(_) if matches!(rows, Rows::ClickEvidence(_)) => self.looks_differ += 1,
            Some(_) => self.tries_differ.push(rows.table()),
        }
    }

    fn append(&mut self, rows: &Rows, month: i64) {
        fn of<T: Clone>(rows: &[T], month: i64, at: fn(&T) -> UnixMs) -> impl Iterator<Item = T> {
            rows.iter().filter(move |row| month_of(at(row)) == month).cloned()
        }
        match rows {
            Rows::Clicks(rows) => self.clicks.extend(of(rows, month, |row| row.ts)),
            Rows::Leads(rows) => self.leads.extend(of(rows, month, |row| row.received_at)),
            Rows::Qualifications(rows) => self.qualifications.extend(of(rows, month, |row| row.received_at)),
            Rows::Disqualifications(rows) => {
                self.disqualifications.extend(of(rows, month, |row| row.received_at))
            }
            Rows::Identifies(rows) => self.identifies.extend(of(rows, month, |row| row.received_at)),
            Rows::Participants(rows) => self.participants.extend(of(rows, month, |row| row.received_at)),
            Rows::Shares(rows) => self.shares.extend(of(rows, month, |row| row.received_at)),
            Rows::Erasures(rows) => self.erasures.extend(of(rows, month, |row| row.received_at)),
            Rows::SubjectKeys(rows) => self.subject_keys.extend(of(rows, month, |row| row.received_at)),
            Rows::ClickEvidence(rows) => self.click_evidence.extend(of(rows, month, |row| row.received_at)),
            Rows::RewardTerms(rows) => self.reward_terms.extend(of(rows, month, |row| row.received_at)),
            Rows::Rewards(rows) => self.rewards.extend(of(rows, month, |row| row.received_at)),
            Rows::RewardEvents(rows) => self.reward_events.extend(of(rows, month, |row| row.received_at)),
            Rows::Rejects(rows) => self.rejects.extend(of(rows, month, |row| row.received_at)),
        }
    }

    /// The ids of all events that are a fact at such a place.
    pub fn event_ids(&self, is_included: impl Fn(Place) -> bool) -> Vec<EventId> {
        let mut ids = Vec::new();
        for_each_fact!(self, |row| {
            if is_included((row.incarnation, row.partition, row.offset)) {
                ids.push(row.id);
            }
        });
        ids
    }

    /// The places of all events that are a fact.
    pub fn fact_places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for_each_fact!(self, |row| places.push((row.incarnation, row.partition, row.offset)));
        places
    }

    fn erase(&mut self, erased: &HashSet<EventId>) {
        macro_rules! blank {
            ($($table:ident: $($column:ident),*;)*) => {$(
                for row in self.$table.iter_mut().filter(|row| erased.contains(&row.id)) {
                    $(row.$column.clear();)*
                }
            )*};
        }
        blank! {
            leads: lead, keys;
            qualifications: lead, keys;
            disqualifications: lead, keys;
            identifies: lead, keys;
            participants: keys;
        }
    }

    fn roll_up(&mut self, rows: &Rows) {
        for (group, sums) in groups(rows) {
            let total = self.funnel_hourly.entry(group).or_default();
            (0..4).for_each(|at| total[at] += sums[at]);
        }
    }
}

fn month_of(at: UnixMs) -> i64 {
    at.0.div_euclid(MONTH_MS)
}

fn months(rows: &Rows) -> Vec<i64> {
    let mut months: Vec<i64> = match rows {
        Rows::Clicks(rows) => rows.iter().map(|row| month_of(row.ts)).collect(),
        Rows::Leads(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Qualifications(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Disqualifications(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Identifies(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Participants(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Shares(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Erasures(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::SubjectKeys(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::ClickEvidence(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::RewardTerms(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Rewards(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::RewardEvents(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Rejects(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
    };
    months.sort_unstable();
    months.dedup();
    months
}

/// One process's connection to the tables.
pub struct MemoryStore(pub Shared);

impl MemoryStore {
    fn fail(&self) -> Result<(), StoreError> {
        match self.0.strikes() {
            true => Err(StoreError::Retry(Box::new(MadeToFail))),
            false => Ok(()),
        }
    }

    pub async fn before_reading(&self) -> Result<(), StoreError> {
        self.0.pause().await;
        self.fail()
    }
}

/// The newest row of each event asked for.
macro_rules! newest {
    ($before:expr, $rows:expr, $asked:expr) => {{
        let asked: HashSet<EventId> = $asked.iter().map(|(_, id)| *id).collect();
        let mut newest = BTreeMap::new();
        for row in &$rows {
            if asked.contains(&row.id) && is_before($before, row.incarnation, row.partition, row.offset) {
                let known = newest.entry(row.id).or_insert_with(|| row.clone());
                if (known.revision, known.sign) < (row.revision, row.sign) {
                    *known = row.clone();
                }
            }
        }
        newest.into_values().collect()
    }};
}

fn is_before(before: &Horizon, incarnation: Incarnation, partition: u32, offset: u64) -> bool {
    before.includes(incarnation, partition, offset)
}

impl Store for MemoryStore {
    async fn insert(&self, token: &InsertToken, rows: &Rows) -> Result<(), StoreError> {
        self.0.pause().await;
        self.fail()?;
        let token = {
            let mut world = self.0.lock();
            world.inserts += 1;
            match world.sabotage {
                Sabotage::NoToken => InsertToken(format!("{} try {}", token.0, world.inserts)),
                _ => token.clone(),
            }
        };
        self.0.lock().tables.compare(&token, rows);
        // Half of the inserts happen at once, whatever becomes of the client; the others stop where it dies.
        let is_staged = self.0.lock().rng.random_bool(0.5);
        for month in months(rows) {
            {
                let tables = &mut self.0.lock().tables;
                if tables.is_new(rows.table(), month, &token) {
                    tables.append(rows, month);
                }
            }
            if is_staged {
                self.0.pause().await;
                self.fail()?;
            }
        }
        {
            let tables = &mut self.0.lock().tables;
            if tables.is_new(rows.table(), VIEW, &token) {
                tables.roll_up(rows);
            }
            if let Rows::Rewards(lines) = rows
                && tables.is_new("rewards_daily", 0, &token)
            {
                lines.iter().for_each(|line| rewards::roll_up(&mut tables.rewards_daily, line));
            }
        }
        self.0.pause().await;
        if self.0.strikes() {
            self.0.lock().lost_replies += 1;
            return Err(StoreError::Retry(Box::new(MadeToFail)));
        }
        Ok(())
    }

    async fn stored_end(&self, incarnation: Incarnation, partition: Partition) -> Result<u64, StoreError> {
        self.before_reading().await?;
        let world = self.0.lock();
        let mut end = 0;
        let mut is_at = |place: Place| {
            if (place.0, place.1) == (incarnation, partition.number) {
                end = end.max(place.2 + 1);
            }
        };
        match partition.stream {
            Stream::Clicks => {
                world.tables.clicks.iter().for_each(|row| is_at((row.incarnation, row.partition, row.offset)))
            }
            Stream::Conversions => {
                for_each_fact!(world.tables, |row| is_at((row.incarnation, row.partition, row.offset)))
            }
        }
        let rejects = world.tables.rejects.iter().filter(|row| row.stream.0 == partition.stream.word());
        rejects.for_each(|row| is_at((row.incarnation, row.partition, row.offset)));
        Ok(end)
    }

    async fn clicks_known(
        &self,
        before: &Horizon,
        clicks: &[(String, ClickId)],
    ) -> Result<HashSet<ClickId>, StoreError> {
        self.before_reading().await?;
        let world = self.0.lock();
        let asked: HashSet<_> = clicks.iter().map(|(_, id)| *id).collect();
        if world.sabotage == Sabotage::MaybeIsDuplicate {
            return Ok(asked);
        }
        let known = world
            .tables
            .clicks
            .iter()
            .filter(|row| is_before(before, row.incarnation, row.partition, row.offset));
        Ok(known.map(|row| row.id).filter(|id| asked.contains(id)).collect())
    }

    async fn click_ids(
        &self,
        before: &Horizon,
        from: UnixMs,
        to: UnixMs,
    ) -> Result<Vec<ClickId>, StoreError> {
        self.before_reading().await?;
        let world = self.0.lock();
        let rows = world
            .tables
            .clicks
            .iter()
            .filter(|row| is_before(before, row.incarnation, row.partition, row.offset));
        Ok(rows.filter(|row| (from..to).contains(&row.ts)).map(|row| row.id).collect())
    }

    async fn events_known(
        &self,
        before: &Horizon,
        events: &[EventName],
    ) -> Result<HashSet<EventId>, StoreError> {
        let stored: HashSet<_> = self.event_ids(before).await?.into_iter().collect();
        let maybe = events.iter().map(|(_, id)| *id);
        match self.0.lock().sabotage {
            Sabotage::MaybeIsDuplicate => Ok(maybe.collect()),
            _ => Ok(maybe.filter(|id| stored.contains(id)).collect()),
        }
    }

    async fn event_ids(&self, before: &Horizon) -> Result<Vec<EventId>, StoreError> {
        self.before_reading().await?;
        Ok(self
            .0
            .lock()
            .tables
            .event_ids(|(incarnation, partition, offset)| before.includes(incarnation, partition, offset)))
    }

    async fn subjects(
        &self,
        before: &Horizon,
        keys: &[(String, SubjectKey)],
    ) -> Result<Vec<SubjectKeyRow>, StoreError> {
        self.before_reading().await?;
        let tables = &self.0.lock().tables;
        let rows = tables
            .subject_keys
            .iter()
            .filter(|row| is_before(before, row.incarnation, row.partition, row.offset));
        Ok(rows.filter(|row| keys.contains(&(row.program.0.clone(), row.key))).cloned().collect())
    }

    async fn leads(&self, before: &Horizon, asked: &[EventName]) -> Result<Vec<LeadRow>, StoreError> {
        self.before_reading().await?;
        Ok(newest!(before, self.0.lock().tables.leads, asked))
    }

    async fn qualifications(
        &self,
        before: &Horizon,
        asked: &[EventName],
    ) -> Result<Vec<QualificationRow>, StoreError> {
        self.before_reading().await?;
        Ok(newest!(before, self.0.lock().tables.qualifications, asked))
    }

    async fn disqualifications(
        &self,
        before: &Horizon,
        asked: &[EventName],
    ) -> Result<Vec<DisqualificationRow>, StoreError> {
        self.before_reading().await?;
        Ok(newest!(before, self.0.lock().tables.disqualifications, asked))
    }

    async fn erase(&self, events: &[EventName]) -> Result<(), StoreError> {
        self.0.pause().await;
        self.fail()?;
        self.0.lock().tables.erase(&events.iter().map(|(_, id)| *id).collect());
        self.0.pause().await;
        self.fail()
    }
}
