//! The views and the questions, over facts that the aggregator makes, on the real engine.
//!
//! Needs the engine's server binary and library (see `whence_clickhouse_embedded::testing`). Without them
//! these tests fail.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod document;
mod http;
mod lineage;
mod replay;
mod reports;
mod rewards;
mod status;
mod world;
