//! Holds what is stored against its account now and then, and shows what differs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_aggregator::account::{Committed, Difference, InKafka, quick, shipped};
use whence_aggregator::clickhouse::replicas::Replicas;
use whence_aggregator::journal::stored;
use whence_aggregator::kafka::{GroupSettings, commits, edges};
use whence_journal::{Checkpoint, Stored};
use whence_runtime::health::Component;

use super::journals;
use crate::chain::chain;
use crate::failure::Failure;

whence_metrics::declare! {
    /// Places in which stored rows differ from the account of what was stored.
    gauge ACCOUNT_DIFFERENCES: "whence_account_differences";
}

/// The name of the account's component in readiness.
pub const COMPONENT: &str = "aggregator.account";
/// How long brokers may take for a question.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Differences whose text is shown; `whence verify` tells all.
const SHOWN_MAX: usize = 3;

/// Who says up to where records are stored.
pub enum PositionSource {
    /// The checkpoints of the journals in this folder.
    Journals(PathBuf),
    /// The commits of this group.
    Group(Box<GroupSettings>),
}

impl PositionSource {
    /// Those that there are now.
    ///
    /// # Errors
    /// The folder or a checkpoint can't be read, or Kafka does not say.
    pub async fn committed(&self) -> Result<Vec<Committed>, Failure> {
        match self {
            Self::Journals(folder) => committed(folder),
            Self::Group(group) => {
                let group = group.clone();
                let asked = tokio::task::spawn_blocking(move || commits(&group, ANSWER_MAX));
                Ok(asked.await.expect("asking brokers does not panic")?)
            }
        }
    }
}

impl PositionSource {
    /// What edges have shipped and what Kafka has; `None` without Kafka.
    ///
    /// # Errors
    /// Kafka does not say.
    pub async fn in_kafka(&self) -> Result<Option<InKafka>, Failure> {
        let Self::Group(group) = self else { return Ok(None) };
        let group = group.clone();
        let asked = tokio::task::spawn_blocking(move || edges::shipped(&group, ANSWER_MAX));
        asked.await.expect("asking brokers does not panic").map(Some).map_err(Failure::Edges)
    }

    /// All that `whence verify` compares without reading facts.
    ///
    /// # Errors
    /// ClickHouse or Kafka does not answer, or a checkpoint can't be read.
    pub async fn compare(&self, replicas: &Replicas) -> Result<(Vec<Committed>, Vec<Difference>), Failure> {
        let (committed, kafka) = (self.committed().await?, self.in_kafka().await?);
        replicas.catch_up().await?;
        let look = |client| {
            let (committed, kafka) = (&committed, &kafka);
            async move {
                let mut found = quick(&client, committed).await?;
                if let Some(kafka) = kafka {
                    found.extend(shipped(&client, committed, kafka).await?);
                }
                Ok(found)
            }
        };
        let found = replicas.call(look).await?;
        Ok((committed, found))
    }
}

/// Looks every so often, until `stop`.
pub async fn watch(
    replicas: Replicas,
    places: PositionSource,
    every: Duration,
    component: Component,
    stop: CancellationToken,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match stop.run_until_cancelled(places.compare(&replicas)).await {
            None => return,
            Some(Ok((_, found))) => {
                gauge!(ACCOUNT_DIFFERENCES).set(found.len() as f64);
                let shown: Vec<String> = found.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
                match found.len() {
                    0 => component.ready(),
                    count => component.not_ready(format!(
                        "stored rows differ from their account in {count} places (`whence verify` tells all; what is lost \
                         comes back from a backup: `whence restore`): {}",
                        shown.join("; ")
                    )),
                }
            }
            Some(Err(error)) => component.not_ready(format!("can't be checked: {}", chain(&error))),
        }
    }
}

/// What the journals of a folder say is stored; none where there are none.
///
/// # Errors
/// The folder or a checkpoint can't be read.
pub fn committed(folder: &Path) -> Result<Vec<Committed>, Failure> {
    let failed = |source| Failure::File { path: folder.to_owned(), source };
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut committed = Vec::new();
    for journal in journals::find(folder).map_err(failed)? {
        if let Stored::Intact(checkpoint) = Checkpoint::load(&journal.checkpoint()).map_err(failed)? {
            committed.extend(stored(&checkpoint).into_iter().map(|(incarnation, next)| Committed {
                stream: journal.partition.stream.word().to_owned(),
                partition: journal.partition.number,
                incarnation: incarnation.0.to_string(),
                next,
            }));
        }
    }
    Ok(committed)
}
