//! The metrics of one journal, each looked up once. The label `journal` is the directory's name, so there
//! are as many series as journals; `reason` is one of librdkafka's error codes.

use std::path::Path;

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use rdkafka::error::RDKafkaErrorCode;

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
            sent: count("whence_ship_sent_records_total"),
            resent: count("whence_ship_resent_records_total"),
            acknowledged: count("whence_ship_acknowledged_records_total"),
            unkeyed: count("whence_ship_unkeyed_records_total"),
            corrupt: count("whence_ship_corrupt_records_total"),
            queue_full: count("whence_ship_queue_full_total"),
            read_failures: count("whence_ship_read_failures_total"),
            checkpoint_failures: count("whence_ship_checkpoint_failures_total"),
            keep_failures: count("whence_ship_keep_failures_total"),
            damaged_checkpoints: count("whence_ship_damaged_checkpoints_total"),
            retired: count("whence_ship_retired_segments_total"),
            in_flight_records: level("whence_ship_in_flight_records"),
            in_flight_bytes: level("whence_ship_in_flight_bytes"),
            lag_bytes: level("whence_ship_lag_bytes"),
            oldest_age: level("whence_ship_oldest_unshipped_seconds"),
            journal,
        }
    }

    /// Sendings that failed and are made again.
    pub(super) fn failed(&self, code: RDKafkaErrorCode, records: u64) {
        let labels = [("journal", self.journal.clone()), ("reason", format!("{code:?}"))];
        counter!("whence_ship_failed_records_total", &labels).increment(records);
    }

    /// A record that Kafka will never take.
    pub(super) fn refused(&self, code: RDKafkaErrorCode) {
        let labels = [("journal", self.journal.clone()), ("reason", format!("{code:?}"))];
        counter!("whence_ship_refused_total", &labels).increment(1);
    }

    /// Records that were removed before they were shipped; how many is known only within an incarnation.
    pub(super) fn lost(&self, records: Option<u64>) {
        counter!("whence_ship_lost_ranges_total", "journal" => self.journal.clone()).increment(1);
        if let Some(records) = records {
            counter!("whence_ship_lost_records_total", "journal" => self.journal.clone()).increment(records);
        }
    }
}

/// Tells the exporter what the metrics mean.
pub(super) fn describe() {
    describe_counter!("whence_ship_sent_records_total", "records handed to the Kafka client");
    describe_counter!("whence_ship_resent_records_total", "of these, records that were handed over before");
    describe_counter!("whence_ship_acknowledged_records_total", "records that Kafka has");
    describe_counter!("whence_ship_unkeyed_records_total", "records shipped without a key: unreadable ones");
    describe_counter!(
        "whence_ship_corrupt_records_total",
        "journal records that were damaged and not shipped"
    );
    describe_counter!("whence_ship_queue_full_total", "times the Kafka client's queue was full");
    describe_counter!("whence_ship_read_failures_total", "times a journal could not be read");
    describe_counter!("whence_ship_checkpoint_failures_total", "times a checkpoint could not be saved");
    describe_counter!("whence_ship_keep_failures_total", "times a refused record could not be kept");
    describe_counter!("whence_ship_damaged_checkpoints_total", "checkpoints found damaged at start");
    describe_counter!(
        "whence_ship_retired_segments_total",
        "journal segments removed after shipping and grace"
    );
    describe_counter!("whence_ship_failed_records_total", "sendings that failed and are made again");
    describe_counter!(
        "whence_ship_refused_total",
        "records that Kafka refuses for good, kept beside the journal"
    );
    describe_counter!("whence_ship_lost_ranges_total", "gaps: segments removed before they were shipped");
    describe_counter!("whence_ship_lost_records_total", "records in those gaps, where the number is known");
    describe_counter!("whence_ship_client_replacements_total", "times the Kafka client was replaced");
    describe_gauge!("whence_ship_in_flight_records", "records sent and not acknowledged");
    describe_gauge!("whence_ship_in_flight_bytes", "their bytes");
    describe_gauge!("whence_ship_lag_bytes", "bytes in the journal that Kafka does not have");
    describe_gauge!(
        "whence_ship_oldest_unshipped_seconds",
        "age of the oldest record sent and not acknowledged"
    );
    describe_gauge!("whence_ship_kafka_up", "1 if any broker answers");
    describe_gauge!("whence_ship_brokers_up", "brokers connected");
    describe_gauge!("whence_ship_client_queue_records", "records in the Kafka client");
}
