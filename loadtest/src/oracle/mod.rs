//! The oracle: reads back what ClickHouse holds and compares it with the ledger, both ways.
//!
//! | module | what it does |
//! |---|---|
//! | [`stored`] | the rows that are read back |
//! | [`attribution`], [`identity`] | the contract's rules, written down a second time |
//! | [`compare`](mod@compare) | the comparison, pure |
//! | [`difference`] | what it finds |
//! | [`store`] | reads ClickHouse |
//! | [`wait`] | waits until the pipeline has come to rest |
//! | [`report`] | tables and JSON |
//!
//! Architecture invariant: nothing here comes from another crate of whence. An oracle that shares code
//! with what it judges shares its mistakes.

pub mod attribution;
pub mod cells;
pub mod compare;
pub mod difference;
pub mod identity;
pub mod names;
pub mod report;
pub mod store;
pub mod stored;
pub mod wait;

pub use compare::{Findings, Strictness, Totals, compare};
