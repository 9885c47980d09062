//! The aggregator's partitions: over the journals of this machine, or over what the consumer group assigns.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use whence_aggregator::clickhouse::ClickHouseStore;
use whence_aggregator::journal::{JournalOutbox, JournalSettings, JournalSource};
use whence_aggregator::kafka::{self, GroupSettings};
use whence_aggregator::partition::LoopSettings;
use whence_aggregator::pause::Pause;
use whence_aggregator::work::{Companion, Stop, work, work_and_sweep};
use whence_runtime::shutdown::Shutdown;
use whence_schemas::token::KeyRing;
use whence_schemas::topics::Stream;

use super::journals::Journal;
use crate::chain::chain;

/// A loop that ended by a defect, or a group that could not be joined, begins again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// What every partition needs.
#[derive(Clone)]
pub struct Tools {
    /// Where facts go.
    pub store: ClickHouseStore,
    /// How partitions are worked.
    pub settings: LoopSettings,
    /// The keys that tokens are checked with.
    pub keys: Arc<KeyRing>,
    /// What runs beside each partition of conversions.
    pub companion: Option<Companion>,
}

/// The partitions at work.
pub struct Aggregation {
    stop: Stop,
    tasks: TaskTracker,
}

impl Aggregation {
    /// Works each journal as a partition of its own; timers go into that of the conversions by `outbox`.
    pub fn over_journals(
        journals: Vec<Journal>,
        grace: Duration,
        outbox: &JournalOutbox,
        tools: &Tools,
        pause: Pause,
    ) -> Self {
        let aggregation = Self::with(pause);
        for journal in journals {
            let (outbox, stop) = (outbox.clone(), aggregation.stop.clone());
            aggregation.tasks.spawn(keep_journal(journal, grace, outbox, tools.clone(), stop));
        }
        aggregation.tasks.close();
        aggregation
    }

    /// Joins the consumer group and works what it assigns.
    pub fn over_kafka(group: GroupSettings, tools: &Tools, pause: Pause) -> Self {
        let aggregation = Self::with(pause);
        aggregation.tasks.spawn(keep_group(group, tools.clone(), aggregation.stop.clone()));
        aggregation.tasks.close();
        aggregation
    }

    fn with(pause: Pause) -> Self {
        Self { stop: Stop { pause, ..Stop::default() }, tasks: TaskTracker::new() }
    }

    /// Finishes the blocks in flight; after half of `limit` what is left is given up, to be replayed by
    /// whoever works the partition next.
    pub fn stages(self, shutdown: Shutdown, limit: Duration) -> Shutdown {
        let finish = async move {
            self.stop.after_block.cancel();
            if timeout(limit / 2, self.tasks.wait()).await.is_err() {
                tracing::warn!("blocks in flight are left for the next start");
                self.stop.at_once.cancel();
                self.tasks.wait().await;
            }
        };
        shutdown.stage("aggregator", limit, finish)
    }
}

/// Works a journal until told to stop. A loop that dies of a defect takes nothing with it but its caches.
async fn keep_journal(journal: Journal, grace: Duration, outbox: JournalOutbox, tools: Tools, stop: Stop) {
    loop {
        let source = JournalSource::new(JournalSettings {
            dir: journal.dir.clone(),
            checkpoint: journal.checkpoint(),
            partition: journal.partition,
            grace,
            accept_loss: tools.settings.accept_loss,
        });
        let (tools, stops, outbox) = (tools.clone(), stop.clone(), outbox.clone());
        let stream = journal.partition.stream;
        let worked = tokio::spawn(async move {
            let Tools { store, settings, keys, companion } = tools;
            match stream {
                Stream::Clicks => work(source, &store, settings, keys, stops).await,
                Stream::Conversions => {
                    let companion = companion.as_ref();
                    work_and_sweep(source, &store, &outbox, companion, settings, keys, stops).await;
                }
            }
        });
        match worked.await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(partition = %journal.partition, %error, "a partition's loop ended by a panic")
            }
        }
        if stop.after_block.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
            return;
        }
    }
}

async fn keep_group(group: GroupSettings, tools: Tools, stop: Stop) {
    loop {
        let Tools { store, settings, keys, companion } = tools.clone();
        match kafka::run(group.clone(), store, companion, settings, keys, stop.clone()).await {
            Ok(()) if stop.after_block.is_cancelled() => return,
            Ok(()) => tracing::error!("the consumer group's thread ended"),
            Err(error) => tracing::error!(error = chain(&error), "cannot join the consumer group"),
        }
        if stop.after_block.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
            return;
        }
    }
}
