//! The loop of one partition: strictly in order, one block in flight.
//!
//! ```text
//! read a block [a, b) ─▶ commit a, intending b ─▶ process ─▶ insert every table ─▶ commit b ─▶ …
//! ```
//!
//! After a crash at any point the next owner finds `a` and the intent `b`, reads exactly that block
//! again and sends the same rows under the same tokens: what is half written is completed, what is
//! written stays as it is.

mod agree;

use crate::{
    click::{self, ClickDedup, DedupSettings, DedupTally},
    clock::Clock,
    conversion::{self, ConversionState, ProcessError, Processed},
    filter::FilterSettings,
    pause::Pause,
    position::{BlockRange, Commit, Partition},
    source::{Chunk, Record, Source, SourceError, Start},
    store::{Forgotten, Rows, Store, StoreError},
};
use bytes::Bytes;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use whence_schemas::{ids::Incarnation, token::KeyRing, topics::Stream};

/// How a partition is worked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoopSettings {
    /// Records of a block, at most.
    pub block_records_max: usize,
    /// Bytes of a block's records, at most, except for those of its last read.
    pub block_bytes_max: usize,
    /// A block that is not full is closed this long after its first record.
    pub linger: Duration,
    /// How long one read waits for a first record.
    pub idle: Duration,
    /// Tries of one insert before the partition starts again from its last commit.
    pub insert_tries_max: u32,
    /// Wait after the first failed try; doubles with every further one, up to 32 times.
    pub insert_backoff: Duration,
    /// Deduplication of clicks.
    pub dedup: DedupSettings,
    /// Deduplication of conversions.
    pub conversion_filter: FilterSettings,
    /// How often the owner of a partition looks for what is due.
    pub sweep_every: Duration,
    /// How long after an erasure its keys cease to lead to the person's events: longer than a former owner may be cut off
    /// and come back.
    pub unlink_after: Duration,
    /// Where rows are stored past what was committed, goes on behind them instead of refusing.
    pub resume_behind_stored: bool,
    /// Where less is stored than was committed, reads from where the account ends instead of refusing.
    pub replay_missing: bool,
    /// Where less is stored than was committed, counts what lacks as lost instead of refusing.
    pub accept_loss: bool,
}

impl Default for LoopSettings {
    fn default() -> Self {
        LoopSettings {
            block_records_max: 100_000,
            block_bytes_max: 64 << 20,
            linger: Duration::from_secs(1),
            idle: Duration::from_millis(500),
            insert_tries_max: 6,
            insert_backoff: Duration::from_millis(100),
            dedup: DedupSettings::default(),
            conversion_filter: FilterSettings::default(),
            sweep_every: Duration::from_secs(10),
            unlink_after: Duration::from_secs(600),
            resume_behind_stored: false,
            replay_missing: false,
            accept_loss: false,
        }
    }
}

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The source ended it.
    #[error("reading or committing failed")]
    Source(#[from] SourceError),
    /// The store ended it.
    #[error("storing or looking up failed")]
    Store(#[from] StoreError),
    /// A key is missing.
    #[error(transparent)]
    UnknownKey(ProcessError),
    /// Nobody's commit says that these records are stored, but they are.
    #[error(
        "records of {partition} before offset {stored_end} are stored already, but no commit says so: to read from {next} would store them twice. If the consumer group has another name now, give it its old one; if its offsets or the checkpoint are lost, start once with --resume-behind-stored"
    )]
    StoredAlready {
        /// The partition.
        partition: Partition,
        /// The record that would come next.
        next: u64,
        /// One past the last record with a row.
        stored_end: u64,
    },
    /// A commit says that these records are stored, but they are not.
    #[error(
        "records of {partition} from offset {end} to {committed} of {incarnation} were committed as stored, but the account of the blocks ends at {end}: ClickHouse's tables are older than the commit, or were lost. Restore both from one backup (`whence restore`); or start once with --replay-missing, which reads them again where they are still to be read, or with --accept-loss, which counts them as lost"
    )]
    Missing {
        /// The partition.
        partition: Partition,
        /// The incarnation that lacks them.
        incarnation: Incarnation,
        /// Where the account ends.
        end: u64,
        /// What was committed.
        committed: u64,
    },
    /// The block that was in flight can't be read again as it was.
    #[error("the block {range:?} was in flight, but its records can't be read again: found {found}")]
    Gap {
        /// The block.
        range: BlockRange,
        /// What the source gave instead.
        found: String,
    },
}

impl From<ProcessError> for LoopError {
    fn from(error: ProcessError) -> LoopError {
        match error {
            ProcessError::Store(error) => LoopError::Store(error),
            error @ ProcessError::UnknownKey { .. } => LoopError::UnknownKey(error),
        }
    }
}

/// What the loop did; told after each step so that metrics and tests can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The loop has begun where this was committed last.
    Restarted(Commit),
    /// A block is being replayed because its intent was committed, but its end was not.
    Replaying(BlockRange),
    /// A new block's intent was committed; nothing of it is stored yet.
    Intended(BlockRange),
    /// A table of a block was inserted.
    Inserted {
        /// The table.
        table: &'static str,
        /// Rows sent.
        rows: usize,
    },
    /// An insert failed and is tried again.
    InsertRetried {
        /// The table.
        table: &'static str,
    },
    /// A block was committed.
    Committed {
        /// The block.
        range: BlockRange,
        /// What deduplication did (clicks).
        dedup: DedupTally,
        /// Whether it had all records that there were when it was closed.
        had_all: bool,
    },
    /// There were no more records when the loop looked.
    Idle,
}

/// The loop's caches, by stream.
enum StreamCaches {
    Clicks(Box<ClickDedup>),
    Conversions(Box<ConversionState>),
}

/// A partition and everything its loop works with.
pub struct PartitionLoop<'a, Src, Sto, Clk> {
    source: Src,
    store: &'a Sto,
    clock: &'a Clk,
    settings: LoopSettings,
    state: StreamCaches,
    /// Records read, but not yet part of a block.
    ahead: VecDeque<Chunk>,
    /// The incarnation that is known to have no rows past what was committed; none: nothing is.
    sound: Option<Incarnation>,
    pause: Pause,
    watch: Box<dyn FnMut(Progress) + Send + 'a>,
}

impl<'a, Src: Source, Sto: Store, Clk: Clock> PartitionLoop<'a, Src, Sto, Clk> {
    /// A loop over this source that has nothing cached; `keys` verify the tokens that leads carry.
    pub fn new(
        source: Src,
        store: &'a Sto,
        clock: &'a Clk,
        settings: LoopSettings,
        keys: Arc<KeyRing>,
        watch: impl FnMut(Progress) + Send + 'a,
    ) -> Self {
        let state = match source.partition().stream {
            Stream::Clicks => StreamCaches::Clicks(Box::new(ClickDedup::new(settings.dedup))),
            Stream::Conversions => {
                StreamCaches::Conversions(Box::new(ConversionState::new(settings.conversion_filter, keys)))
            }
        };
        PartitionLoop {
            source,
            store,
            clock,
            settings,
            state,
            ahead: VecDeque::new(),
            sound: None,
            pause: Pause::default(),
            watch: Box::new(watch),
        }
    }

    /// The same, which begins no block while this is held.
    #[must_use]
    pub fn pausing(self, pause: Pause) -> Self {
        PartitionLoop { pause, ..self }
    }

    /// Works until an error. Dropping the future at any point is a crash, and as harmless. Errors other
    /// than [`SourceError::Lost`] and the fatal ones are cured by a new loop over the same partition.
    pub async fn run(mut self) -> Result<(), LoopError> {
        let start = self.source.restart().await?;
        let is_sure = matches!(start, Start::Committed(_)) && !self.settings.resume_behind_stored;
        // Whoever had the partition before may have stored what precedes the commit by another way.
        self.store.catch_up().await?;
        let committed = match start {
            Start::Committed(committed) => self.agreed(committed).await?,
            Start::Uncommitted(first) => first,
        };
        (self.watch)(Progress::Restarted(committed));
        if let Some(end) = committed.intent {
            let range = BlockRange {
                incarnation: committed.incarnation,
                partition: self.source.partition(),
                first: committed.next,
                end,
            };
            (self.watch)(Progress::Replaying(range));
            let records = self.read_again(&range).await?;
            let _leave = self.pause.begin().await;
            self.finish(&range, &records, true).await?;
        }
        loop {
            let (range, records) = self.next_block().await?;
            if !is_sure && !self.is_behind_stored(&range).await? {
                continue;
            }
            let _leave = self.pause.begin().await;
            self.store_block(&range, &records).await?;
        }
    }

    /// A new block, from its intent on.
    async fn store_block(&mut self, range: &BlockRange, records: &[Record]) -> Result<(), LoopError> {
        let intent = Some(range.end);
        self.source.commit(&Commit { incarnation: range.incarnation, next: range.first, intent }).await?;
        (self.watch)(Progress::Intended(*range));
        self.finish(range, records, false).await
    }

    /// Whether the block is behind all that is stored of its incarnation. If not, and if that is wanted, goes
    /// there.
    async fn is_behind_stored(&mut self, range: &BlockRange) -> Result<bool, LoopError> {
        if self.sound == Some(range.incarnation) {
            return Ok(true);
        }
        let stored_end = self.store.stored_end(range.incarnation, range.partition).await?;
        if stored_end > range.first {
            let (partition, next) = (range.partition, range.first);
            if !self.settings.resume_behind_stored {
                // Another owner may have stored it meanwhile; then this one is told so here.
                self.source.restart().await?;
                return Err(LoopError::StoredAlready { partition, next, stored_end });
            }
            tracing::warn!(%partition, next, stored_end, "continuing after what is stored: see the view reconciliation for what the last block before may lack");
            let behind = Commit { incarnation: range.incarnation, next: stored_end, intent: None };
            self.source.commit(&behind).await?;
            self.source.restart().await?;
            self.ahead.clear();
            return Ok(false);
        }
        self.sound = Some(range.incarnation);
        Ok(true)
    }

    /// From an intended block to a committed one. Of a replayed block a former owner may have stored something by
    /// another way until now, in place of what is sent under the same token here: it is seen before anything is made
    /// of it, and before the next block.
    async fn finish(
        &mut self,
        range: &BlockRange,
        records: &[Record],
        is_replay: bool,
    ) -> Result<(), LoopError> {
        let PartitionLoop { store, clock, settings, state, watch, .. } = self;
        let mut to = Inserting { store: *store, clock: *clock, settings, watch, range, is_replay };
        let mut looks = None;
        let (tables, erased) = match state {
            StreamCaches::Clicks(dedup) => {
                (click::process(range, records, dedup, to.store).await?, Forgotten::default())
            }
            StreamCaches::Conversions(state) => {
                let mut looked = conversion::look(range, records, state, to.store).await?;
                // What was found of clicks depends on the moment: it is the first table, and all that follows
                // from it is made of what stands there, whichever try stored it.
                let found = looked.take_looks();
                if !found.is_empty() {
                    to.insert(&found).await?;
                    // Another owner may have stored them meanwhile by another way, in place of these.
                    to.store.catch_up().await?;
                }
                let Processed { tables, looks: stands, erased } =
                    looked.into_rows(range, state, to.store).await?;
                looks = Some(stands);
                (tables, erased)
            }
        };
        for rows in tables.iter().filter(|rows| !rows.is_empty()) {
            to.insert(rows).await?;
        }
        // Last of the block: what it says is stored. Of the looks it counts what stands, which may be of another try.
        let account = Rows::account(range, looks.iter().chain(&tables));
        to.insert(&account).await?;
        if is_replay {
            to.store.catch_up().await?;
        }
        if !erased.is_empty() {
            // Last, and again by a replay: it changes no column that anything is decided by.
            to.store.erase(&erased).await?;
        }
        self.source.commit(&Commit { incarnation: range.incarnation, next: range.end, intent: None }).await?;
        let dedup = match &mut self.state {
            StreamCaches::Clicks(dedup) => dedup.take_tally(),
            StreamCaches::Conversions(_) => DedupTally::default(),
        };
        let bytes =
            || records.iter().filter_map(|record| record.payload.as_ref()).map(Bytes::len).sum::<usize>();
        let is_full =
            records.len() >= self.settings.block_records_max || bytes() >= self.settings.block_bytes_max;
        let had_all = !is_full && self.ahead.is_empty();
        (self.watch)(Progress::Committed { range: *range, dedup, had_all });
        Ok(())
    }

    /// The next records of one incarnation: as many as a block holds, or as came while it lingered.
    async fn next_block(&mut self) -> Result<(BlockRange, Vec<Record>), LoopError> {
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        let mut incarnation = None;
        let mut close_at = None;
        loop {
            let now = self.clock.elapsed();
            let room = self.settings.block_records_max - records.len();
            let wait = close_at.map_or(self.settings.idle, |at: Duration| at.saturating_sub(now));
            let is_full = room == 0 || bytes >= self.settings.block_bytes_max;
            if is_full || (wait.is_zero() && !records.is_empty()) {
                break;
            }
            let chunk = self.read(room, wait).await?;
            if chunk.records.is_empty() {
                if records.is_empty() {
                    (self.watch)(Progress::Idle);
                }
                continue;
            }
            if incarnation.is_some_and(|of_block| of_block != chunk.incarnation) {
                self.ahead.push_front(chunk);
                break;
            }
            incarnation = Some(chunk.incarnation);
            close_at.get_or_insert(now + self.settings.linger);
            bytes += chunk
                .records
                .iter()
                .filter_map(|record| record.payload.as_ref())
                .map(Bytes::len)
                .sum::<usize>();
            records.extend(chunk.records);
        }
        let (first, last) = (records.first(), records.last());
        let range = BlockRange {
            incarnation: incarnation.expect("a block has a record"),
            partition: self.source.partition(),
            first: first.expect("a block has a record").offset,
            end: last.expect("a block has a record").offset + 1,
        };
        Ok((range, records))
    }

    /// The records of a block that was in flight: exactly them, however long they take to come.
    async fn read_again(&mut self, range: &BlockRange) -> Result<Vec<Record>, LoopError> {
        let gap = |found: String| LoopError::Gap { range: *range, found };
        let mut records: Vec<Record> = Vec::new();
        while records.last().is_none_or(|last| last.offset + 1 < range.end) {
            let mut chunk = self.read(self.settings.block_records_max, self.settings.idle).await?;
            let Some(first) = chunk.records.first() else { continue };
            if chunk.incarnation != range.incarnation {
                return Err(gap(format!("incarnation {}", chunk.incarnation)));
            }
            if records.is_empty() && first.offset != range.first {
                return Err(gap(format!("first offset {}", first.offset)));
            }
            let in_block = chunk.records.partition_point(|record| record.offset < range.end);
            let rest = chunk.records.split_off(in_block);
            records.append(&mut chunk.records);
            if !rest.is_empty() {
                self.ahead.push_front(Chunk { incarnation: chunk.incarnation, records: rest });
                break;
            }
        }
        match records.last() {
            Some(last) if last.offset + 1 == range.end => Ok(records),
            other => Err(gap(format!("last offset {:?}", other.map(|record| record.offset)))),
        }
    }

    /// Records left over from the last read, or the source's next ones.
    async fn read(&mut self, records_max: usize, wait: Duration) -> Result<Chunk, LoopError> {
        let Some(mut chunk) = self.ahead.pop_front() else {
            return Ok(self.source.read(records_max, wait).await?);
        };
        if chunk.records.len() > records_max {
            let records = chunk.records.split_off(records_max);
            self.ahead.push_front(Chunk { incarnation: chunk.incarnation, records });
        }
        Ok(chunk)
    }
}

/// Stores a block's tables.
struct Inserting<'a, Sto, Clk> {
    store: &'a Sto,
    clock: &'a Clk,
    settings: &'a LoopSettings,
    watch: &'a mut (dyn FnMut(Progress) + Send),
    range: &'a BlockRange,
    is_replay: bool,
}

impl<Sto: Store, Clk: Clock> Inserting<'_, Sto, Clk> {
    /// Stores rows. Where somebody may have tried before, a try that succeeds is made once more: see [`Store::insert`].
    async fn insert(&mut self, rows: &Rows) -> Result<(), LoopError> {
        let (token, table) = (self.range.token(), rows.table());
        let mut failed = 0;
        let mut was_tried = self.is_replay;
        loop {
            match self.store.insert(&token, rows).await {
                Ok(()) if was_tried => {
                    // That try may have stored them, by another way.
                    self.store.catch_up().await?;
                    was_tried = false;
                }
                Ok(()) => break,
                Err(StoreError::Retry(_)) if failed + 1 < self.settings.insert_tries_max => {
                    (self.watch)(Progress::InsertRetried { table });
                    self.clock.sleep(self.settings.insert_backoff * (1 << failed.min(5))).await;
                    failed += 1;
                    was_tried = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        (self.watch)(Progress::Inserted { table, rows: rows.len() });
        Ok(())
    }
}
