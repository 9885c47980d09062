//! Things that go wrong on purpose: processes that are killed and started again while the load runs.
//!
//! A [`Fleet`] starts processes, keeps their logs, waits until they are ready and kills them. What to
//! kill, and when, is a scenario's own.

mod fleet;

pub use fleet::{Fleet, FleetError, Member};
