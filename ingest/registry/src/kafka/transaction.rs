//! The transactional producer that all writers of the registry share the id of. Everything here blocks.
//!
//! Knows nothing of what is written.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::KafkaRegistryConfig;
use super::recent::Nonce;

whence_metrics::declare! {
    /// Times this process became the registry's writer.
    counter REGISTRY_FENCES: "whence_registry_fences_total";
    /// Registry transactions that ended without an answer and were looked into.
    counter REGISTRY_ABORTED_WRITES: "whence_registry_aborted_writes_total" { reason: ["fenced", "failed"] };
}

/// The header that carries a transaction's [`Nonce`].
pub(super) const NONCE_HEADER: &str = "whence-write";

/// The key of a writer's mark.
const MARK_KEY: &str = "writer";

/// Key and value.
pub(super) type Record = (String, Option<Bytes>);

/// A transaction that is left open is aborted by the broker after this long, if no other writer does so
/// before. Followers see nothing behind it until then.
const TRANSACTION_MAX_MS: &str = "10000";

/// Between looks whether the records have been delivered, which takes a few milliseconds.
const DELIVERY_POLL: Duration = Duration::from_micros(500);

/// At most one open producer, which may write until another process opens its own.
pub(super) struct Transactions {
    client: ClientConfig,
    topic: String,
    producer: Option<BaseProducer<Context>>,
    /// What goes wrong with the next commit.
    #[cfg(test)]
    pub(super) mishap: Option<Mishap>,
}

/// How a commit's answer gets lost.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) enum Mishap {
    BeforeCommit,
    AfterCommit,
}

impl Transactions {
    pub(super) fn new(config: &KafkaRegistryConfig, topic: String) -> Transactions {
        let client = config.cluster.client(
            &[("compression.type", "lz4")],
            &[
                ("transactional.id", &topic),
                ("transaction.timeout.ms", TRANSACTION_MAX_MS),
                ("message.timeout.ms", TRANSACTION_MAX_MS),
                ("acks", "all"),
                // A write waits for every millisecond of this.
                ("linger.ms", "0"),
            ],
        );
        Transactions {
            client,
            topic,
            producer: None,
            #[cfg(test)]
            mishap: None,
        }
    }

    /// Whether librdkafka accepts the client's properties.
    pub(super) fn try_client(&self) -> Result<(), KafkaError> {
        BaseProducer::from_config_and_context(&self.client, Context).map(drop)
    }

    /// Whether this process was the writer when it last looked.
    pub(super) fn is_open(&self) -> bool {
        self.producer.is_some()
    }

    /// Fences whoever wrote last and leaves a mark. Whoever sees the mark has seen everything that was
    /// ever committed before this returned: the last writer's transaction is committed or aborted for good
    /// before the mark is written.
    pub(super) fn open(&mut self, mark: Nonce, timeout: Duration) -> Result<(), KafkaError> {
        let deadline = Instant::now() + timeout;
        self.close();
        let producer = BaseProducer::from_config_and_context(&self.client, Context)?;
        producer.init_transactions(timeout)?;
        metrics::counter!(REGISTRY_FENCES).increment(1);
        self.producer = Some(producer);
        self.mark(mark, deadline.saturating_duration_since(Instant::now()))
    }

    /// Gives up being the writer.
    pub(super) fn close(&mut self) {
        self.producer = None;
    }

    /// Leaves a mark: a record without a value, which compaction removes. That it is committed proves that
    /// nobody else has written since this process opened.
    pub(super) fn mark(&mut self, mark: Nonce, timeout: Duration) -> Result<(), KafkaError> {
        self.commit(&[(MARK_KEY.to_owned(), None)], mark, timeout)
    }

    /// Writes the records (key, value) in one transaction.
    ///
    /// # Errors
    /// Whatever it is, this process is the writer no more, and whether the transaction was committed is
    /// not known.
    pub(super) fn commit(
        &mut self,
        records: &[Record],
        nonce: Nonce,
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        // Taken for the time being: after an error it is dropped, which leaves an open transaction for
        // the next writer's fence to abort.
        let Some(producer) = self.producer.take() else { return Err(KafkaError::Canceled) };
        #[cfg(test)]
        if matches!(self.mishap, Some(Mishap::BeforeCommit)) {
            self.mishap = None;
            return Err(KafkaError::Canceled);
        }
        let done = transact(&producer, &self.topic, records, nonce, timeout);
        #[cfg(test)]
        let done = self.mishap.take().map_or(done, |_| Err(KafkaError::Canceled));
        match done {
            Ok(()) => {
                self.producer = Some(producer);
                Ok(())
            }
            Err(error) => {
                let reason = if is_fenced(&producer, &error) { "fenced" } else { "failed" };
                metrics::counter!(REGISTRY_ABORTED_WRITES, "reason" => reason).increment(1);
                tracing::info!(%error, reason, "registry transaction ended without an answer");
                Err(error)
            }
        }
    }
}

fn transact(
    producer: &BaseProducer<Context>,
    topic: &str,
    records: &[Record],
    nonce: Nonce,
    timeout: Duration,
) -> Result<(), KafkaError> {
    producer.begin_transaction()?;
    for (key, value) in records {
        let header = Header { key: NONCE_HEADER, value: Some(nonce.as_bytes()) };
        let mut record = BaseRecord::<str, [u8]>::to(topic)
            .partition(0)
            .key(key.as_str())
            .headers(OwnedHeaders::new_with_capacity(1).insert(header));
        record.payload = value.as_deref();
        producer.send(record).map_err(|(error, _)| error)?;
    }
    // The binding's own flush waits in steps of 100 ms. A record that is not delivered makes the commit
    // fail, whether it is waited for or not.
    let deadline = Instant::now() + timeout;
    while producer.in_flight_count() > 0 && Instant::now() < deadline {
        producer.poll(Duration::ZERO);
        thread::sleep(DELIVERY_POLL);
    }
    producer.commit_transaction(deadline.saturating_duration_since(Instant::now()))
}

fn is_fenced(producer: &BaseProducer<Context>, error: &KafkaError) -> bool {
    let fenced = |code| {
        matches!(
            code,
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
        )
    };
    error.rdkafka_error_code().is_some_and(fenced)
        || producer.client().fatal_error().is_some_and(|(code, _)| fenced(code))
}

struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "registry writer's kafka client reports an error");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    /// The commit knows of every record that was not delivered.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
