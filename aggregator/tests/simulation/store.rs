//! The in-memory twin of ClickHouse: tables with months as partitions, insert tokens remembered per
//! table and month within a window, rollups fed by views that remember tokens of their own.

use crate::{
    rewards,
    world::{MadeToFail, Sabotage, Shared},
};
use rand::RngExt;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard},
};
use whence_aggregator::{
    conversion::unlink,
    position::{Horizon, InsertToken, Partition},
    store::{EventName, Forgotten, Linked, Rows, Store, StoreError},
};
use whence_schemas::{
    ids::{ClickId, EventId, Incarnation},
    rows::{DisqualificationRow, LeadRow, QualificationRow, ReinstatementRow, SubjectKeyRow},
    subject::SubjectKey,
    time::UnixMs,
    topics::Stream,
};

/// Stands for the month where a rollup remembers what it took from a table.
const VIEW: i64 = i64::MIN;

/// Every conversion's own row, of whatever table.
macro_rules! for_each_fact {
    ($tables:expr, |$row:ident| $do:expr) => {{
        $tables.leads.iter().filter(|row| row.revision == 0).for_each(|$row| $do);
        $tables.qualifications.iter().filter(|row| row.revision == 0).for_each(|$row| $do);
        $tables.disqualifications.iter().filter(|row| row.revision == 0).for_each(|$row| $do);
        $tables.reinstatements.iter().filter(|row| row.revision == 0).for_each(|$row| $do);
        $tables.identifies.iter().for_each(|$row| $do);
        $tables.participants.iter().for_each(|$row| $do);
        $tables.shares.iter().for_each(|$row| $do);
        $tables.erasures.iter().for_each(|$row| $do);
        $tables.reward_events.iter().for_each(|$row| $do);
    }};
}

mod tables;

use tables::months;
pub use tables::{MONTH_MS, RecordPosition, Tables};

/// One process's connection to a replica of the tables: it has what was stored by way of it, and what others stored
/// before it caught up last. (Clicks are looked up where they are: when one is heard of makes no difference.)
pub struct MemoryStore(pub Shared, Mutex<Tables>);

impl MemoryStore {
    /// Over a replica that has heard of nothing yet.
    pub fn new(shared: Shared) -> MemoryStore {
        MemoryStore(shared, Mutex::default())
    }

    /// What the replica has.
    pub fn seen(&self) -> MutexGuard<'_, Tables> {
        self.1.lock().expect("nothing panics while it holds the tables")
    }

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
    async fn catch_up(&self) -> Result<(), StoreError> {
        self.before_reading().await?;
        let mut world = self.0.lock();
        if world.sabotage != Sabotage::NoCatchUp {
            *self.seen() = world.tables.as_they_stand();
        }
        Ok(())
    }

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
                // What came under this token by way of another replica is not here because of that.
                if tables.is_new(rows.table(), month, &token) {
                    tables.append(rows, month);
                    self.seen().append(rows, month);
                }
            }
            if is_staged {
                self.0.pause().await;
                self.fail()?;
            }
        }
        {
            let dies = self.0.strikes();
            let world = &mut *self.0.lock();
            let tables = &mut world.tables;
            match tables.is_new(rows.table(), VIEW, &token) {
                true if dies => {
                    // On a replica that is dead before any other has it.
                    tables.alone.insert((rows.table(), token));
                    return Err(StoreError::Retry(Box::new(MadeToFail)));
                }
                true => tables.roll_up(rows),
                // Given up by the others, with its token; whoever waits for it here is told that it is stored.
                false => {
                    if tables.alone.remove(&(rows.table(), token.clone())) {
                        world.given_up += 1;
                        if world.sabotage != Sabotage::OneSuccess {
                            tables.forget(rows.table(), VIEW, &token);
                        }
                    }
                }
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
        let seen = self.seen();
        let mut end = 0;
        let mut is_at = |place: RecordPosition| {
            if (place.0, place.1) == (incarnation, partition.number) {
                end = end.max(place.2 + 1);
            }
        };
        match partition.stream {
            Stream::Clicks => {
                seen.clicks.iter().for_each(|row| is_at((row.incarnation, row.partition, row.offset)))
            }
            Stream::Conversions => {
                for_each_fact!(seen, |row| is_at((row.incarnation, row.partition, row.offset)))
            }
        }
        let rejects = seen.rejects.iter().filter(|row| row.stream.0 == partition.stream.word());
        rejects.for_each(|row| is_at((row.incarnation, row.partition, row.offset)));
        Ok(end)
    }

    async fn account_ends(&self, partition: Partition) -> Result<Vec<(Incarnation, u64)>, StoreError> {
        self.before_reading().await?;
        let mut ends = BTreeMap::new();
        for row in &self.seen().blocks {
            if (&row.stream.0[..], row.partition) == (partition.stream.word(), partition.number) {
                let end: &mut u64 = ends.entry(row.incarnation).or_default();
                *end = row.end.0.max(*end);
            }
        }
        Ok(ends.into_iter().collect())
    }

    async fn clicks_known(
        &self,
        before: &Horizon,
        clicks: &[(String, ClickId)],
    ) -> Result<HashSet<ClickId>, StoreError> {
        self.before_reading().await?;
        let asked: HashSet<_> = clicks.iter().map(|(_, id)| *id).collect();
        if self.0.lock().sabotage == Sabotage::MaybeIsDuplicate {
            return Ok(asked);
        }
        let seen = self.seen();
        let known =
            seen.clicks.iter().filter(|row| is_before(before, row.incarnation, row.partition, row.offset));
        Ok(known.map(|row| row.id).filter(|id| asked.contains(id)).collect())
    }

    async fn click_ids(
        &self,
        before: &Horizon,
        from: UnixMs,
        to: UnixMs,
    ) -> Result<Vec<ClickId>, StoreError> {
        self.before_reading().await?;
        let seen = self.seen();
        let rows =
            seen.clicks.iter().filter(|row| is_before(before, row.incarnation, row.partition, row.offset));
        Ok(rows.filter(|row| (from..to).contains(&row.ts)).map(|row| row.id).collect())
    }

    async fn events_known(
        &self,
        before: &Horizon,
        events: &[EventName],
    ) -> Result<HashMap<EventId, u64>, StoreError> {
        self.before_reading().await?;
        let includes = |(incarnation, partition, offset)| before.includes(incarnation, partition, offset);
        let stored: HashMap<_, _> = self.seen().digests(includes).into_iter().collect();
        let maybe = events.iter().map(|(_, id)| *id);
        match self.0.lock().sabotage {
            Sabotage::MaybeIsDuplicate => Ok(maybe.map(|id| (id, 0)).collect()),
            _ => Ok(maybe.filter_map(|id| Some((id, *stored.get(&id)?))).collect()),
        }
    }

    async fn event_ids(&self, before: &Horizon) -> Result<Vec<EventId>, StoreError> {
        self.before_reading().await?;
        Ok(self
            .seen()
            .event_ids(|(incarnation, partition, offset)| before.includes(incarnation, partition, offset)))
    }

    async fn subjects(
        &self,
        before: &Horizon,
        keys: &[(String, SubjectKey)],
    ) -> Result<Vec<SubjectKeyRow>, StoreError> {
        self.before_reading().await?;
        let tables = self.seen();
        let rows = tables
            .subject_keys
            .iter()
            .filter(|row| is_before(before, row.incarnation, row.partition, row.offset));
        Ok(rows.filter(|row| keys.contains(&(row.program.0.clone(), row.key))).cloned().collect())
    }

    async fn leads(&self, before: &Horizon, asked: &[EventName]) -> Result<Vec<LeadRow>, StoreError> {
        self.before_reading().await?;
        Ok(newest!(before, self.seen().leads, asked))
    }

    async fn qualifications(
        &self,
        before: &Horizon,
        asked: &[EventName],
    ) -> Result<Vec<QualificationRow>, StoreError> {
        self.before_reading().await?;
        Ok(newest!(before, self.seen().qualifications, asked))
    }

    async fn disqualifications(
        &self,
        before: &Horizon,
        asked: &[EventName],
    ) -> Result<Vec<DisqualificationRow>, StoreError> {
        self.before_reading().await?;
        Ok(newest!(before, self.seen().disqualifications, asked))
    }

    async fn reinstatements(
        &self,
        before: &Horizon,
        asked: &[EventName],
    ) -> Result<Vec<ReinstatementRow>, StoreError> {
        self.before_reading().await?;
        Ok(newest!(before, self.seen().reinstatements, asked))
    }

    async fn erase(&self, forgotten: &Forgotten) -> Result<(), StoreError> {
        self.0.pause().await;
        self.fail()?;
        // Certain from here on; done when the server comes to it.
        self.0.lock().tables.blank_later(forgotten);
        self.0.pause().await;
        self.fail()
    }

    async fn linked(&self, before: &Horizon) -> Result<Vec<Linked>, StoreError> {
        self.before_reading().await?;
        Ok(self.0.lock().tables.linked(before))
    }

    async fn is_settled(&self) -> Result<bool, StoreError> {
        self.before_reading().await?;
        Ok(self.0.lock().tables.is_blank())
    }

    async fn rename_links(&self, Linked { erasure, .. }: &Linked) -> Result<bool, StoreError> {
        let (rows, keys) = self.0.lock().tables.links(erasure);
        let fresh = || SubjectKey(self.0.lock().rng.random());
        let renamed = unlink::renamed(&rows, &keys, fresh);
        self.0.lock().tables.subject_keys.extend(renamed);
        self.0.pause().await;
        self.fail()?;
        Ok(true)
    }

    async fn drop_links(&self, Linked { erasure, .. }: &Linked) -> Result<(), StoreError> {
        let (_, keys) = self.0.lock().tables.links(erasure);
        self.0.lock().tables.drop_links(&keys);
        self.0.pause().await;
        self.fail()?;
        self.0.lock().tables.unlinked(erasure);
        Ok(())
    }
}
