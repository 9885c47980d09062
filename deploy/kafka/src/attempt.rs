//! Tries on the brokers what a client will need, and says what is missing. Changes nothing, but for a transactional id:
//! to open it is the only way to know that one may, and fences whoever writes with it, who then opens it again.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::TopicPartitionList;

use crate::cluster::Cluster;
use crate::describe::{DescribeError, Operation, describe_while};
use crate::trouble::{Heard, Trouble};

/// What clients will need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Topics and what is to be done with each.
    pub topics: Vec<(String, Vec<Operation>)>,
    /// A consumer group to be a member of.
    pub group: Option<String>,
    /// A transactional id to write with.
    pub transactional_id: Option<String>,
    /// Whether topics that are not there are no trouble: they are to be made.
    pub makes_topics: bool,
}

/// A consumer's context that remembers what went wrong.
#[derive(Clone, Debug, Default)]
pub struct Listening(pub Heard);

impl ClientContext for Listening {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client reports an error");
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Listening {}

/// Tries all of it, for `patience` at most in each of up to three steps. Blocks. What is wrong; empty: nothing.
#[must_use]
pub fn attempt(cluster: &Cluster, needs: &Needs, patience: Duration) -> Vec<Trouble> {
    let group = needs.group.as_deref().unwrap_or("whence");
    let own = [("group.id", group), ("enable.auto.commit", "false")];
    let consumer = match consumer(&cluster.client(&[], &own)) {
        Ok(consumer) => consumer,
        Err(error) => return vec![Trouble::lasting(cluster.said(&error))],
    };
    let mut troubles = Vec::new();
    for (topic, operations) in &needs.topics {
        match try_topic(&consumer, topic, operations, patience) {
            Ok(missing) => troubles.extend(missing),
            Err(DescribeError::NotThere(_)) if needs.makes_topics => {}
            // Nobody answers: nothing else would be answered either.
            Err(DescribeError::NoAnswer(_)) => {
                let silent = || {
                    let brokers = &cluster.brokers;
                    Trouble::passing(format!("no broker of {brokers} has answered within {patience:?}"))
                };
                return vec![consumer.context().0.last().unwrap_or_else(silent)];
            }
            Err(error) => troubles.push(error.trouble()),
        }
    }
    if let (Some(group), Some((topic, _))) = (&needs.group, needs.topics.first()) {
        troubles.extend(try_group(&consumer, group, topic, patience));
    }
    if let Some(id) = &needs.transactional_id {
        troubles.extend(try_transactions(cluster, id, patience));
    }
    troubles
}

fn consumer(config: &ClientConfig) -> Result<BaseConsumer<Listening>, KafkaError> {
    BaseConsumer::from_config_and_context(config, Listening::default())
}

fn try_topic(
    consumer: &BaseConsumer<Listening>,
    topic: &str,
    operations: &[Operation],
    patience: Duration,
) -> Result<Vec<Trouble>, DescribeError> {
    let heard = &consumer.context().0;
    let is_enough = || {
        // Serves the callbacks.
        let _ = consumer.poll(Duration::ZERO);
        heard.last().is_some_and(|trouble| !trouble.may_heal)
    };
    // SAFETY: the consumer outlives the call.
    let described = unsafe { describe_while(consumer.client().native_ptr(), topic, patience, is_enough) }?;
    heard.clear();
    let missing = operations.iter().filter(|operation| !described.allowed.contains(operation));
    let missing = missing.map(|operation| {
        let word = operation.word();
        Trouble::lasting(format!("the user may not use the topic {topic}, an ACL is missing: {word} on it"))
    });
    Ok(missing.collect())
}

/// What the group has committed may be seen by whoever may see the group; to join it more is needed, and to join is to
/// take partitions away from others: so far the group alone is asked.
fn try_group(
    consumer: &BaseConsumer<Listening>,
    group: &str,
    topic: &str,
    patience: Duration,
) -> Option<Trouble> {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let error = consumer.committed_offsets(list, patience).err()?;
    Some(match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::GroupAuthorizationFailed) => Trouble::lasting(format!(
            "the user may not use the consumer group {group}, an ACL is missing: Read on it"
        )),
        _ => Trouble::passing(format!("the consumer group {group} does not answer: {error}")),
    })
}

fn try_transactions(cluster: &Cluster, id: &str, patience: Duration) -> Option<Trouble> {
    let own = [("transactional.id", id), ("transaction.timeout.ms", "10000")];
    let producer: BaseProducer = match cluster.client(&[], &own).create() {
        Ok(producer) => producer,
        Err(error) => return Some(Trouble::lasting(cluster.said(&error))),
    };
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = producer.init_transactions(left).err()?;
        let code = error.rdkafka_error_code();
        let fatal = producer.client().fatal_error().map(|(code, _)| code);
        let is = |wanted| code == Some(wanted) || fatal == Some(wanted);
        if is(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) {
            return Some(Trouble::lasting(format!(
                "the user may not use the transactional id {id}, an ACL is missing: Write on it"
            )));
        }
        let may_retry = matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
        if !may_retry || Instant::now() >= deadline {
            return Some(Trouble::passing(format!("the transactional id {id} can't be opened: {error}")));
        }
    }
}
