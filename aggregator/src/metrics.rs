//! What the loops did, as counters. Labels are streams, tables and fixed words.

use crate::{click::DedupTally, partition::Progress, position::Partition};
use metrics::{Counter, counter};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

whence_metrics::declare! {
    /// Blocks committed.
    counter BLOCKS: "whence_blocks_total" { stream: ["clicks", "conversions"] };
    /// Blocks replayed after a crash or takeover.
    counter BLOCKS_REPLAYED: "whence_blocks_replayed_total" { stream: ["clicks", "conversions"] };
    /// Records that became a fact or a reject.
    counter RECORDS: "whence_records_total" { stream: ["clicks", "conversions"] };
    /// Rows acknowledged by ClickHouse, by table.
    counter ROWS: "whence_rows_total" { table };
    /// Inserts that were tried again, by table.
    counter INSERT_RETRIES: "whence_insert_retries_total" { table };
    /// Click ids that a bloom filter was asked for.
    counter FILTER_CHECKS: "whence_filter_checks_total";
    /// Of these, answered with maybe.
    counter FILTER_MAYBE: "whence_filter_maybe_total";
    /// Of the maybes, certainly new.
    counter FILTER_FALSE_POSITIVES: "whence_filter_false_positives_total";
    /// Click ids looked up in ClickHouse.
    counter DEDUP_LOOKUPS: "whence_dedup_lookups_total";
    /// Hours of click ids loaded from ClickHouse.
    counter FILTERS_LOADED: "whence_filters_loaded_total";
    /// Hours dropped at the filters' memory bound.
    counter FILTERS_DROPPED: "whence_filters_dropped_total";
}

struct Counters {
    partition: Partition,
    blocks: AtomicU64,
    committed: Counter,
    replayed: Counter,
    records: Counter,
    filter: [Counter; 6],
}

/// Watches one partition's loop.
#[derive(Clone)]
pub struct Watch(Arc<Counters>);

impl Watch {
    /// A watch with the partition's stream as label.
    #[must_use]
    pub fn new(partition: Partition) -> Watch {
        let stream = partition.stream.word();
        Watch(Arc::new(Counters {
            partition,
            blocks: AtomicU64::new(0),
            committed: counter!(BLOCKS, "stream" => stream),
            replayed: counter!(BLOCKS_REPLAYED, "stream" => stream),
            records: counter!(RECORDS, "stream" => stream),
            filter: [
                counter!(FILTER_CHECKS),
                counter!(FILTER_MAYBE),
                counter!(FILTER_FALSE_POSITIVES),
                counter!(DEDUP_LOOKUPS),
                counter!(FILTERS_LOADED),
                counter!(FILTERS_DROPPED),
            ],
        }))
    }

    /// Blocks committed so far.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.0.blocks.load(Ordering::Relaxed)
    }

    /// For [`crate::partition::PartitionLoop`].
    pub fn observer(&self) -> impl FnMut(Progress) + Send + use<> {
        let counters = self.0.clone();
        move |progress| counters.observe(progress)
    }
}

impl Counters {
    /// Counts it and, at debug level, says it: so a person (or a fault test) sees where in a block a process
    /// stands.
    fn observe(&self, progress: Progress) {
        let partition = self.partition;
        match progress {
            Progress::Restarted(committed) => {
                tracing::debug!(%partition, next = committed.next, "partition loop restarted");
            }
            Progress::Replaying(range) => {
                self.replayed.increment(1);
                tracing::info!(%partition, first = range.first, end = range.end, "replaying a block");
            }
            Progress::Intended(range) => {
                tracing::debug!(%partition, first = range.first, end = range.end, "block intended");
            }
            Progress::Inserted { table, rows } => {
                counter!(ROWS, "table" => table).increment(rows as u64);
                tracing::debug!(%partition, table, rows, "table inserted");
            }
            Progress::InsertRetried { table } => {
                counter!(INSERT_RETRIES, "table" => table).increment(1);
                tracing::debug!(%partition, table, "insert tried again");
            }
            Progress::Idle => {}
            Progress::Committed { range, dedup, .. } => {
                self.committed(range.end - range.first, dedup);
                tracing::debug!(%partition, first = range.first, end = range.end, "block committed");
            }
        }
    }

    fn committed(&self, records: u64, dedup: DedupTally) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.committed.increment(1);
        self.records.increment(records);
        let tally = [
            dedup.checked,
            dedup.maybe,
            dedup.false_positives,
            dedup.looked_up,
            dedup.hours_loaded,
            dedup.hours_dropped,
        ];
        self.filter.iter().zip(tally).for_each(|(counter, count)| counter.increment(count));
    }
}
