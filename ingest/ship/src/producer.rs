//! The Kafka producer of the shipper: a `BaseProducer` that the shipper's own thread polls, so that
//! delivery reports need no other thread and no queue that could grow.
//!
//! **What holds about order.** The producer is idempotent and a message never expires by itself, so
//! librdkafka retries every batch until the broker has it, in order and once, and a partition's records
//! stand in the topic as they stand in the journal. Two things disturb this, and both only repeat: when
//! the producer is replaced (fatal error, stall, restart of the process), everything unacknowledged is
//! sent again in order, so a record may occur twice, but of any two records of a key the first
//! occurrences are in order. Only if a broker rejects a batch for good may records behind it arrive
//! before it is sent again.

use std::collections::BTreeMap;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use whence_runtime::seldom;

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::statistics::Statistics;

use whence_kafka::Trouble;

use super::config::ShipConfig;
use super::connection::{Connection, ConnectionState};
use super::layout;
use super::window::Ticket;

whence_metrics::declare! {
    /// Brokers connected.
    gauge SHIP_BROKERS_UP: "whence_ship_brokers_up";
    /// Records in the Kafka client.
    gauge SHIP_CLIENT_QUEUE_RECORDS: "whence_ship_client_queue_records";
}

/// Names a sending to librdkafka: the journal's index in the upper 16 bits, its ticket in the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token(usize);

const TICKET_BITS: u32 = 48;
const _: () = assert!(usize::BITS == 64, "a token takes 64 bits");

/// The most journals one shipper can have.
pub(super) const JOURNALS_MAX: usize = 1 << (usize::BITS - TICKET_BITS);

impl Token {
    pub(super) fn new(journal: usize, ticket: Ticket) -> Token {
        debug_assert!(
            journal < JOURNALS_MAX && ticket.0 < 1 << TICKET_BITS,
            "tickets last for 28 years at 300k/s"
        );
        Token(journal << TICKET_BITS | ticket.0 as usize)
    }

    pub(super) fn journal(self) -> usize {
        self.0 >> TICKET_BITS
    }

    pub(super) fn ticket(self) -> Ticket {
        Ticket((self.0 & ((1 << TICKET_BITS) - 1)) as u64)
    }
}

/// How many records may share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As many as fit.
    Batched,
    /// One: after a batch was rejected, to find the record that is to blame.
    Single,
}

/// What became of sendings since the last look.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) acknowledged: Vec<Token>,
    pub(super) failed: Vec<(Token, RDKafkaErrorCode)>,
}

impl Reports {
    pub(super) fn is_empty(&self) -> bool {
        self.acknowledged.is_empty() && self.failed.is_empty()
    }

    fn clear(&mut self) {
        self.acknowledged.clear();
        self.failed.clear();
    }
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendError {
    /// The client's queue is full: send again once reports have come.
    QueueFull,
    /// The client can go on no more: build another.
    Fatal,
    /// Kafka will never take this record.
    Refused(RDKafkaErrorCode),
    /// Something else, such as a topic that is not there: try again later.
    Later(RDKafkaErrorCode),
}

/// Whether Kafka will never take this very record. All else is retried: what an operator can set right
/// (a missing topic, a missing permission) must cost no record.
pub(super) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidMessageSize
    )
}

/// One life of the Kafka client.
pub(super) struct Producer {
    inner: BaseProducer<Context>,
    reports: Arc<ReportBuffer>,
    partitions: Partitions,
}

/// Partitions of each topic as the client's statistics last had them.
type Partitions = Arc<Mutex<BTreeMap<String, u32>>>;

impl Producer {
    pub(super) fn build(
        config: &ShipConfig,
        pace: Pace,
        journals: usize,
        connection: &Arc<ConnectionState>,
    ) -> Result<Producer, KafkaError> {
        let reports = Arc::new(ReportBuffer::default());
        let partitions = Partitions::default();
        let context = Context {
            reports: Arc::clone(&reports),
            connection: Arc::clone(connection),
            partitions: Arc::clone(&partitions),
        };
        // The windows are the bound; the client's own must only not be reached before them.
        let messages = config.records_in_flight_max.saturating_mul(journals).saturating_add(1000);
        let kilobytes = config.bytes_in_flight_max.saturating_mul(journals) / 1024 + 10 * 1024;
        let client = config.cluster.client(
            &[("compression.type", "lz4"), ("batch.size", "1000000")],
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                // Never: the journal keeps the record anyway, and an expired one would break the order.
                ("message.timeout.ms", "0"),
                // Java's default, so that others who produce by key reach the same partitions.
                ("partitioner", "murmur2_random"),
                ("linger.ms", &config.linger.as_millis().to_string()),
                ("batch.num.messages", if pace == Pace::Single { "1" } else { "10000" }),
                ("queue.buffering.max.messages", &messages.min(10_000_000).to_string()),
                ("queue.buffering.max.kbytes", &kilobytes.min(2_097_151).to_string()),
                ("statistics.interval.ms", "5000"),
            ],
        );
        let inner = BaseProducer::from_config_and_context(&client, context)?;
        Ok(Producer { inner, reports, partitions })
    }

    /// Hands a record to the client, which copies it.
    pub(super) fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: &[u8],
        token: Token,
    ) -> Result<(), SendError> {
        let mut record = BaseRecord::with_opaque_to(topic, token.0).payload(payload);
        record.key = key;
        self.inner.send(record).map_err(|(error, _)| classify(&error))
    }

    /// Handles one event, if there is one, and takes its reports. `reports` is overwritten.
    ///
    /// Never waits: of a wait in the client's own poll the last millisecond is spent spinning.
    pub(super) fn poll(&self, reports: &mut Reports) {
        self.inner.poll(Duration::ZERO);
        self.reports.take(reports);
    }

    /// Compares the topic of a journal with what it was; how many partitions it has. Blocks for two seconds at most.
    pub(super) fn confirm(&self, dir: &Path, topic: &str) -> Result<u32, Trouble> {
        // SAFETY: the client lives as long as `self`, which outlives this call.
        unsafe { layout::confirm(self.inner.client().native_ptr(), dir, topic) }
    }

    /// Whether a topic has got another number of partitions since it was confirmed, as far as this client knows.
    pub(super) fn partitions_changed(&self, confirmed: &BTreeMap<String, u32>) -> bool {
        let seen = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.iter().any(|(topic, partitions)| seen.get(topic).is_some_and(|seen| seen != partitions))
    }

    /// Whether the client has met an error that it cannot go on after.
    pub(super) fn fatal_error(&self) -> Option<String> {
        self.inner.client().fatal_error().map(|(code, reason)| format!("{code}: {reason}"))
    }

    /// Gives the client up together with what it has not sent, and returns its last reports. What was on
    /// its way may have arrived all the same.
    pub(super) fn abandon(self, reports: &mut Reports) {
        let buffer = Arc::clone(&self.reports);
        // Purges the queues and reports on every message in them.
        drop(self.inner);
        buffer.take(reports);
    }
}

fn classify(error: &KafkaError) -> SendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => SendError::QueueFull,
        Some(RDKafkaErrorCode::Fatal) => SendError::Fatal,
        Some(code) if is_refusal(code) => SendError::Refused(code),
        Some(code) => SendError::Later(code),
        None => SendError::Later(RDKafkaErrorCode::Unknown),
    }
}

/// Between the delivery callback and the loop, both on the shipper's thread. Bounded by the windows.
#[derive(Debug, Default)]
struct ReportBuffer(Mutex<Reports>);

impl ReportBuffer {
    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, into: &mut Reports) {
        into.clear();
        mem::swap(&mut *self.lock(), into);
    }
}

struct Context {
    reports: Arc<ReportBuffer>,
    connection: Arc<ConnectionState>,
    partitions: Partitions,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Every failed attempt to connect is an "error" here; what matters comes through `error`.
        self.connection.heard.log(facility, message);
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.heard.error(&error, reason);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.connection.set(Connection::Away),
            // One connection of several, tried again every two seconds.
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut,
            ) => tracing::debug!(%error, reason, "kafka connection failed"),
            _ => seldom!(warn, %error, reason, "kafka client reports an error"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let up = self.connection.heard.statistics(&statistics);
        metrics::gauge!(SHIP_BROKERS_UP).set(up as f64);
        metrics::gauge!(SHIP_CLIENT_QUEUE_RECORDS).set(statistics.msg_cnt as f64);
        if up > 0 {
            self.connection.set(Connection::Up);
        }
        let counts = statistics.topics.into_iter().map(|(name, topic)| {
            // Records that have no partition yet wait in one of a negative number.
            let partitions = topic.partitions.keys().filter(|number| **number >= 0).count();
            (name, u32::try_from(partitions).unwrap_or(u32::MAX))
        });
        *self.partitions.lock().unwrap_or_else(PoisonError::into_inner) =
            counts.filter(|(_, count)| *count > 0).collect();
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let mut reports = self.reports.lock();
        match result {
            Ok(_) => reports.acknowledged.push(Token(token)),
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                reports.failed.push((Token(token), code));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_journal_and_ticket() {
        for (journal, ticket) in [(0, 0), (JOURNALS_MAX - 1, (1 << TICKET_BITS) - 1), (3, 77)] {
            let token = Token::new(journal, Ticket(ticket));
            assert_eq!((token.journal(), token.ticket()), (journal, Ticket(ticket)));
        }
    }

    #[test]
    fn what_an_operator_can_set_right_is_no_refusal() {
        for code in [
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::NotEnoughReplicas,
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::PurgeInflight,
        ] {
            assert!(!is_refusal(code), "{code}");
            assert_eq!(classify(&KafkaError::MessageProduction(code)), SendError::Later(code));
        }
        assert!(is_refusal(RDKafkaErrorCode::MessageSizeTooLarge));
    }
}
