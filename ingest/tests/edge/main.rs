//! The edge over real sockets: what goes in and comes out byte by byte, and what the journal has by then.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod acme;
mod agents;
mod certificates;
mod clicks;
mod floods;
mod harness;
mod hosts;
mod lifecycle;
mod limits;
mod open_redirect;
mod parting;
mod passing;
mod places;
mod proxied;
mod readings;
mod refusal;
mod registry;
mod secure;
mod shares;
mod targets;
mod tls_support;
mod visitors;
mod wire;
