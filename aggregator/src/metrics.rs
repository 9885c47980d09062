//! What the loops did, as counters. Labels are streams, tables and fixed words.

use crate::{click::DedupTally, partition::Progress, position::Partition};
use metrics::{Counter, Unit, counter, describe_counter, describe_gauge};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Describes every metric of the aggregator; called once by the process.
pub fn describe() {
    describe_counter!("whence_blocks_total", Unit::Count, "Blocks committed");
    describe_counter!(
        "whence_blocks_replayed_total",
        Unit::Count,
        "Blocks replayed after a crash or takeover"
    );
    describe_counter!("whence_records_total", Unit::Count, "Records that became a fact or a reject");
    describe_counter!("whence_rows_total", Unit::Count, "Rows acknowledged by ClickHouse, by table");
    describe_counter!(
        "whence_clickhouse_waits_total",
        Unit::Count,
        "Tries after which ClickHouse was waited for, by its code: no quorum, no Keeper, nobody there"
    );
    describe_counter!(
        "whence_clickhouse_waits_given_up_total",
        Unit::Count,
        "Waits for ClickHouse that lasted for clickhouse-wait-max"
    );
    describe_counter!(
        "whence_clickhouse_turns_total",
        Unit::Count,
        "Inserts that met another insert's quorum and were made again a moment later"
    );
    describe_counter!(
        "whence_clickhouse_inserts_confirmed_total",
        Unit::Count,
        "Inserts sent once more because a try had failed before one succeeded"
    );
    describe_counter!(
        "whence_clickhouse_inserts_unconfirmed_total",
        Unit::Count,
        "Inserts given up because failures and successes took turns for too long; they are tried again"
    );
    describe_counter!("whence_clickhouse_moves_total", Unit::Count, "Moves to another ClickHouse server");
    describe_gauge!(
        "whence_clickhouse_server_asked",
        Unit::Count,
        "1 for the ClickHouse server that this process asks, 0 for the others"
    );
    describe_gauge!(
        "whence_clickhouse_replicas_registered",
        Unit::Count,
        "Replicas of the tables that Keeper knows"
    );
    describe_gauge!(
        "whence_erasures_unapplied",
        Unit::Count,
        "Erasures' changes of tables that are not known to be applied on every replica"
    );
    describe_counter!("whence_insert_retries_total", Unit::Count, "Inserts that were tried again, by table");
    describe_counter!(
        "whence_partition_restarts_total",
        Unit::Count,
        "Partition loops started again after an error"
    );
    describe_counter!("whence_timers_sent_total", Unit::Count, "Timers sent for rewards that are due");
    describe_counter!("whence_timer_failures_total", Unit::Count, "Looks for due rewards that failed");
    describe_counter!(
        "whence_filter_checks_total",
        Unit::Count,
        "Click ids that a bloom filter was asked for"
    );
    describe_counter!("whence_filter_maybe_total", Unit::Count, "Of these, answered with maybe");
    describe_counter!("whence_filter_false_positives_total", Unit::Count, "Of the maybes, certainly new");
    describe_counter!("whence_dedup_lookups_total", Unit::Count, "Click ids looked up in ClickHouse");
    describe_counter!(
        "whence_filter_hours_loaded_total",
        Unit::Count,
        "Hours of click ids loaded from ClickHouse"
    );
    describe_counter!(
        "whence_filter_hours_dropped_total",
        Unit::Count,
        "Hours dropped at the filters' memory bound"
    );
    describe_counter!(
        "whence_lead_clicks_total",
        Unit::Count,
        "Clicks behind leads, by where they were found: hot (in memory), stored (in ClickHouse), nowhere"
    );
    describe_gauge!("whence_hot_clicks", Unit::Count, "Stored clicks in memory");
    describe_counter!(
        "whence_hot_clicks_dropped_total",
        Unit::Count,
        "Stored clicks that left memory at its bound"
    );
    describe_gauge!(
        "whence_kafka_lag_records",
        "records of the partitions of this member that it has not read"
    );
    describe_gauge!("whence_kafka_brokers_up", "brokers that the group's client is connected with");
    describe_counter!("whence_kafka_rebalances_total", "partitions assigned or revoked, by kind");
    describe_counter!(
        "whence_kafka_fenced_total",
        "times another process has taken the place of this member"
    );
    describe_counter!(
        "whence_kafka_blocks_abandoned_total",
        "revocations that blocks in flight held up for too long, which are replayed"
    );
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
            committed: counter!("whence_blocks_total", "stream" => stream),
            replayed: counter!("whence_blocks_replayed_total", "stream" => stream),
            records: counter!("whence_records_total", "stream" => stream),
            filter: [
                counter!("whence_filter_checks_total"),
                counter!("whence_filter_maybe_total"),
                counter!("whence_filter_false_positives_total"),
                counter!("whence_dedup_lookups_total"),
                counter!("whence_filter_hours_loaded_total"),
                counter!("whence_filter_hours_dropped_total"),
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
                counter!("whence_rows_total", "table" => table).increment(rows as u64);
                tracing::debug!(%partition, table, rows, "table inserted");
            }
            Progress::InsertRetried { table } => {
                counter!("whence_insert_retries_total", "table" => table).increment(1);
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
