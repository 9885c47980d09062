//! The registry: what it refuses, in which order it writes, and what survives a restart.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod changes;
mod embedded;
mod following;
mod hosts;
mod records;
mod snapshot;
