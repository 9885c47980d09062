//! The topics that whence needs in Kafka: made if they are missing, compared if not, never changed.
//!
//! A topic's partition count is part of the meaning of its keys: changing it would send a program's
//! events to another partition than before. What differs from the plan is therefore reported.

mod compare;
mod plan;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use whence_kafka::attempt::{AskError, Listener};
use whence_kafka::describe::{DescribeError, Described};
use whence_kafka::{Cluster, Trouble};
use whence_schemas::topics::{CLICKS, CONVERSIONS};

pub use compare::Difference;
use plan::Wanted;
pub use plan::{TopicPlan, kept_at_most};

/// What was found or done about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicReport {
    /// Its full name.
    pub topic: String,
    /// Its partitions now.
    pub partitions: u32,
    /// Copies of each of its records.
    pub copies: u32,
    /// It was missing and has been created.
    pub is_new: bool,
    /// What is not as planned, and has been left so.
    pub differences: Vec<Difference>,
}

/// Why the topics could not be made sure of.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// librdkafka does not accept its properties.
    #[error("the settings of the kafka client are not valid: {0}")]
    Client(String),
    /// Brokers do not answer, or not as needed.
    #[error("{0}")]
    Trouble(Trouble),
    /// Kafka could not be asked. Retry.
    #[error("cannot ask kafka about its topics")]
    Ask(#[source] KafkaError),
    /// Kafka refused to create a topic.
    #[error("kafka refused to create the topic {topic}")]
    Create {
        /// The topic's name.
        topic: String,
        /// Kafka's reason.
        #[source]
        reason: RDKafkaErrorCode,
    },
    /// More copies than there are brokers.
    #[error("topic-replication is {wanted}, and there are {brokers} brokers")]
    Brokers {
        /// As many copies as are wanted.
        wanted: i32,
        /// As many brokers as there are.
        brokers: i32,
    },
    /// The task that asks was stopped together with its runtime.
    #[error("stopped before kafka answered")]
    Stopped,
    /// The topic is not there although it was created or said to exist. Retry.
    #[error("the topic {0} is not visible yet; try again")]
    NotVisible(String),
}

impl From<Trouble> for TopicsError {
    fn from(trouble: Trouble) -> TopicsError {
        TopicsError::Trouble(trouble)
    }
}

/// Between two looks for a topic that was just created.
const VISIBLE_AGAIN: Duration = Duration::from_millis(100);

/// Creates the topics that are missing and reports on all, in the order of `schemas::topics`.
///
/// # Errors
/// [`TopicsError`]; the topics created before the error stay.
pub async fn ensure_topics(
    cluster: &Cluster,
    plan: &TopicPlan,
    timeout: Duration,
) -> Result<Vec<TopicReport>, TopicsError> {
    let said = |error: KafkaError| TopicsError::Client(cluster.said(&error));
    let reader = TopicReader { listener: Listener::new(cluster).map_err(said)?, timeout };
    let (reader, before, brokers) = reader.look(plan.names(cluster)).await?;
    let wanted = plan.wanted(cluster, brokers);
    let admin: AdminClient<DefaultClientContext> = cluster.client(&[], &[]).create().map_err(said)?;
    let options = AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
    let missing: Vec<&Wanted> = wanted.iter().filter(|topic| !before.contains_key(&topic.name)).collect();
    create(&admin, &options, &missing, brokers).await?;
    let after = if missing.is_empty() { before.clone() } else { reader.visible(&wanted).await? };
    let there: Vec<&str> = before.keys().map(String::as_str).collect();
    let settings =
        compare::settings(&admin, &AdminOptions::new().request_timeout(Some(timeout)), &there).await?;
    wanted
        .iter()
        .map(|topic| {
            let found = after.get(&topic.name).ok_or_else(|| TopicsError::NotVisible(topic.name.clone()))?;
            Ok(report(topic, found, settings.get(&topic.name)))
        })
        .collect()
}

fn report(topic: &Wanted, found: &Described, settings: Option<&BTreeMap<String, String>>) -> TopicReport {
    // A race with another creator ends here too: whoever came first decided.
    let differences = compare::differences(topic, found, settings);
    for difference in &differences {
        tracing::warn!(topic = topic.name, %difference, "a topic is not as planned and is left as it is");
    }
    let is_new = settings.is_none();
    if is_new {
        tracing::info!(
            topic = topic.name,
            partitions = found.partitions,
            copies = found.copies,
            "topic created"
        );
    }
    TopicReport {
        topic: topic.name.clone(),
        partitions: found.partitions,
        copies: found.copies,
        is_new,
        differences,
    }
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    options: &AdminOptions,
    missing: &[&Wanted],
    brokers: i32,
) -> Result<(), TopicsError> {
    if missing.is_empty() {
        return Ok(());
    }
    let new: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|topic| {
            let copies = TopicReplication::Fixed(topic.copies);
            let new = NewTopic::new(&topic.name, topic.partitions, copies);
            topic.settings.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    for result in admin.create_topics(&new, options).await.map_err(TopicsError::Ask)? {
        match result {
            // Another process was quicker.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((
                topic,
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
            )) => {
                let text =
                    format!("the user may not make the topic {topic}, an ACL is missing: Create on it");
                return Err(Trouble::lasting(text).into());
            }
            Err((_, RDKafkaErrorCode::InvalidReplicationFactor)) => {
                let wanted = missing.iter().map(|topic| topic.copies).max().unwrap_or_default();
                return Err(TopicsError::Brokers { wanted, brokers });
            }
            Err((topic, reason)) => return Err(TopicsError::Create { topic, reason }),
        }
    }
    Ok(())
}

/// The longest that a click or conversion stays, by what Kafka says of their topics; the inner `None`: for good, the
/// outer one: it does not say.
pub async fn consumed_are_kept(cluster: &Cluster, timeout: Duration) -> Option<Option<Duration>> {
    let topics = [CLICKS, CONVERSIONS].map(|topic| cluster.topic(topic));
    let admin = cluster.client(&[], &[]).create::<AdminClient<DefaultClientContext>>().ok()?;
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let settings = compare::settings(&admin, &options, &topics.each_ref().map(String::as_str)).await.ok()?;
    let kept = settings.values().filter_map(|topic| {
        let millis = |setting| topic.get(setting)?.parse::<i64>().ok();
        let (retention, segment) = (millis("retention.ms")?, millis("segment.ms")?);
        let is_kept = topic.get("cleanup.policy").map(String::as_str) != Some("delete");
        let times = u64::try_from(retention).ok().zip(u64::try_from(segment).ok()).filter(|_| !is_kept);
        Some(times.map(|(retention, segment)| Duration::from_millis(retention.saturating_add(segment))))
    });
    // For good is longer than any time.
    kept.max_by_key(|kept| kept.unwrap_or(Duration::MAX))
}

/// Asks about topics where that may block.
struct TopicReader {
    listener: Listener,
    timeout: Duration,
}

/// Topics that are there, by name.
type Found = BTreeMap<String, Described>;

impl TopicReader {
    /// Those of the topics that are there, and how many brokers are.
    async fn look(self, names: Vec<String>) -> Result<(TopicReader, Found, i32), TopicsError> {
        let ask = move || {
            let mut found = Found::new();
            for name in names {
                match self.listener.describe(&name, self.timeout) {
                    Ok(described) => {
                        found.insert(name, described);
                    }
                    Err(AskError::Topic(DescribeError::NotThere(_))) => {}
                    Err(error) => return Err(TopicsError::from(error.trouble())),
                }
            }
            let brokers = self.listener.brokers(self.timeout).map_err(TopicsError::Ask)?;
            Ok((self, found, brokers))
        };
        tokio::task::spawn_blocking(ask).await.map_err(|_| TopicsError::Stopped)?
    }

    /// All the topics: what was just created takes a moment to show in a broker's metadata, and who asks meanwhile is
    /// told that it is not there. What is missing once the time is over is left out.
    async fn visible(self, wanted: &[Wanted]) -> Result<Found, TopicsError> {
        let deadline = Instant::now() + self.timeout;
        let names: Vec<String> = wanted.iter().map(|topic| topic.name.clone()).collect();
        let mut reader = self;
        loop {
            let (returned, found, _) = reader.look(names.clone()).await?;
            if found.len() == wanted.len() || Instant::now() >= deadline {
                return Ok(found);
            }
            reader = returned;
            tokio::time::sleep(VISIBLE_AGAIN).await;
        }
    }
}
