//! The edge: answers links, and records every click before it answers.
//!
//! | module | what it does |
//! |---|---|
//! | [`links`] | the link table, fed by registry records |
//! | [`config`] | settings, and why an edge does not start |
//! | `start`, `server`, `connection`, `stream` | threads and sockets |
//! | [`acme`] | certificates from an authority |
//! | [`tls`], `http2` | certificates, and what protocols a client may speak over TLS |
//! | `fold` | the hash of caches |
//! | `heads` | what clients send unencoded, encoded before it is parsed |
//! | `places` | places for connections |
//! | [`worker`], [`redirector`] | one core: from a request to its answer |
//! | `probe` | what every host is asked for, whatever it is |
//! | `proxy_header` | the client that a proxy connects for |
//! | [`target`], [`query`], [`visitor`], [`verdict`] | what a request says |
//! | [`reading`] | the link that a request means which names no code as it stands |
//! | [`agents`], [`agent_cache`] | what user agents are |
//! | `limited`, `majority` | requests beyond a network's share, and a network that makes most of them |
//! | [`record`], [`recorder`] | a click's bytes, and their way into the journal |
//! | [`answer`] | heads and pages |
//! | [`meters`] | metrics |
//!
//! # Invariants
//!
//! - A redirect that left the edge is a click in the journal, or a counted loss.
//! - Where a redirect goes is stored; a request adds parameters at most, and never the token's.
//! - No address, cookie or agent of a visitor is in a record, a log line or a metric. Of a network that makes most
//!   requests or has used up a share its /24 or /48 is logged, now and then.
//! - A link that may be followed is followed, whoever asks and however often.
//! - A request costs no more than its head, whatever it says: all that it is compared with is bounded.
//!
//! Deliberately absent: HTTP/2 without TLS, request bodies, any wait between a request and its answer.

pub mod acme;
pub mod agent_cache;
pub mod agents;
pub mod answer;
pub mod config;
mod connection;
mod fold;
mod heads;
mod http2;
mod limited;
pub mod links;
mod majority;
pub mod meters;
mod places;
mod probe;
mod proxy_header;
pub mod query;
pub mod reading;
pub mod record;
pub mod recorder;
pub mod redirector;
mod server;
mod shared;
mod start;
mod stream;
pub mod target;
pub mod tls;
pub mod verdict;
pub mod visitor;
pub mod worker;

pub use config::{EdgeConfig, EdgeError, SecureConfig};
pub use links::{LinkTable, TableLimits};
pub use shared::Clock;
pub use start::{EdgeHandle, Parts, Stopped, start};
pub use visitor::CookieConfig;
pub use whence_schemas::address::{self, AddressHasher};
