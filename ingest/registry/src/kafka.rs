//! The registry of many machines: the compacted topic `whence.registry`, written in transactions and
//! followed by everybody.
//!
//! **One writer at a time.** All writers share one `transactional.id`. Whoever opens it fences the one
//! before, whose open transaction is aborted; then it writes a mark and waits until it reads the mark, so
//! that it has read everything before. From there on it knows the newest state for as long as it is not
//! fenced itself, because nobody can have written without fencing it. So a check made on that state and a
//! commit that succeeds are one step, and of two processes that take the same code at once one is told
//! that it is taken. (The mark is what makes it sure: the end of a partition as the broker tells it is
//! for a moment behind the true one after a restart or a change of leader.)
//!
//! **A commit whose answer was lost.** Every transaction carries a random word in a header. After such
//! an error the writer fences, reads up to its mark, and sees whether its word is there: the outcome is
//! known before anything is tried again.
//!
//! **Without Kafka** the state stays as it was (or as the snapshot had it), look-ups and followers go
//! on, and writes are answered with an error that says to retry.

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
use tracing::Instrument;
use uuid::Uuid;
use whence_schemas::event::{self, RegistryEntry};
use whence_schemas::topics::REGISTRY;

use super::{
    CHANGES_MAX, Change, Clock, EntryKey, Outcomes, Registry, RegistryError, RegistryState, Shared, check,
};
use follow::Follower;
pub use follow::Following;
use recent::Nonce;
use transaction::{Record, Transactions};
use whence_kafka::{Cluster, Heard};

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
}

impl KafkaRegistryConfig {
    /// The defaults, for this cluster.
    #[must_use]
    pub fn new(cluster: Cluster) -> KafkaRegistryConfig {
        KafkaRegistryConfig { cluster, write_max: Duration::from_secs(10) }
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
        whence_metrics::begin("whence_registry");
        let topic = config.cluster.topic(REGISTRY);
        let transactions = Transactions::new(config, topic.clone());
        let shared = Arc::new(Shared::starting_at(state));
        let follower = Follower::start(config, &topic, Arc::clone(&shared), shutdown)?;
        Ok(KafkaRegistry {
            shared,
            follower: Arc::new(follower),
            writer: Arc::new(Mutex::new(transactions)),
            clock,
            write_max: config.write_max,
        })
    }

    /// Builds the clients that following and writing need, and gives them up: whether librdkafka accepts their
    /// properties.
    ///
    /// # Errors
    /// librdkafka does not accept one of the properties.
    pub fn try_clients(config: &KafkaRegistryConfig) -> Result<(), KafkaError> {
        let topic = config.cluster.topic(REGISTRY);
        follow::try_client(&config.cluster, &topic)?;
        Transactions::new(config, topic).try_client()
    }

    /// How the state stands to the topic, and a wake-up when that changes.
    #[must_use]
    pub fn following(&self) -> watch::Receiver<Following> {
        self.follower.following()
    }

    /// What stands in the way of following, in words.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.follower.heard()
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
            tokio::spawn(attempt.run(changes).in_current_span()).await.map_err(RegistryError::store)?
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
            let error = match self.attempt(&changes, &mut unknown).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => error,
            };
            if self.is_over(attempt).await {
                return Err(error);
            }
        }
        unreachable!("attempts end by the deadline")
    }

    async fn attempt(
        &mut self,
        changes: &[Change],
        unknown: &mut Option<Unknown>,
    ) -> Result<Outcomes, RegistryError> {
        let has_just_opened = self.be_the_writer().await?;
        // An error closes, so a commit in doubt is always looked for behind a new mark.
        if let Some(unknown) = unknown.take()
            && self.follower.has_seen(unknown.nonce)
        {
            return Ok(unknown.outcomes);
        }
        let staged = check::stage(&self.shared.read(), changes, (self.clock)());
        let nonce = Nonce::draw();
        let deadline = self.deadline;
        if !has_just_opened && (staged.entries.is_empty() || staged.outcomes.iter().any(Result::is_err)) {
            // Whoever is refused is refused on the newest state, not on one that another writer has left
            // behind meanwhile. What is accepted shows in the commit.
            self.blocking(move |transactions| transactions.mark(nonce, left(deadline))).await?;
        }
        if staged.entries.is_empty() {
            return Ok(staged.outcomes);
        }
        let records: Vec<Record> = staged.entries.iter().map(record).collect();
        let nonce = Nonce::draw();
        let committed =
            self.blocking(move |transactions| transactions.commit(&records, nonce, left(deadline))).await;
        match committed {
            Ok(()) => {
                self.shared.apply(staged.entries);
                Ok(staged.outcomes)
            }
            Err(error) => {
                *unknown = Some(Unknown { nonce, outcomes: staged.outcomes });
                Err(error)
            }
        }
    }

    /// Makes this process the one that may write, if it is not. `true` if it was not: the state is then
    /// the newest.
    async fn be_the_writer(&mut self) -> Result<bool, RegistryError> {
        if self.transactions.as_ref().is_some_and(|transactions| transactions.is_open()) {
            return Ok(false);
        }
        let (mark, deadline) = (Nonce::draw(), self.deadline);
        self.blocking(move |transactions| transactions.open(mark, left(deadline))).await?;
        let seen = self.follower.sees(mark, deadline).await;
        if seen.is_err() {
            // Open means that the state is the newest.
            self.blocking(|transactions| {
                transactions.close();
                Ok(())
            })
            .await?;
        }
        seen.map(|()| true)
    }

    /// Runs what blocks where it may. The lock goes along: nobody else can write meanwhile.
    async fn blocking(
        &mut self,
        work: impl FnOnce(&mut Transactions) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), RegistryError> {
        let Some(mut transactions) = self.transactions.take() else {
            return Err(RegistryError::NotReady("the writer has failed"));
        };
        let span = tracing::Span::current();
        let task = tokio::task::spawn_blocking(move || {
            let _entered = span.entered();
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

fn record(entry: &Arc<RegistryEntry>) -> Record {
    let key = EntryKey::of(entry).expect("staged entries hold a record");
    (key.to_string(), Some(event::encode(entry.as_ref())))
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
