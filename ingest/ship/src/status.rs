//! What others may know of the shipper: how it stands while it runs, and what it left when it stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use whence_journal::Position;
use whence_kafka::Trouble;

use super::connection::{Connection, ConnectionState};

/// How the shipper stands, at most a second old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipStatus {
    /// Whether Kafka is there. A shipper without Kafka is degraded, not broken: the edge goes on and the
    /// journals fill, so this alone is no reason to take the process out of service.
    pub connection: Connection,
    /// What keeps records from arriving, in words: of the connections while no broker answers, else what brokers
    /// refuse. `None`: nothing does.
    pub trouble: Option<Trouble>,
    /// Age of the oldest record that was sent and has not arrived; zero if there is none.
    pub oldest_unshipped: Duration,
    /// Records sent and not acknowledged.
    pub in_flight_records: u64,
    /// Bytes that have not arrived, framing of unread ones included; `u64::MAX` before the first look, and
    /// while a journal cannot be read.
    pub lag_bytes: u64,
}

/// What one journal was left like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalReport {
    /// Its directory.
    pub dir: PathBuf,
    /// Everything below has arrived; `None` if nothing has.
    pub shipped_to: Option<Position>,
    /// Whether that is everything.
    pub is_drained: bool,
    /// Bytes left, framing included; `None` if the journal could not be read.
    pub lag_bytes: Option<u64>,
}

/// How the shipper ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipReport {
    /// Whether all journals were shipped to their ends.
    pub is_drained: bool,
    /// In the order they were given.
    pub journals: Vec<JournalReport>,
}

/// Between the thread and its handle.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connection: Arc<ConnectionState>,
    pub(super) oldest_unshipped_ms: AtomicU64,
    pub(super) in_flight_records: AtomicU64,
    pub(super) lag_bytes: AtomicU64,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            connection: Arc::default(),
            oldest_unshipped_ms: AtomicU64::new(0),
            in_flight_records: AtomicU64::new(0),
            lag_bytes: AtomicU64::new(u64::MAX),
        }
    }
}

impl Shared {
    pub(super) fn status(&self) -> ShipStatus {
        let (connection, heard) = (self.connection.read(), &self.connection.heard);
        ShipStatus {
            connection,
            trouble: if connection == Connection::Up { heard.work() } else { heard.last() },
            oldest_unshipped: Duration::from_millis(self.oldest_unshipped_ms.load(Ordering::Relaxed)),
            in_flight_records: self.in_flight_records.load(Ordering::Relaxed),
            lag_bytes: self.lag_bytes.load(Ordering::Relaxed),
        }
    }
}
