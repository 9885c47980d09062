//! HTTP/1.1 to one address: connections that say whether a request that failed may have arrived.
//!
//! | module | what it does |
//! |---|---|
//! | [`connection`] | one connection, driven by the task that uses it |
//! | [`target`] | an `http://host:port` address, resolved |
//! | [`calls`] | a few requests with JSON bodies, for setting things up |
//!
//! It knows neither clicks nor events.

pub mod calls;
pub mod connection;
pub mod target;

pub use connection::{Answer, Connection, Failure};
pub use target::{Target, TargetError};
