//! From records to facts: consume, deduplicate, join, insert, commit.
//!
//! | module | what it does | I/O |
//! |---|---|---|
//! | [`position`] | partitions, block ranges, commit metadata, insert tokens | none |
//! | [`source`], [`store`], [`clock`] | the three traits between the loop and the world | none |
//! | [`filter`] | growing bloom filters: "certainly new" or "maybe seen" | none |
//! | [`click`] | a block of click records becomes `clicks` and `rejects` | through [`store`] |
//! | [`conversion`] | a block of conversion records becomes `leads`, `qualifications`, … | through [`store`] |
//! | [`reward`] | what conversions earn becomes `rewards`; timers for what is due | through [`store`] |
//! | [`account`] | whether what is stored adds up with the account of the blocks | ClickHouse |
//! | [`retention`] | what is past its age is dropped or blanked | ClickHouse |
//! | [`completeness`] | up to when everything is in | none |
//! | [`partition_status`] | how each partition of the process does | none |
//! | [`partition`] | the loop of one partition: read, intend, process, insert, commit | through the traits |
//! | [`pause`] | holds the partitions of a process between two blocks; a lock of tokio's, which needs no runtime | none |
//! | [`servers`] | ClickHouse's servers, one or several, over TCP or TLS: every client of them is made here | clients |
//!
//! Architecture invariant: the loop and everything it calls know no tokio, rdkafka or ClickHouse
//! client; the simulation in `tests/simulation` runs the very loop that the binary runs. What a block
//! becomes depends only on its records and on what was stored by positions before it, so that a
//! replay of the block sends the same rows under the same tokens.

pub mod account;
mod causes;
pub mod click;
pub mod clickhouse;
pub mod clock;
pub mod completeness;
pub mod conversion;
pub mod filter;
pub mod journal;
pub mod kafka;
pub mod metrics;
pub mod partition;
pub mod partition_status;
pub mod pause;
pub mod position;
pub mod refusal;
pub mod retention;
pub mod reward;
pub mod servers;
pub mod source;
pub mod store;
pub mod work;
