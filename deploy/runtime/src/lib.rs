//! What every whence process needs, and nothing about clicks.
//!
//! | Module | What it gives |
//! |---|---|
//! | [`mod@settings`] | one name per setting as flag, variable and TOML key; every mistake reported at once |
//! | [`telemetry`] | logs on stderr, the Prometheus recorder, `build_info`, process metrics |
//! | [`health`] | named readiness with reasons, liveness by heartbeat |
//! | [`private`] | files that nobody else may read |
//! | [`http`] | a bounded HTTP/1 server for plain listeners |
//! | [`listeners`] | an address of one's own, or the sockets that were handed over |
//! | [`descriptors`] | the limit of open files, and that all places fit it |
//! | [`disk`] | what a file system has left |
//! | [`seats`] | who has a listener's places, and who goes when there are none left |
//! | [`shares`] | what one network may take of what is there for all |
//! | [`mod@seldom`] | log lines that an outsider can cause, once in ten seconds |
//! | [`admin`] | `/livez`, `/readyz` and `/metrics` over [`http`] |
//! | [`site`] | which web pages may call a local listener |
//! | [`tls`] | which certificates a client trusts and presents, and what went wrong with a connection |
//! | [`shutdown`] | signals to a token, then named stages in order, each under a deadline |
//!
//! Architecture invariant: this crate knows no event, no Kafka and no ClickHouse. It is imported by
//! everything that runs and imports nothing of whence.

pub mod admin;
pub mod descriptors;
pub mod disk;
pub mod health;
pub mod http;
pub mod listeners;
pub mod private;
pub mod seats;
pub mod seldom;
pub mod settings;
pub mod shares;
pub mod shutdown;
pub mod site;
pub mod telemetry;
pub mod tls;
