//! The registry of many machines: the compacted topic `whence.registry`, written in transactions and
//! followed by everybody.
//!
//! **One writer at a time.** All writers share one `transactional.id`. Whoever opens it fences the one
//! before, whose open transaction is aborted; then it reads the topic to its end, and from there on
//! knows the newest state for as long as it is not fenced itself, because nobody can have written
//! without fencing it. So a check made on that state and a commit that succeeds are one step, and of two
//! processes that take the same code at once one is told that it is taken.
//!
//! **A commit whose answer was lost.** Every transaction carries a random word in a header. After such
//! an error the writer fences, reads to the end, and sees whether its word is there: the outcome is
//! known before anything is tried again.
//!
//! **Without Kafka** the state stays as it was (or as the snapshot had it), look-ups and followers go
//! on, and writes are answered with an error that says to retry.

mod end;
mod follow;
mod history;
#[cfg(test)]
mod lost_answer;
mod recent;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rdkafka::error::KafkaError;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use whence_schemas::event::{self, RegistryEntry};
use whence_schemas::topics::REGISTRY;

use super::{
    CHANGES_MAX, Change, Clock, EntryKey, Outcomes, Registry, RegistryError, RegistryState, Shared, check,
};
use crate::topics::Cluster;
use follow::Follower;
pub use follow::Following;
use recent::Nonce;
use transaction::Transactions;

/// Between two attempts of a writer that was fenced; doubles, and is drawn at random below.
const BACKOFF: Duration = Duration::from_millis(10);
const BACKOFF_DOUBLINGS_MAX: u32 = 6;

/// How to reach and write the topic.
#[derive(Clone, Debug)]
pub struct KafkaRegistryConfig {
    /// Where the topic is.
    pub cluster: Cluster,
    /// How long a write may take, waiting for other writes included.
    pub write_max: Duration,
    /// How long the broker holds a fetch that finds nothing. A write by another process than the last
    /// waits for one such fetch; shorter costs more requests.
    pub fetch_wait: Duration,
}

impl KafkaRegistryConfig {
    /// The defaults, for this cluster.
    #[must_use]
    pub fn new(cluster: Cluster) -> KafkaRegistryConfig {
        KafkaRegistryConfig {
            cluster,
            write_max: Duration::from_secs(10),
            fetch_wait: Duration::from_millis(100),
        }
    }
}

/// The registry in Kafka. Every process that only follows it holds one too, and never writes.
pub struct KafkaRegistry {
    shared: Arc<Shared>,
    follower: Arc<Follower>,
    writer: Arc<Mutex<Transactions>>,
    clock: Clock,
    write_max: Duration,
}

impl KafkaRegistry {
    /// Starts to follow the topic, on the current tokio runtime, until `shutdown`.
    ///
    /// `state` is what a snapshot had, or empty. Kafka need not be there.
    ///
    /// # Errors
    /// If librdkafka does not accept its properties.
    pub fn start(
        config: &KafkaRegistryConfig,
        state: RegistryState,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Result<KafkaRegistry, KafkaError> {
        describe();
        let topic = config.cluster.topic(REGISTRY);
        let transactions = Transactions::new(config, topic.clone());
        let shared = Arc::new(Shared::starting_at(state));
        let follower = Follower::start(config, topic, Arc::clone(&shared), shutdown)?;
        Ok(KafkaRegistry {
            shared,
            follower: Arc::new(follower),
            writer: Arc::new(Mutex::new(transactions)),
            clock,
            write_max: config.write_max,
        })
    }

    /// How the state stands to the topic, and a wake-up when that changes.
    #[must_use]
    pub fn following(&self) -> watch::Receiver<Following> {
        self.follower.following()
    }
}

impl Registry for KafkaRegistry {
    /// Takes at most [`KafkaRegistryConfig::write_max`]. An error says that nothing was written or, if
    /// Kafka went away in the middle of a commit, that it is not known: the same changes then conflict.
    fn write(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<Outcomes, RegistryError>> {
        Box::pin(async move {
            if changes.len() > CHANGES_MAX {
                return Err(RegistryError::TooMany(changes.len()));
            }
            let deadline = Instant::now() + self.write_max;
            let Ok(transactions) = timeout_at(deadline, Arc::clone(&self.writer).lock_owned()).await else {
                return Err(RegistryError::NotReady("too many writes are waiting"));
            };
            let attempt = Attempt {
                transactions: Some(transactions),
                follower: Arc::clone(&self.follower),
                shared: Arc::clone(&self.shared),
                clock: Arc::clone(&self.clock),
                deadline,
            };
            // A task of its own: a caller that goes away must not come between commit and state.
            tokio::spawn(attempt.run(changes)).await.map_err(RegistryError::store)?
        })
    }

    fn is_current(&self) -> bool {
        *self.following().borrow() == Following::Current
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// A commit of which it is not known whether it happened.
struct Unknown {
    nonce: Nonce,
    outcomes: Outcomes,
}

/// One write, from lock to answer.
struct Attempt {
    /// `None` only while a blocking task has it, or after one panicked.
    transactions: Option<OwnedMutexGuard<Transactions>>,
    follower: Arc<Follower>,
    shared: Arc<Shared>,
    clock: Clock,
    deadline: Instant,
}

impl Attempt {
    async fn run(mut self, changes: Vec<Change>) -> Result<Outcomes, RegistryError> {
        let mut unknown: Option<Unknown> = None;
        for attempt in 0.. {
            self.follower.writable()?;
            let is_newest = match self.be_the_writer().await {
                Ok(is_newest) => is_newest,
                Err(error) if self.is_over(attempt).await => return Err(error),
                Err(_) => continue,
            };
            if let Some(unknown) = unknown.take_if(|_| is_newest)
                && self.follower.has_seen(unknown.nonce)
            {
                return Ok(unknown.outcomes);
            }
            let staged = self.stage(&changes, is_newest).await?;
            if staged.entries.is_empty() {
                return Ok(staged.outcomes);
            }
            let nonce = Nonce::draw();
            match self.commit(&staged.entries, nonce).await {
                Ok(()) => {
                    self.shared.apply(staged.entries);
                    return Ok(staged.outcomes);
                }
                Err(error) => {
                    unknown = Some(Unknown { nonce, outcomes: staged.outcomes });
                    if self.is_over(attempt).await {
                        return Err(error);
                    }
                }
            }
        }
        unreachable!("attempts end by the deadline")
    }

    /// Makes this process the one that may write, if it is not. `true` if it has read to the end, now.
    async fn be_the_writer(&mut self) -> Result<bool, RegistryError> {
        let is_open = self.transactions.as_ref().is_some_and(|transactions| transactions.is_open());
        if is_open {
            return Ok(false);
        }
        let deadline = self.deadline;
        self.blocking(move |transactions| transactions.open(left(deadline))).await?;
        self.follower.reach_end(deadline).await?;
        Ok(true)
    }

    /// Checks the changes. Whoever is refused is refused on the newest state, not on one that another
    /// writer has left behind meanwhile; what is accepted shows in the commit.
    async fn stage(&self, changes: &[Change], is_newest: bool) -> Result<check::Staged, RegistryError> {
        let stage = || check::stage(&self.shared.read(), changes, (self.clock)());
        let staged = stage();
        if is_newest || (!staged.entries.is_empty() && staged.outcomes.iter().all(Result::is_ok)) {
            return Ok(staged);
        }
        let version = self.shared.read().version();
        self.follower.reach_end(self.deadline).await?;
        Ok(if self.shared.read().version() == version { staged } else { stage() })
    }

    async fn commit(&mut self, entries: &[Arc<RegistryEntry>], nonce: Nonce) -> Result<(), RegistryError> {
        let records = entries.iter().map(|entry| {
            let key = EntryKey::of(entry).expect("staged entries hold a record");
            (key.to_string(), event::encode(entry.as_ref()))
        });
        let records: Vec<_> = records.collect();
        let deadline = self.deadline;
        self.blocking(move |transactions| transactions.commit(&records, nonce, left(deadline))).await
    }

    /// Runs what blocks where it may. The lock goes along: nobody else can write meanwhile.
    async fn blocking(
        &mut self,
        work: impl FnOnce(&mut Transactions) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), RegistryError> {
        let Some(mut transactions) = self.transactions.take() else {
            return Err(RegistryError::NotReady("the writer has failed"));
        };
        let task = tokio::task::spawn_blocking(move || {
            let done = work(&mut transactions);
            (transactions, done)
        });
        let (transactions, done) = task.await.map_err(RegistryError::store)?;
        self.transactions = Some(transactions);
        done.map_err(RegistryError::store)
    }

    /// Waits before the next attempt. `true` if there is no time for one.
    async fn is_over(&self, attempt: u32) -> bool {
        let ceiling = BACKOFF * 2u32.pow(attempt.min(BACKOFF_DOUBLINGS_MAX));
        let lot = f64::from(Uuid::now_v7().as_bytes()[15]) / 256.0;
        let until = Instant::now() + ceiling.mul_f64(lot);
        if until >= self.deadline {
            return true;
        }
        sleep(until - Instant::now()).await;
        false
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Tells the exporter what the metrics mean.
fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_gauge!("whence_registry_current", "1 if the registry topic is read as it is written");
    describe_counter!("whence_registry_fences_total", "times this process became the registry's writer");
    describe_counter!(
        "whence_registry_aborted_writes_total",
        "registry transactions that ended without an answer and were looked into"
    );
    describe_counter!(
        "whence_registry_follow_failures_total",
        "errors of the registry's consumer that were not about a connection"
    );
    describe_counter!("whence_registry_undecodable_records_total", "registry records that are no entries");
    describe_counter!("whence_registry_disorders_total", "registry records whose version is not a new one");
}
