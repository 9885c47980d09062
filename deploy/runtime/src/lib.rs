//! What every whence process needs, and nothing about clicks.
//!
//! | Module | What it gives |
//! |---|---|
//! | [`mod@settings`] | one name per setting as flag, variable and TOML key; every mistake reported at once |
//! | [`telemetry`] | logs on stderr, the Prometheus recorder, `build_info`, process metrics |
//! | [`health`] | named readiness with reasons, liveness by heartbeat |
//! | [`private`] | files that nobody else may read |
//! | [`http`] | a bounded HTTP/1 server for plain listeners |
//! | [`admin`] | `/livez`, `/readyz` and `/metrics` over [`http`] |
//! | [`shutdown`] | signals to a token, then named stages in order, each under a deadline |
//!
//! Architecture invariant: this crate knows no event, no Kafka and no ClickHouse. It is imported by
//! everything that runs and imports nothing of whence.

pub mod admin;
pub mod health;
pub mod http;
pub mod private;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
