//! From the journals to Kafka, and whether Kafka is there.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use whence_ingest::ship::{self, Connection, JournalSource, ShipConfig, ShipHandle, ShipReport};
use whence_runtime::health::{Component, Health};
use whence_runtime::shutdown::Shutdown;

use super::journals::Journal;
use crate::failure::Failure;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The name of the shipper's component in readiness.
pub const COMPONENT: &str = "ingest.kafka";

/// A shipper at work.
pub struct Shipper {
    task: JoinHandle<Option<ShipReport>>,
    stop: CancellationToken,
}

impl Shipper {
    /// Starts to ship these journals, and shows whether Kafka is there.
    ///
    /// # Errors
    /// The settings of the client or a checkpoint can't be used. Kafka need not be there.
    pub fn start(config: ShipConfig, journals: Vec<Journal>, health: &Health) -> Result<Self, Failure> {
        let stop = CancellationToken::new();
        let sources = journals
            .into_iter()
            .map(|journal| JournalSource { dir: journal.dir, stream: journal.partition.stream })
            .collect();
        let handle = ship::start(config, sources, health, stop.clone())?;
        let task = tokio::spawn(watch(handle, health.component(COMPONENT), stop.clone()));
        Ok(Self { task, stop })
    }

    /// Sends what the journals hold, as long as the shipper's settings allow. Comes after the writers.
    pub fn stages(self, shutdown: Shutdown, limit: Duration) -> Shutdown {
        let drain = async move {
            self.stop.cancel();
            match self.task.await.ok().flatten() {
                Some(report) if report.is_drained => tracing::info!("all journals are shipped"),
                Some(report) => {
                    let lag_bytes: u64 = report.journals.iter().filter_map(|journal| journal.lag_bytes).sum();
                    tracing::warn!(
                        lag_bytes,
                        "journals are not shipped to their ends; the next start goes on"
                    );
                }
                None => tracing::error!("the shipper died"),
            }
        };
        shutdown.stage("shipper", limit, drain)
    }
}

async fn watch(handle: ShipHandle, component: Component, stop: CancellationToken) -> Option<ShipReport> {
    let mut ticks = interval(LOOK_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        show(&component, handle.status().connection);
    }
    handle.finished().await
}

fn show(component: &Component, connection: Connection) {
    match connection {
        Connection::Connecting => component.not_ready("no broker has answered yet"),
        Connection::Up => component.ready(),
        Connection::Away => component.not_ready("no broker answers; records stay in the journals"),
    }
}
