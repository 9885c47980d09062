//! What is shipped to Kafka and read from it, over real brokers.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

mod kafka_registry;
mod ship;
mod ship_outage;
mod ship_support;
