//! The aggregator over the real ClickHouse engine, a real journal and a real Kafka broker.
//!
//! Needs the engine's server binary and library (see `whence_clickhouse_embedded::testing`) and
//! `WHENCE_TEST_KAFKA_BROKERS`; `make test` sees to both. Without them these tests fail.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod account;
mod chains;
mod consistent;
mod conversions;
mod events;
mod evidence;
mod flags;
mod interleaving;
mod journal;
mod kafka;
mod lookups;
mod messages;
mod retention;
mod rewards;
mod standstill;
#[path = "../stories/mod.rs"]
mod stories;
mod tables;
mod world;
