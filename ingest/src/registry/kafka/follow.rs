//! Follows the topic and feeds the state, for as long as the process runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{RegistryError, Shared};
use super::KafkaRegistryConfig;
use super::end::{self, EndError};
use super::history::{Batch, Diverged, History, Progress};
use super::recent::Nonce;

/// Applied under one lock, and read before other tasks of the runtime get their turn.
const BATCH_MAX: usize = 500;

/// How the state stands to the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// The end has not been reached yet: the state is the snapshot's, or older than the topic.
    Starting,
    /// The end has been reached, and what comes is applied as it comes.
    Current,
    /// Kafka does not answer: the state is as it was.
    Away,
    /// The topic is not the one that the snapshot was taken of: it was made anew, or has lost records.
    /// The state stays as it is, and nothing is written, until the snapshot is removed and the process
    /// started again.
    Diverged,
}

/// A handle to the task that follows.
pub(super) struct Follower {
    history: Arc<History>,
    status: Arc<Status>,
    /// For consumers that read to the end.
    client: ClientConfig,
    topic: String,
}

impl Follower {
    pub(super) fn start(
        config: &KafkaRegistryConfig,
        topic: String,
        shared: Arc<Shared>,
        shutdown: CancellationToken,
    ) -> Result<Follower, KafkaError> {
        let group = format!("{topic}.follower");
        let client = config.cluster.client(&[
            // Never joined: the partition is assigned here. librdkafka wants a name all the same.
            ("group.id", &group),
            ("enable.auto.commit", "false"),
            ("isolation.level", "read_committed"),
            // Loud: the offset is the beginning, or one that was read a moment ago.
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("fetch.wait.max.ms", &config.fetch_wait.as_millis().to_string()),
            ("statistics.interval.ms", "1000"),
        ]);
        let status = Arc::new(Status::default());
        let context = Context { status: Arc::clone(&status) };
        let consumer = StreamConsumer::from_config_and_context(&client, context)?;
        let mut assignment = TopicPartitionList::with_capacity(1);
        let history = Arc::new(History::new(shared));
        assignment.add_partition_offset(&topic, 0, history.followed().offset())?;
        consumer.assign(&assignment)?;
        let follow = Follow { consumer, history: Arc::clone(&history), status: Arc::clone(&status) };
        tokio::spawn(follow.run(shutdown));
        Ok(Follower { history, status, client, topic })
    }

    pub(super) fn following(&self) -> watch::Receiver<Following> {
        self.status.following.subscribe()
    }

    /// Whether a write has any chance now.
    pub(super) fn writable(&self) -> Result<(), RegistryError> {
        match *self.status.following.borrow() {
            Following::Starting | Following::Current => Ok(()),
            Following::Away => Err(RegistryError::NotReady("kafka is away")),
            Following::Diverged => Err(RegistryError::NotReady("the registry topic is another than before")),
        }
    }

    /// Waits until everything that was committed before this call is in the state.
    pub(super) async fn reach_end(&self, deadline: Instant) -> Result<(), RegistryError> {
        let (topic, history) = (self.topic.clone(), Arc::clone(&self.history));
        let deadline = deadline.into_std();
        let consumer = end::consumer(&self.client).map_err(RegistryError::store)?;
        let read = move || (end::read_to_end(&consumer, &topic, &history, deadline), consumer);
        let (read, consumer) = tokio::task::spawn_blocking(read).await.map_err(RegistryError::store)?;
        tokio::task::spawn_blocking(move || drop(consumer));
        match read {
            Ok(()) => Ok(()),
            Err(error) => {
                if matches!(error, EndError::Diverged) {
                    self.status.diverge();
                }
                Err(RegistryError::store(error))
            }
        }
    }

    /// Whether this transaction was among those read.
    pub(super) fn has_seen(&self, nonce: Nonce) -> bool {
        self.history.has_seen(nonce)
    }
}

/// What ended a batch, if something did.
enum Ended {
    Reached,
    Failed(KafkaError),
}

struct Follow {
    consumer: StreamConsumer<Context>,
    history: Arc<History>,
    status: Arc<Status>,
}

impl Follow {
    async fn run(self, shutdown: CancellationToken) {
        let mut progress = self.history.followed();
        while let Some((batch, ended)) = shutdown.run_until_cancelled(self.receive()).await {
            if self.apply(batch, ended, &mut progress) == Err(Diverged) {
                // Reading on would only mix the two.
                self.status.diverge();
                return;
            }
            // Messages that are there already never make a task wait.
            tokio::task::yield_now().await;
        }
    }

    /// Takes what there is, or waits for something.
    async fn receive(&self) -> (Batch, Option<Ended>) {
        let mut batch = Batch::default();
        let mut received = Some(self.consumer.recv().await);
        while let Some(result) = received.take() {
            match result {
                Ok(message) => self.history.take(&message, &mut batch),
                Err(KafkaError::PartitionEOF(_)) => return (batch, Some(Ended::Reached)),
                Err(error) => return (batch, Some(Ended::Failed(error))),
            }
            if batch.len() < BATCH_MAX {
                received = self.consumer.recv().now_or_never();
            }
        }
        (batch, None)
    }

    fn apply(&self, batch: Batch, ended: Option<Ended>, progress: &mut Progress) -> Result<(), Diverged> {
        self.history.apply(batch, progress)?;
        self.history.set_followed(*progress);
        match ended {
            None => Ok(()),
            Some(Ended::Reached) => {
                self.history.check_end(*progress)?;
                self.status.reached_end();
                Ok(())
            }
            Some(Ended::Failed(error)) => self.fail(&error),
        }
    }

    fn fail(&self, error: &KafkaError) -> Result<(), Diverged> {
        match error.rdkafka_error_code() {
            // What was read a moment ago is not there any more.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                return Err(Diverged);
            }
            Some(RDKafkaErrorCode::AllBrokersDown) => self.status.become_now(Following::Away),
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {
                tracing::debug!(%error, "registry follower lost a connection");
            }
            _ => {
                metrics::counter!("whence_registry_follow_failures_total").increment(1);
                tracing::warn!(%error, "registry topic cannot be read, trying on");
            }
        }
        Ok(())
    }
}

/// The status, set from the task, from writers and from librdkafka's statistics.
struct Status {
    following: watch::Sender<Following>,
    has_reached_end: AtomicBool,
}

impl Default for Status {
    fn default() -> Self {
        metrics::gauge!("whence_registry_current").set(0.0);
        Status { following: watch::Sender::new(Following::Starting), has_reached_end: AtomicBool::new(false) }
    }
}

impl Status {
    fn diverge(&self) {
        tracing::error!(
            "the registry topic is not the one that the snapshot was taken of: remove the snapshot and restart"
        );
        self.become_now(Following::Diverged);
    }

    /// Brokers answer again. The end of the topic is told once per offset, so nobody else would say so.
    fn brokers_answer(&self) {
        if *self.following.borrow() == Following::Away {
            let has_reached_end = self.has_reached_end.load(Ordering::Relaxed);
            self.become_now(if has_reached_end { Following::Current } else { Following::Starting });
        }
    }

    fn reached_end(&self) {
        self.has_reached_end.store(true, Ordering::Relaxed);
        self.become_now(Following::Current);
    }

    fn become_now(&self, now: Following) {
        self.following.send_if_modified(|status| {
            let is_new = *status != now && *status != Following::Diverged;
            if is_new {
                metrics::gauge!("whence_registry_current").set(if now == Following::Current {
                    1.0
                } else {
                    0.0
                });
                tracing::info!(before = ?*status, ?now, "following the registry topic");
                *status = now;
            }
            is_new
        });
    }
}

struct Context {
    status: Arc<Status>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    /// Errors also come through the messages.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "registry follower's kafka client reports an error");
    }

    fn stats(&self, statistics: Statistics) {
        if statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP") {
            self.status.brokers_answer();
        }
    }
}

impl ConsumerContext for Context {}
