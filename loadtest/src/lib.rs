//! Open-loop load generator that knows the truth, and the oracle that checks it.
//!
//! | module | what it does |
//! |---|---|
//! | [`world`] | the programs, referrers and links that a run sets up, from a seed |
//! | [`setup`] | creates the world by the API |
//! | [`wire`] | HTTP connections |
//! | [`drive`] | sends it, in an open loop |
//! | [`ledger`] | what was sent and answered |
//! | [`plan`] | what to send and when, seeded |
//! | [`oracle`] | what is stored, and whether it is the same |
//! | [`faults`] | processes that are killed on purpose |
//! | [`cli`] | the command line |
//!
//! Architecture invariant: a black box test. It knows whence by HTTP, JSON and SQL alone and depends on no
//! other crate of it.

pub mod cli;
pub mod drive;
pub mod faults;
pub mod ledger;
pub mod oracle;
pub mod plan;
pub mod setup;
pub mod wire;
pub mod world;
