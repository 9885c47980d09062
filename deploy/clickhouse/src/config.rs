//! What a server is given: where the engine and its data are, who may ask, and every bound.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::engine::EngineLimits;
use crate::rights::Databases;

/// How to run a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The engine library; see [`crate::library`].
    pub library: PathBuf,
    /// The data folder; one process at a time.
    pub data: PathBuf,
    /// The process whose data it is.
    pub owner: Account,
    /// People and their tools; without one, the owner alone may ask.
    pub reader: Option<Account>,
    /// The databases, made at the start.
    pub databases: Databases,
    /// Names by which a server on loopback may be called, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// What the engine may use.
    pub engine: EngineLimits,
    /// What the HTTP side may use.
    pub limits: ServerLimits,
}

/// A name and a password.
#[derive(Debug, Clone)]
pub struct Account {
    /// The name.
    pub user: String,
    /// The password; an empty one lets nobody in.
    pub password: SecretString,
}

impl Account {
    /// The owner's name where nothing else is said, as ClickHouse's clients have it.
    pub const OWNER: &str = "default";
    /// The reader's name.
    pub const READER: &str = "reader";

    /// An account.
    #[must_use]
    pub fn new(user: &str, password: SecretString) -> Self {
        Self { user: user.to_owned(), password }
    }
}

impl ServerConfig {
    /// A configuration with the defaults: one owner, databases `default` and `scratch`.
    #[must_use]
    pub fn new(library: impl Into<PathBuf>, data: impl Into<PathBuf>, owner: Account) -> Self {
        Self {
            library: library.into(),
            data: data.into(),
            owner,
            reader: None,
            databases: Databases { owned: vec!["default".into()], scratch: "scratch".into() },
            hosts: Vec::new(),
            engine: EngineLimits::default(),
            limits: ServerLimits::default(),
        }
    }
}

/// Bounds of the HTTP side. Reaching one is answered with a ClickHouse exception and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Open connections of those who have not said who they are. Of each of the three kinds, the longest
    /// idle one makes room for the next.
    pub strangers_max: usize,
    /// Open connections of the owner.
    pub owner_connections_max: usize,
    /// Open connections of the reader.
    pub reader_connections_max: usize,
    /// Statements of the owner, other than inserts, that run at once.
    pub queries_max: usize,
    /// Inserts of the owner that run at once. Their own number, so that queries cannot starve them.
    pub inserts_max: usize,
    /// Statements of the reader that run at once. Their own number, so that they can starve neither.
    pub reader_queries_max: usize,
    /// Memory of all statements of the reader together, in bytes; each may take its part of it.
    pub reader_memory_bytes_max: u64,
    /// Time of a statement of the reader, in seconds.
    pub reader_seconds_max: u64,
    /// What all statements of the reader together may put on the disk while they run, in bytes; each may put its
    /// part of it.
    pub reader_temporary_bytes_max: u64,
    /// How long a statement of the reader may go on after it was killed. Then this process ends, for its
    /// supervisor to start it again.
    pub stuck_max: Duration,
    /// Threads of a statement of the reader.
    pub reader_threads_max: u64,
    /// Size of one request body of the reader, in bytes.
    pub reader_body_bytes_max: usize,
    /// Size of all request bodies of the reader in memory together, in bytes.
    pub reader_bodies_bytes_max: usize,
    /// Size of the text of a statement of the reader, in bytes; the engine's own default.
    pub reader_statement_bytes_max: usize,
    /// What the reader's own tables may take.
    pub scratch: ScratchLimits,
    /// Statements of each of the three kinds that wait for a place.
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
            strangers_max: 128,
            owner_connections_max: 256,
            reader_connections_max: 64,
            queries_max: 8,
            inserts_max: 4,
            reader_queries_max: 4,
            reader_memory_bytes_max: 1 << 30,
            reader_seconds_max: 60,
            reader_temporary_bytes_max: 1 << 30,
            stuck_max: Duration::from_secs(30),
            reader_threads_max: 2,
            reader_body_bytes_max: 32 << 20,
            reader_bodies_bytes_max: 128 << 20,
            reader_statement_bytes_max: 256 << 10,
            scratch: ScratchLimits::default(),
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

/// What the reader's own tables may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScratchLimits {
    /// Size on disk of all of them, in bytes. Looked at while rows are written: a statement that passes it
    /// is ended within about a second.
    pub bytes_max: u64,
    /// Tables and views.
    pub tables_max: u64,
    /// How long after its last change a table stays.
    pub age_max: Duration,
}

impl Default for ScratchLimits {
    fn default() -> Self {
        Self { bytes_max: 1 << 30, tables_max: 100, age_max: Duration::from_secs(7 * 86_400) }
    }
}
