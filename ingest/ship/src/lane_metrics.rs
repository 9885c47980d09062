//! The metrics of one journal, each looked up once. The label `journal` is the directory's name, so there
//! are as many series as journals; `reason` is one of librdkafka's error codes.

use std::path::Path;

use metrics::{Counter, Gauge, counter, gauge};
use rdkafka::error::RDKafkaErrorCode;

whence_metrics::declare! {
    /// Records handed to the Kafka client.
    counter SHIP_SENT_RECORDS: "whence_ship_sent_records_total" { journal };
    /// Of these, records that were handed over before.
    counter SHIP_RESENT_RECORDS: "whence_ship_resent_records_total" { journal };
    /// Records that Kafka has.
    counter SHIP_ACKNOWLEDGED_RECORDS: "whence_ship_acknowledged_records_total" { journal };
    /// Records shipped without a key: unreadable ones.
    counter SHIP_UNKEYED_RECORDS: "whence_ship_unkeyed_records_total" { journal };
    /// Journal records that were damaged and not shipped.
    counter SHIP_CORRUPT_RECORDS: "whence_ship_corrupt_records_total" { journal };
    /// Times the Kafka client's queue was full.
    counter SHIP_QUEUE_FULL: "whence_ship_queue_full_total" { journal };
    /// Times a journal could not be read.
    counter SHIP_READ_FAILURES: "whence_ship_read_failures_total" { journal };
    /// Times a checkpoint could not be saved.
    counter SHIP_CHECKPOINT_FAILURES: "whence_ship_checkpoint_failures_total" { journal };
    /// Times a refused record could not be kept.
    counter SHIP_KEEP_FAILURES: "whence_ship_keep_failures_total" { journal };
    /// Checkpoints found damaged at start.
    counter SHIP_DAMAGED_CHECKPOINTS: "whence_ship_damaged_checkpoints_total" { journal };
    /// Journal segments removed after shipping and grace.
    counter SHIP_RETIRED_SEGMENTS: "whence_ship_retired_segments_total" { journal };
    /// Sendings that failed and are made again.
    counter SHIP_FAILED_RECORDS: "whence_ship_failed_records_total" { journal, reason };
    /// Records that Kafka refuses for good, kept beside the journal.
    counter SHIP_REFUSED: "whence_ship_refused_total" { journal, reason };
    /// Gaps: segments removed before they were shipped.
    counter SHIP_LOST_RANGES: "whence_ship_lost_ranges_total" { journal };
    /// Records in those gaps, where the number is known.
    counter SHIP_LOST_RECORDS: "whence_ship_lost_records_total" { journal };
    /// Records sent and not acknowledged.
    gauge SHIP_IN_FLIGHT_RECORDS: "whence_ship_in_flight_records" { journal };
    /// Their bytes.
    gauge SHIP_IN_FLIGHT_BYTES: "whence_ship_in_flight_bytes" { journal };
    /// Bytes in the journal that Kafka does not have.
    gauge SHIP_LAG_BYTES: "whence_ship_lag_bytes" { journal };
    /// Age of the oldest record sent and not acknowledged.
    gauge SHIP_OLDEST_UNSHIPPED_SECONDS: "whence_ship_oldest_unshipped_seconds" { journal };
}

pub(super) struct LaneMetrics {
    journal: String,
    pub(super) sent: Counter,
    pub(super) resent: Counter,
    pub(super) acknowledged: Counter,
    pub(super) unkeyed: Counter,
    pub(super) corrupt: Counter,
    pub(super) queue_full: Counter,
    pub(super) read_failures: Counter,
    pub(super) checkpoint_failures: Counter,
    pub(super) keep_failures: Counter,
    pub(super) damaged_checkpoints: Counter,
    pub(super) retired: Counter,
    lost_ranges: Counter,
    lost_records: Counter,
    pub(super) in_flight_records: Gauge,
    pub(super) in_flight_bytes: Gauge,
    pub(super) lag_bytes: Gauge,
    pub(super) oldest_age: Gauge,
}

impl LaneMetrics {
    pub(super) fn of(dir: &Path) -> LaneMetrics {
        let journal =
            dir.file_name().map_or_else(|| "journal".into(), |name| name.to_string_lossy().into_owned());
        let count = |name: &'static str| counter!(name, "journal" => journal.clone());
        let level = |name: &'static str| gauge!(name, "journal" => journal.clone());
        LaneMetrics {
            sent: count(SHIP_SENT_RECORDS),
            resent: count(SHIP_RESENT_RECORDS),
            acknowledged: count(SHIP_ACKNOWLEDGED_RECORDS),
            unkeyed: count(SHIP_UNKEYED_RECORDS),
            corrupt: count(SHIP_CORRUPT_RECORDS),
            queue_full: count(SHIP_QUEUE_FULL),
            read_failures: count(SHIP_READ_FAILURES),
            checkpoint_failures: count(SHIP_CHECKPOINT_FAILURES),
            keep_failures: count(SHIP_KEEP_FAILURES),
            damaged_checkpoints: count(SHIP_DAMAGED_CHECKPOINTS),
            retired: count(SHIP_RETIRED_SEGMENTS),
            lost_ranges: count(SHIP_LOST_RANGES),
            lost_records: count(SHIP_LOST_RECORDS),
            in_flight_records: level(SHIP_IN_FLIGHT_RECORDS),
            in_flight_bytes: level(SHIP_IN_FLIGHT_BYTES),
            lag_bytes: level(SHIP_LAG_BYTES),
            oldest_age: level(SHIP_OLDEST_UNSHIPPED_SECONDS),
            journal,
        }
    }

    /// Sendings that failed and are made again.
    pub(super) fn failed(&self, code: RDKafkaErrorCode, records: u64) {
        let labels = [("journal", self.journal.clone()), ("reason", format!("{code:?}"))];
        counter!(SHIP_FAILED_RECORDS, &labels).increment(records);
    }

    /// A record that Kafka will never take.
    pub(super) fn refused(&self, code: RDKafkaErrorCode) {
        let labels = [("journal", self.journal.clone()), ("reason", format!("{code:?}"))];
        counter!(SHIP_REFUSED, &labels).increment(1);
    }

    /// Records that were removed before they were shipped; how many is known only within an incarnation.
    pub(super) fn lost(&self, records: Option<u64>) {
        self.lost_ranges.increment(1);
        self.lost_records.increment(records.unwrap_or(0));
    }
}
