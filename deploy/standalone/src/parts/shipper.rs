//! From the journals to Kafka, and whether Kafka is there.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use whence_ingest::ship::{self, Connection, JournalSource, ShipConfig, ShipHandle, ShipReport, ShipStatus};
use whence_runtime::shutdown::Shutdown;

use super::completeness::{self, Edge};
use super::journals::Journal;
use super::kafka::Shown;
use crate::failure::Failure;
use crate::process::Process;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The name of the shipper's component in readiness.
pub const COMPONENT: &str = "ingest.kafka";

/// A shipper at work.
pub struct Shipper {
    task: JoinHandle<Option<ShipReport>>,
    stop: CancellationToken,
    edge: Edge,
}

impl Shipper {
    /// Starts to ship these journals, and shows whether Kafka is there.
    ///
    /// # Errors
    /// The settings of the client or a checkpoint can't be used. Kafka need not be there.
    pub fn start(config: ShipConfig, journals: Vec<Journal>, process: &Process) -> Result<Self, Failure> {
        let stop = CancellationToken::new();
        let folder = process.data.path();
        let name =
            completeness::name(folder).map_err(|source| Failure::File { path: folder.to_owned(), source })?;
        let edge = Edge::start(&config.cluster, name, journals.clone())?;
        let sources = journals
            .into_iter()
            .map(|journal| JournalSource { dir: journal.dir, stream: journal.partition.stream })
            .collect();
        let handle = ship::start(config, sources, &process.health, stop.clone())?;
        let task = tokio::spawn(watch(
            handle,
            Shown::new(process.health.component(COMPONENT), process),
            stop.clone(),
        ));
        Ok(Self { task, stop, edge })
    }

    /// Sends what the journals hold, as long as the shipper's settings allow. Comes after the writers.
    pub fn stages(self, shutdown: Shutdown, limit: Duration) -> Shutdown {
        let Self { task, stop, edge } = self;
        let drain = async move {
            stop.cancel();
            match task.await.ok().flatten() {
                Some(report) if report.is_drained => tracing::info!("all journals are shipped"),
                Some(report) => {
                    let lag_bytes: u64 = report.journals.iter().filter_map(|journal| journal.lag_bytes).sum();
                    tracing::warn!(
                        lag_bytes,
                        "journals are not shipped to their ends; the next start goes on"
                    );
                }
                None => tracing::error!("the shipper ended by a panic"),
            }
        };
        edge.stages(shutdown.stage("shipper", limit, drain), limit)
    }
}

async fn watch(handle: ShipHandle, mut shown: Shown, stop: CancellationToken) -> Option<ShipReport> {
    let mut ticks = interval(LOOK_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        show(&mut shown, handle.status());
    }
    handle.finished().await
}

fn show(shown: &mut Shown, status: ShipStatus) {
    match status.connection {
        Connection::Up if status.trouble.is_none() => shown.works(),
        Connection::Connecting => shown.waits(status.trouble, "no broker has answered yet"),
        Connection::Up | Connection::Away => {
            shown.waits(status.trouble, "no broker answers; records stay in the journals");
        }
    }
}
