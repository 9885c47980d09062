//! Ships journals to Kafka: at least once, in order, nothing dropped while Kafka is away.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | which Kafka, which journals, how much and how long |
//! | [`window`] | pure: which records are on their way, how far all have arrived |
//! | [`fields`] | pure: a record's key and age from its bytes |
//! | [`edges`] | what an edge says of itself to Kafka |
//! | [`topics`] | the topics that whence needs, made if they are missing |
//! | `lane` | one journal: read, key, hand over, checkpoint, retire |
//! | `layout` | whether the topics are still those that records have gone to |
//! | `producer` | the Kafka client and its delivery reports |
//! | `worker` | the loop over all lanes; replaces the client after errors |
//! | `claim` | one shipper per journal |
//! | `refused` | keeps what Kafka will never take |
//! | `connection`, `status` | how it stands, for others to see |
//!
//! # Promises
//!
//! - A record leaves the journal only after Kafka acknowledged it on all in-sync replicas, the
//!   checkpoint behind it was synced, and the grace period is over.
//! - Every record reaches its topic at least once. It may be there twice after the client was replaced
//!   or the process died: consumers know it by its id.
//! - Of one key (a click; a program's conversions), first occurrences stand in the topic in the order of
//!   the journal. A program whose events go through two journals (two API processes) has no order
//!   between these. A batch that a broker rejects outright may be overtaken by what is behind it.
//! - The journal is the spool. Nothing else grows while Kafka is away: at most
//!   [`ShipConfig::records_in_flight_max`] records and [`ShipConfig::bytes_in_flight_max`] bytes a
//!   journal are in memory.
//! - What is not shipped is counted and logged with its position: corrupt records, records that were
//!   removed before their time, records that Kafka refuses for good (too large, invalid). The latter are
//!   kept in `refused/` beside the journal and hold up nothing, unless they can't be kept.
//!
//! One partition without a leader holds up its topic's journals once their windows are full, since a
//! checkpoint has no gaps; the other topic's go on.

mod claim;
pub mod config;
mod connection;
pub mod edges;
pub mod fields;
mod lane;
mod lane_metrics;
mod layout;
mod producer;
mod refused;
mod status;
pub mod topics;
pub mod window;
#[cfg(test)]
mod window_model;
mod worker;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use whence_runtime::health::Health;

pub use config::{JournalSource, ShipConfig};
pub use connection::Connection;
pub use lane::shipped;
pub use status::{JournalReport, ShipReport, ShipStatus};

/// Longer than a checkpoint of every journal on a slow disk and the end of a Kafka client take together.
const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(60);

/// Why shipping could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// librdkafka does not accept its properties. Kafka being away is not an error.
    #[error("the settings of the kafka client are not valid")]
    Client(#[from] KafkaError),
    /// A checkpoint could not be read, or the thread not be started.
    #[error("cannot start to ship the journals")]
    Io(#[from] io::Error),
    /// Another shipper has the journal, in this process or another.
    #[error("another shipper has the journal {0}")]
    Claimed(PathBuf),
    /// More journals than one shipper can have.
    #[error("{0} journals, and one shipper takes at most {max}", max = producer::JOURNALS_MAX)]
    TooManyJournals(usize),
}

/// A shipper at work. Dropping the handle does not stop it.
#[derive(Debug)]
pub struct ShipHandle {
    shared: Arc<status::Shared>,
    report: oneshot::Receiver<ShipReport>,
}

impl ShipHandle {
    /// How it stands.
    #[must_use]
    pub fn status(&self) -> ShipStatus {
        self.shared.status()
    }

    /// Waits for the shipper to end, which takes at most [`ShipConfig::drain_max`] and a little from the
    /// shutdown on. `None` if its thread died.
    pub async fn finished(self) -> Option<ShipReport> {
        self.report.await.ok()
    }
}

/// Builds the client that [`start`] would, and gives it up: whether librdkafka accepts its properties.
///
/// # Errors
/// librdkafka does not accept one of the properties.
pub fn try_client(config: &ShipConfig) -> Result<(), KafkaError> {
    producer::Producer::build(config, producer::Pace::Batched, 1, &Arc::default()).map(drop)
}

/// Starts to ship `journals` on a thread of its own.
///
/// Cancel `shutdown` after the journals' writers have stopped: what the journals hold by then is still
/// shipped, within [`ShipConfig::drain_max`].
///
/// # Errors
/// [`ShipError`]. Kafka need not be there.
pub fn start(
    config: ShipConfig,
    journals: Vec<JournalSource>,
    health: &Health,
    shutdown: CancellationToken,
) -> Result<ShipHandle, ShipError> {
    if journals.len() > producer::JOURNALS_MAX {
        return Err(ShipError::TooManyJournals(journals.len()));
    }
    whence_metrics::begin("whence_ship");
    let lanes: Result<Vec<lane::Lane>, ShipError> =
        journals.into_iter().map(|source| lane::Lane::open(source, &config)).collect();
    let shared = Arc::new(status::Shared::default());
    let heartbeat = health.heartbeat("ingest.ship", HEARTBEAT_AGE_MAX);
    let worker = worker::Worker::new(config, lanes?, Arc::clone(&shared), shutdown, heartbeat)?;
    let (sender, report) = oneshot::channel();
    thread::Builder::new().name("ship".into()).spawn(move || {
        // Whoever started it may not care how it ended.
        let _ = sender.send(worker.run());
    })?;
    Ok(ShipHandle { shared, report })
}
