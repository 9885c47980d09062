//! Follows the topic and feeds the state, for as long as the process runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use whence_runtime::seldom;

use futures_util::FutureExt as _;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::Offset;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use whence_kafka::{Cluster, Heard};

use super::super::{RegistryError, Shared};
use super::KafkaRegistryConfig;
use super::history::{Batch, Diverged, History};
use super::recent::Nonce;

whence_metrics::declare! {
    /// 1 if the registry topic is read as it is written.
    gauge REGISTRY_CURRENT: "whence_registry_current";
    /// Errors of the registry's consumer that were not about a connection.
    counter REGISTRY_FOLLOW_FAILURES: "whence_registry_follow_failures_total";
}

/// Applied under one lock, and read before other tasks of the runtime get their turn.
const BATCH_MAX: usize = 500;

/// A broker that has just been started, or has just become the leader, shows for a moment an end that is
/// behind the true one. One that is still behind the snapshot after this long has lost something.
const SHORT_GRACE: Duration = Duration::from_secs(10);

/// How the state stands to the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// The end has not been reached yet: the state is the snapshot's, or older than the topic.
    Starting,
    /// The end has been reached, and what comes is applied as it comes.
    Current,
    /// Kafka does not answer: the state is as it was.
    Away,
    /// The topic is not the one that the snapshot was taken of: it was recreated, or has lost records.
    /// The state stays as it is, and nothing is written, until the snapshot is removed and the process
    /// started again.
    Diverged,
}

/// A handle to the task that follows.
pub(super) struct Follower {
    history: Arc<History>,
    status: Arc<Status>,
}

impl Follower {
    pub(super) fn start(
        config: &KafkaRegistryConfig,
        topic: &str,
        shared: Arc<Shared>,
        shutdown: CancellationToken,
    ) -> Result<Follower, KafkaError> {
        let group = format!("{topic}.follower");
        let client = client(&config.cluster, &group);
        let status = Arc::new(Status::default());
        let context = Context { status: Arc::clone(&status) };
        let consumer = StreamConsumer::from_config_and_context(&client, context)?;
        let mut assignment = TopicPartitionList::with_capacity(1);
        let history = Arc::new(History::new(shared));
        assignment.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&assignment)?;
        let (followed, shown) = (Arc::clone(&history), Arc::clone(&status));
        let follow = Follow { consumer, history: followed, status: shown, is_short_since: None };
        tokio::spawn(follow.run(shutdown));
        Ok(Follower { history, status })
    }

    pub(super) fn heard(&self) -> Heard {
        self.status.heard.clone()
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

    /// Waits until this mark, and so everything committed before it, is in the state.
    pub(super) async fn sees(&self, mark: Nonce, deadline: Instant) -> Result<(), RegistryError> {
        if !self.history.sees(mark, deadline).await {
            return Err(RegistryError::NotReady("the registry topic was not read to its end in time"));
        }
        if self.history.has_caught_up() {
            return Ok(());
        }
        // The mark is the end of the topic, and the snapshot knows more.
        self.status.diverge();
        self.writable()
    }

    /// Whether this transaction was among those read.
    pub(super) fn has_seen(&self, nonce: Nonce) -> bool {
        self.history.has_seen(nonce)
    }
}

/// Whether librdkafka accepts the consumer's properties.
pub(super) fn try_client(cluster: &Cluster, topic: &str) -> Result<(), KafkaError> {
    client(cluster, topic).create::<BaseConsumer>().map(drop)
}

/// Properties of the consumer.
fn client(cluster: &Cluster, group: &str) -> ClientConfig {
    let own = [
        // Never joined: the partition is assigned here. librdkafka requires a name all the same.
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_committed"),
        // Loud: the offset is the beginning, or one that was read a moment ago.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("statistics.interval.ms", "1000"),
    ];
    cluster.client(&[], &own)
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
    /// Since when the topic has been at an end that comes before the snapshot's.
    is_short_since: Option<Instant>,
}

impl Follow {
    async fn run(mut self, shutdown: CancellationToken) {
        // A writer may find the divergence first.
        while !self.status.is(Following::Diverged) {
            let is_short_until = self.is_short_since.map(|since| since + SHORT_GRACE);
            let (batch, ended) = tokio::select! {
                () = shutdown.cancelled() => return,
                received = self.receive() => received,
                () = sleep_until(is_short_until.unwrap_or_else(Instant::now)), if is_short_until.is_some() => {
                    if self.status.is(Following::Away) {
                        self.is_short_since = Some(Instant::now());
                        continue;
                    }
                    return self.status.diverge();
                }
            };
            if self.apply(batch, ended) == Err(Diverged) {
                // Reading on would only mix the two.
                return self.status.diverge();
            }
            // Messages that are there already never make a task wait.
            tokio::task::yield_now().await;
        }
    }

    /// Takes what there is, or waits for something. Cancelling it loses nothing: it waits only while it
    /// has nothing.
    async fn receive(&self) -> (Batch, Option<Ended>) {
        let mut batch = Batch::default();
        let mut received = Some(self.consumer.recv().await);
        while let Some(result) = received.take() {
            match result {
                Ok(message) => batch.take(&message),
                Err(KafkaError::PartitionEOF(_)) => return (batch, Some(Ended::Reached)),
                Err(error) => return (batch, Some(Ended::Failed(error))),
            }
            if batch.len() < BATCH_MAX {
                received = self.consumer.recv().now_or_never();
            }
        }
        (batch, None)
    }

    fn apply(&mut self, batch: Batch, ended: Option<Ended>) -> Result<(), Diverged> {
        self.history.apply(batch)?;
        if self.history.has_caught_up() {
            self.is_short_since = None;
        }
        match ended {
            None => Ok(()),
            Some(Ended::Reached) if self.history.has_caught_up() => {
                self.status.reached_end();
                Ok(())
            }
            Some(Ended::Reached) => {
                self.is_short_since.get_or_insert_with(Instant::now);
                Ok(())
            }
            Some(Ended::Failed(error)) => self.fail(&error),
        }
    }

    fn fail(&self, error: &KafkaError) -> Result<(), Diverged> {
        // Its group is never joined, and may not be permitted.
        let code =
            error.rdkafka_error_code().filter(|code| *code != RDKafkaErrorCode::GroupAuthorizationFailed);
        if let Some(code) = code {
            self.status.heard.refused(code, "the registry's topic");
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {}
            // What was read a moment ago is not there any more.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                return Err(Diverged);
            }
            Some(RDKafkaErrorCode::AllBrokersDown) => self.status.become_now(Following::Away),
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {
                tracing::debug!(%error, "registry follower lost a connection");
            }
            _ => {
                metrics::counter!(REGISTRY_FOLLOW_FAILURES).increment(1);
                seldom!(warn, %error, "registry topic cannot be read, trying on");
            }
        }
        Ok(())
    }
}

/// The status, set from the task, from writers and from librdkafka's statistics.
struct Status {
    following: watch::Sender<Following>,
    heard: Heard,
    has_reached_end: AtomicBool,
}

impl Default for Status {
    fn default() -> Self {
        metrics::gauge!(REGISTRY_CURRENT).set(0.0);
        Status {
            following: watch::Sender::new(Following::Starting),
            heard: Heard::default(),
            has_reached_end: AtomicBool::new(false),
        }
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
        if self.is(Following::Away) {
            let has_reached_end = self.has_reached_end.load(Ordering::Relaxed);
            self.become_now(if has_reached_end { Following::Current } else { Following::Starting });
        }
    }

    fn is(&self, what: Following) -> bool {
        *self.following.borrow() == what
    }

    fn reached_end(&self) {
        self.has_reached_end.store(true, Ordering::Relaxed);
        self.heard.worked();
        self.become_now(Following::Current);
    }

    fn become_now(&self, now: Following) {
        self.following.send_if_modified(|status| {
            let is_new = *status != now && *status != Following::Diverged;
            if is_new {
                metrics::gauge!(REGISTRY_CURRENT).set(if now == Following::Current { 1.0 } else { 0.0 });
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
        self.status.heard.log(facility, message);
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    /// Errors also come through the messages.
    fn error(&self, error: KafkaError, reason: &str) {
        // Its group is never joined, and may not be permitted.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
            self.status.heard.error(&error, reason);
        }
        tracing::debug!(%error, reason, "registry follower's kafka client reports an error");
    }

    fn stats(&self, statistics: Statistics) {
        if self.status.heard.statistics(&statistics) > 0 {
            self.status.brokers_answer();
        }
    }
}

impl ConsumerContext for Context {}
