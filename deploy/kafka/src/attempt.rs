//! Tries on the brokers what a client will need, and says what is missing. Changes nothing, except for a
//! transactional id: to open it is the only way to know that one may, and fences whoever writes with it, who then
//! opens it again.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

use crate::certificate;
use crate::cluster::Cluster;
use crate::describe::{DescribeError, Described, Operation, describe_while, group_operations};
use crate::trouble::{Heard, Trouble, UNVERIFIED};

/// One broker of several may be the only one with a wrong certificate: so long the others have to answer.
const OTHERS_MAX: Duration = Duration::from_secs(2);

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
        self.0.log(facility, message);
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client reports an error");
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Listening {}

/// A client that asks, and hears what stands in the way of an answer.
pub struct Listener {
    consumer: BaseConsumer<Listening>,
    cluster: Cluster,
}

impl Listener {
    /// A client of this cluster.
    ///
    /// # Errors
    /// librdkafka does not accept its properties.
    pub fn new(cluster: &Cluster) -> Result<Listener, KafkaError> {
        // Without a group: there may be no permission for one.
        let consumer =
            BaseConsumer::from_config_and_context(&cluster.client(&[], &[]), Listening::default())?;
        Ok(Listener { consumer, cluster: cluster.clone() })
    }

    /// Asks for a topic. Blocks until it is answered, a cause has been heard and the other brokers have had time to
    /// answer all the same, or `timeout` is over.
    ///
    /// # Errors
    /// What is wrong.
    pub fn describe(&self, topic: &str, timeout: Duration) -> Result<Described, AskError> {
        let heard = &self.consumer.context().0;
        let mut heard_since = None;
        let is_enough = || {
            // Serves the callbacks.
            let _ = self.consumer.poll(Duration::ZERO);
            let Some(trouble) = heard.last().filter(|trouble| trouble.is_cause) else { return false };
            let others_max = if trouble.may_heal { 2 * OTHERS_MAX } else { OTHERS_MAX };
            heard_since.get_or_insert_with(Instant::now).elapsed() >= others_max
        };
        // SAFETY: the consumer outlives the call.
        let described =
            unsafe { describe_while(self.consumer.client().native_ptr(), topic, timeout, is_enough) };
        match described {
            Err(DescribeError::NoAnswer(_)) => Err(AskError::Silence(self.silence(timeout))),
            answered => {
                heard.worked();
                answered.map_err(AskError::Topic)
            }
        }
    }

    /// How many brokers there are.
    ///
    /// # Errors
    /// None has answered within `timeout`.
    pub fn brokers(&self, timeout: Duration) -> Result<i32, KafkaError> {
        // Of no topic in particular: all are told that the user may see, and none is made.
        let metadata = self.consumer.fetch_metadata(None, timeout)?;
        Ok(i32::try_from(metadata.brokers().len()).unwrap_or(i32::MAX))
    }

    fn silence(&self, timeout: Duration) -> Trouble {
        let Some(trouble) = self.consumer.context().0.last() else {
            let brokers = &self.cluster.brokers;
            return Trouble::passing(format!("no broker of {brokers} has answered within {timeout:?}"));
        };
        let is_unverified = trouble.text.contains(UNVERIFIED);
        let why = is_unverified.then(|| certificate::why(&self.cluster, &trouble.text, timeout)).flatten();
        why.unwrap_or(trouble)
    }
}

/// Why a topic is not described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// Nobody answered, for this reason as far as it was heard.
    Silence(Trouble),
    /// What was answered.
    Topic(DescribeError),
}

impl AskError {
    /// What to say of it.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            AskError::Silence(trouble) => trouble.clone(),
            AskError::Topic(error) => error.trouble(),
        }
    }
}

/// Tries all of it, for `timeout` at most in each of up to three steps. Blocks. What is wrong; empty: nothing.
#[must_use]
pub fn attempt(cluster: &Cluster, needs: &Needs, timeout: Duration) -> Vec<Trouble> {
    let listener = match Listener::new(cluster) {
        Ok(listener) => listener,
        Err(error) => return vec![Trouble::lasting(cluster.said(&error))],
    };
    let mut troubles = Vec::new();
    for (topic, operations) in &needs.topics {
        match listener.describe(topic, timeout) {
            Ok(described) => troubles.extend(missing(topic, operations, &described)),
            Err(AskError::Topic(DescribeError::NotThere(_))) if needs.makes_topics => {}
            // Nothing else would be answered either.
            Err(AskError::Silence(trouble)) => return vec![trouble],
            Err(AskError::Topic(error)) => troubles.push(error.trouble()),
        }
    }
    troubles.extend(needs.group.iter().filter_map(|group| try_group(&listener, group, timeout)));
    troubles.extend(needs.transactional_id.iter().filter_map(|id| try_transactions(cluster, id, timeout)));
    troubles
}

fn missing(topic: &str, operations: &[Operation], described: &Described) -> Vec<Trouble> {
    let missing = operations.iter().filter(|operation| !described.allowed.contains(operation));
    let told = missing.map(|operation| {
        let word = operation.word();
        Trouble::lasting(format!("the user may not use the topic {topic}, an ACL is missing: {word} on it"))
    });
    told.collect()
}

fn try_group(listener: &Listener, group: &str, timeout: Duration) -> Option<Trouble> {
    // SAFETY: the consumer outlives the call.
    let allowed = unsafe { group_operations(listener.consumer.client().native_ptr(), group, timeout) };
    match allowed {
        Ok(allowed) if allowed.contains(&Operation::Read) => None,
        Ok(_) => Some(Trouble::lasting(format!(
            "the user may not use the consumer group {group}, an ACL is missing: Read on it"
        ))),
        Err(Some(said)) => {
            Some(Trouble::passing(format!("the consumer group {group} can't be described: {said}")))
        }
        Err(None) => Some(listener.silence(timeout)),
    }
}

fn try_transactions(cluster: &Cluster, id: &str, timeout: Duration) -> Option<Trouble> {
    let own = [("transactional.id", id), ("transaction.timeout.ms", "10000")];
    let producer: BaseProducer = match cluster.client(&[], &own).create() {
        Ok(producer) => producer,
        Err(error) => return Some(Trouble::lasting(cluster.said(&error))),
    };
    let deadline = Instant::now() + timeout;
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
