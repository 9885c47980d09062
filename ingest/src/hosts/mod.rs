//! Proving that a host is a program's: a TXT record in the host's own DNS, which only who runs the host can set.
//!
//! | module | what it does |
//! |---|---|
//! | [`proof`] | which record proves which host for which program |
//! | [`dns`] | asks the DNS for it |
//!
//! Whose a host is stands in the registry ([`crate::registry::check`]); nothing here knows it.

pub mod dns;
pub mod proof;

pub use dns::{Dns, DnsError, TxtRecords};
pub use proof::Proof;
