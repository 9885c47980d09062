//! The server over the engine: what it serves and refuses, by real clients, and how it starts, ends and is bounded.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

mod attacks;
mod bounds;
mod client;
mod doors;
mod foreign;
mod inserts;
mod interface;
mod lifecycle;
mod native;
mod parameters;
mod statements;
mod support;
mod wedges;
