//! Messages in the real engine, delivered over real connections to receivers that fail in every way.
//!
//! Needs the engine (see `whence_clickhouse_embedded::testing`); without it these tests fail.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod delivery;
mod receiver;
mod reference;
mod time;
mod world;
