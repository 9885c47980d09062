//! The edge over real sockets: what goes in and comes out byte by byte, and what the journal has by then.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod clicks;
mod harness;
mod hosts;
mod lifecycle;
mod limits;
mod open_redirect;
mod parting;
mod passing;
mod refusal;
mod registry;
mod targets;
mod visitors;
mod wire;
