//! What a server is given: where the engine and its data are, who may ask, and every bound.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::engine::EngineLimits;

/// How to run a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The engine library; see [`crate::library`].
    pub library: PathBuf,
    /// The data folder; one process at a time.
    pub data: PathBuf,
    /// The one user's name.
    pub user: String,
    /// The one user's password. Without one, anyone who reaches the port may ask, so the server then
    /// refuses to listen anywhere but on loopback.
    pub password: Option<SecretString>,
    /// What the engine may use.
    pub engine: EngineLimits,
    /// What the HTTP side may use.
    pub limits: ServerLimits,
}

impl ServerConfig {
    /// A configuration with the defaults: user `default`, no password.
    #[must_use]
    pub fn new(library: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        Self {
            library: library.into(),
            data: data.into(),
            user: "default".into(),
            password: None,
            engine: EngineLimits::default(),
            limits: ServerLimits::default(),
        }
    }
}

/// Bounds of the HTTP side. Reaching one is answered with a ClickHouse exception and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Open connections; further ones wait in the listener's backlog.
    pub connections_max: usize,
    /// Statements other than inserts that run at once.
    pub queries_max: usize,
    /// Inserts that run at once. Their own number, so that queries cannot starve them.
    pub inserts_max: usize,
    /// Statements of each of the two kinds that wait for a place.
    pub waiting_max: usize,
    /// How long a statement waits for a place.
    pub wait_max: Duration,
    /// Size of one request body, packed or unpacked, in bytes.
    pub body_bytes_max: usize,
    /// Size of all request bodies in memory together, in bytes.
    pub bodies_bytes_max: usize,
    /// Size of a statement's text, rows of an insert not counted, in bytes.
    pub statement_bytes_max: usize,
    /// Size of a result that is held back whole (`wait_end_of_query=1`), in bytes.
    pub held_result_bytes_max: usize,
    /// How long a client may take to send its headers, and how long a connection may stay idle
    /// between requests; ClickHouse's `keep_alive_timeout` is as long.
    pub headers_max: Duration,
    /// How long a client may pause while it sends a body or takes a result.
    pub idle_max: Duration,
    /// How long requests under way may take to end at shutdown.
    pub drain_max: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            queries_max: 8,
            inserts_max: 4,
            waiting_max: 128,
            wait_max: Duration::from_secs(30),
            body_bytes_max: 256 << 20,
            bodies_bytes_max: 1 << 30,
            statement_bytes_max: 16 << 20,
            held_result_bytes_max: 64 << 20,
            headers_max: Duration::from_secs(30),
            idle_max: Duration::from_secs(60),
            drain_max: Duration::from_secs(15),
        }
    }
}
