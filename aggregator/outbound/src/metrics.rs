//! What is counted. Labels are fixed words and numbers of partitions.

use metrics::{Unit, describe_counter, describe_gauge};

/// Describes every metric of this crate; called once by the process.
pub fn describe() {
    describe_counter!(
        "whence_deliveries_total",
        Unit::Count,
        "Tries to send a message to an endpoint, by what became of it: delivered, retry or dead"
    );
    describe_counter!(
        "whence_delivery_failures_total",
        Unit::Count,
        "Tries that an endpoint did not take, by why: status, timeout, connect, connection, tls, address_refused, …"
    );
    describe_counter!(
        "whence_delivery_bounds_total",
        Unit::Count,
        "Times that a bound was met: messages (an endpoint's wait in ClickHouse), requests, log_lines (deliveries \
         wait), answer_bytes (an answer was not read to its end)"
    );
    describe_gauge!(
        "whence_deliveries_waiting",
        Unit::Count,
        "Messages in memory that are not delivered or dead, by partition"
    );
    describe_counter!(
        "whence_delivery_log_failures_total",
        Unit::Count,
        "Inserts into the delivery log that failed; deliveries pause until one succeeds"
    );
    describe_counter!(
        "whence_delivery_read_failures_total",
        Unit::Count,
        "Reads of what is to be delivered that failed"
    );
    describe_counter!("whence_facts_total", Unit::Count, "Messages written to the topic of facts");
    describe_counter!(
        "whence_facts_failures_total",
        Unit::Count,
        "Times the topic of facts could not be written or what is to be written could not be read"
    );
}

/// A bound was met.
pub(crate) fn bound_met(bound: &'static str) {
    metrics::counter!("whence_delivery_bounds_total", "bound" => bound).increment(1);
}
