//! Which registry a process has: the file of one machine, or the topic in Kafka with a snapshot beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use whence_ingest::registry::embedded::EmbeddedRegistry;
use whence_ingest::registry::kafka::{Following, KafkaRegistry, KafkaRegistryConfig};
use whence_ingest::registry::{Registry, RegistryState, snapshot, wall_clock};
use whence_kafka::{Cluster, Heard};
use whence_runtime::health::Component;
use whence_runtime::shutdown::Shutdown;

use super::kafka::Shown;
use crate::chain::chain;
use crate::failure::Failure;
use crate::process::Process;

/// The name of the registry's component in readiness.
const COMPONENT: &str = "registry";
/// How far the snapshot may be behind. It is only read by a process that starts without Kafka.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(10);
/// How often a registry file that failed is looked at.
const REOPEN_EVERY: Duration = Duration::from_secs(2);

/// Between looks at what stands in the way of following.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An open registry.
pub struct Opened {
    /// To be asked and written.
    pub registry: Arc<dyn Registry>,
    /// Whether it has what there is, as far as this process can know: links that are not in it are unknown.
    pub is_known: watch::Receiver<bool>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Opened {
    /// The file of one machine.
    ///
    /// # Errors
    /// The file can't be used.
    pub async fn embedded(process: &Process) -> Result<Self, Failure> {
        let path = process.data.registry();
        let opened = tokio::task::spawn_blocking(move || EmbeddedRegistry::open(&path, wall_clock())).await;
        let registry = opened.expect("opening the registry does not panic")?;
        let counts = registry.shared().read().counts();
        tracing::info!(
            programs = counts.programs,
            referrers = counts.referrers,
            links = counts.links,
            "registry opened"
        );
        let registry = Arc::new(registry);
        process.backups.registry(Arc::clone(&registry) as Arc<dyn Registry>);
        let stop = CancellationToken::new();
        let shown = show_file(Arc::clone(&registry), process.health.component(COMPONENT), stop.clone());
        let (_, is_known) = watch::channel(true);
        Ok(Self { registry, is_known, stop, tasks: vec![tokio::spawn(shown)] })
    }

    /// The topic in Kafka, which need not be there: then the snapshot is what is known.
    ///
    /// # Errors
    /// librdkafka does not accept its properties.
    pub async fn kafka(cluster: Cluster, process: &Process) -> Result<Self, Failure> {
        let path = process.data.registry_snapshot();
        let state = restored(path.clone()).await;
        let (known, is_known) = watch::channel(state.version() > 0);
        let stop = CancellationToken::new();
        let config = KafkaRegistryConfig::new(cluster);
        let registry = KafkaRegistry::start(&config, state, wall_clock(), stop.clone())?;
        let shown = show(
            (registry.following(), registry.heard()),
            Shown::new(process.health.component(COMPONENT), process),
            known,
            stop.clone(),
        );
        let kept = snapshot::keep(Arc::clone(registry.shared()), path, SNAPSHOT_EVERY, stop.clone());
        let tasks = vec![tokio::spawn(shown), tokio::spawn(kept)];
        Ok(Self { registry: Arc::new(registry), is_known, stop, tasks })
    }

    /// Ends what follows the topic, and writes the last snapshot.
    pub fn stages(self, shutdown: Shutdown, limit: Duration) -> Shutdown {
        let close = async move {
            self.stop.cancel();
            for task in self.tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "following the registry failed");
                }
            }
        };
        shutdown.stage("registry", limit, close)
    }
}

/// What the snapshot has. One that can't be used is no reason to stop: the topic has it all.
async fn restored(path: PathBuf) -> RegistryState {
    let read = tokio::task::spawn_blocking(move || snapshot::read(&path)).await;
    match read.expect("reading a snapshot does not panic") {
        Ok(state) => state.unwrap_or_default(),
        Err(error) => {
            tracing::error!(error = chain(&error), "the registry's snapshot is left out");
            RegistryState::default()
        }
    }
}

/// Shows whether the file takes changes, and asks one again that did not.
async fn show_file(registry: Arc<EmbeddedRegistry>, component: Component, stop: CancellationToken) {
    let mut trouble = registry.trouble();
    loop {
        let reason = trouble.borrow_and_update().clone();
        let changed = match &reason {
            None => {
                component.ready();
                stop.run_until_cancelled(trouble.changed()).await.is_some()
            }
            Some(reason) => {
                component.not_ready(format!("changes of programs and links are refused: {reason}"));
                let slept = stop.run_until_cancelled(tokio::time::sleep(REOPEN_EVERY)).await.is_some();
                registry.reopen().await;
                slept
            }
        };
        if !changed {
            return;
        }
    }
}

async fn show(
    (mut following, heard): (watch::Receiver<Following>, Heard),
    mut shown: Shown,
    known: watch::Sender<bool>,
    stop: CancellationToken,
) {
    loop {
        match *following.borrow_and_update() {
            Following::Current => {
                shown.works();
                known.send_replace(true);
            }
            Following::Starting => shown.waits(heard.last(), "the topic has not been read to its end"),
            Following::Away => shown.waits(heard.last(), "kafka does not answer; links are as they were"),
            Following::Diverged => shown.waits(
                None,
                "the topic is not the one of the snapshot: if it was deleted and created again on purpose, remove \
                 registry.snapshot from the data folder and start again",
            ),
        }
        // What stands in the way comes without a change.
        match stop.run_until_cancelled(timeout(LOOK_EVERY, following.changed())).await {
            Some(Ok(Ok(())) | Err(_)) => {}
            Some(Ok(Err(_))) | None => return,
        }
    }
}
