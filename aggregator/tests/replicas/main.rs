//! The store over a real cluster: embedded engines as replicas, Debian's ZooKeeper as Keeper, all of them processes
//! that are killed and frozen.
//!
//! Needs `cargo build -p whence-clickhouse-replica --bins`, the engine, Java and the package `zookeeper`; `make test`
//! sees to all of them. Without them these tests fail.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod commits;
mod lists;
mod moves;
mod personal;
mod retention;
mod world;
