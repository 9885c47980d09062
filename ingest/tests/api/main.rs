//! The events API over real sockets: what it refuses and why, what it promises when it accepts.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod access;
mod batches;
mod behind;
mod calls;
mod codes;
mod conflicts;
mod counted;
mod document;
mod doors;
mod durability;
mod endpoints;
mod events;
mod generated;
mod leads;
mod node;
mod qualifications;
mod records;
mod requests;
mod shares;
mod webhooks;
