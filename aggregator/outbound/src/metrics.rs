//! What is counted. Labels are fixed words and numbers of partitions.

whence_metrics::declare! {
    /// Times that a bound was met: messages (an endpoint's wait in ClickHouse), requests, log_lines (deliveries
    /// wait), answer_bytes (an answer was not read to its end).
    counter DELIVERY_BOUNDS: "whence_delivery_bounds_total" { bound: ["messages", "requests", "log_lines", "answer_bytes"] };
}

/// A bound was met.
pub(crate) fn bound_met(bound: &'static str) {
    metrics::counter!(DELIVERY_BOUNDS, "bound" => bound).increment(1);
}
