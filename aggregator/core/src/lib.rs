//! The aggregator's pure core: what a block of records becomes, and the loop of one partition behind three traits.
//!
//! | module | what it does | I/O |
//! |---|---|---|
//! | [`position`] | partitions, block ranges, commit metadata, insert tokens | none |
//! | [`source`], [`store`], [`clock`] | the three traits between the loop and the world | none |
//! | [`filter`] | growing bloom filters: "certainly new" or "maybe seen" | none |
//! | [`click`] | a block of click records becomes `clicks` and `rejects` | through [`store`] |
//! | [`conversion`] | a block of conversion records becomes `leads`, `qualifications`, … | through [`store`] |
//! | [`reward`] | what conversions earn becomes `rewards` | through [`store`] |
//! | [`completeness`] | up to when everything is in | none |
//! | [`partition`] | the loop of one partition: read, intend, process, insert, commit | through the traits |
//! | [`pause`] | holds the partitions of a process between two blocks; a lock of tokio's, which needs no runtime | none |
//!
//! Architecture invariant: nothing here knows rdkafka, a ClickHouse client, a socket or a file: this crate depends on
//! none of them. The simulation in `aggregator/tests/simulation` runs the very loop that the binary runs. What a block
//! becomes depends only on its records and on what was stored by positions before it, so that a
//! replay of the block sends the same rows under the same tokens.

mod causes;
pub mod click;
pub mod clock;
pub mod completeness;
pub mod conversion;
pub mod filter;
pub mod partition;
pub mod pause;
pub mod position;
pub mod refusal;
pub mod reward;
pub mod source;
pub mod store;

pub use causes::chain;
