//! Programs, referrers, links and API keys: one ordered history, written by one writer at a time and
//! followed by everybody else.
//!
//! | module | what it does |
//! |---|---|
//! | [`change`] | what a caller may ask for, and why it is refused |
//! | [`state`] | the present, in memory: built by applying entries in order, answers look-ups |
//! | [`check`] | whether a change fits the present, and the entries that a batch of changes makes |
//! | [`destination`] | which addresses a link may point at |
//! | [`host`] | the one form of a host |
//! | [`shared`] | one state that a writer changes and many read and follow |
//! | [`embedded`] | the registry of one machine: a redb file |
//! | [`kafka`] | the registry of many machines: a compacted topic |
//! | [`snapshot`] | a copy on local disk, so that a process starts while Kafka is down |
//!
//! Architecture invariant: an entry is durable before the state shows it, and nothing outside a
//! [`Registry`] changes the state.

pub mod change;
pub mod check;
pub mod destination;
pub mod embedded;
pub mod host;
pub mod kafka;
pub mod shared;
pub mod snapshot;
pub mod state;

pub use change::{Change, ChangeError, Effect, EntryKey, Expected, Kind, Versions, Written};
pub use shared::Shared;
pub use state::{Order, RegistryState};

use futures_util::future::BoxFuture;
use std::sync::Arc;
use whence_schemas::time::UnixMs;

/// Changes in one [`Registry::write`]: as many links as one request may create.
pub const CHANGES_MAX: usize = 10_000;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// The wall clock.
#[must_use]
pub fn wall_clock() -> Clock {
    Arc::new(|| {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixMs(since_epoch.ok().and_then(|elapsed| i64::try_from(elapsed.as_millis()).ok()).unwrap_or(0))
    })
}

/// What became of each change of a write, in the order of the changes.
pub type Outcomes = Vec<Result<Written, ChangeError>>;

/// A registry that can be written to.
pub trait Registry: Send + Sync {
    /// Checks each change against the present and the changes before it, writes those that fit, and
    /// answers when they are durable and the state shows them. Each has the next version; a refused
    /// change has none and stops no other.
    ///
    /// A future that is dropped may or may not have written. If it has, the state shows it.
    fn write(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<Outcomes, RegistryError>>;

    /// The present, to look things up in and to follow.
    fn shared(&self) -> &Arc<Shared>;

    /// Whether what the present does not have is not there. A registry that follows others says `false`
    /// until it has caught up with them and while it can't reach them: then something may be there that
    /// cannot be seen here yet, and whoever names it is to be told to come again, not that they are wrong.
    fn is_current(&self) -> bool {
        true
    }
}

/// Why a write as a whole did not happen, or is not known to have happened.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// More than [`CHANGES_MAX`]. The caller's fault.
    #[error("{0} changes in one write, more than {CHANGES_MAX}")]
    TooMany(usize),
    /// The store refused or can't be reached. Retry: the same changes conflict if they were written.
    #[error("the registry's store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The registry is shutting down or still reading what there is. Retry.
    #[error("the registry is not ready: {0}")]
    NotReady(&'static str),
}

impl RegistryError {
    /// The store failed, because of this.
    pub fn store(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RegistryError {
        RegistryError::Store(cause.into())
    }

    /// A fixed word for metrics and error bodies.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            RegistryError::TooMany(_) => "too_many_changes",
            RegistryError::Store(_) => "registry_store",
            RegistryError::NotReady(_) => "registry_not_ready",
        }
    }
}
