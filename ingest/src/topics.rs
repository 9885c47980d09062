//! Where Kafka is, and the topics whence needs there: made if they are missing, looked at if not,
//! never changed.
//!
//! A topic's partition count is part of the meaning of its keys: changing it would send a program's
//! events to another partition than before. What differs from the plan is therefore reported.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use whence_kafka::Cluster;
use whence_schemas::topics::{CLICKS, CONVERSIONS, FACTS, REGISTRY};

/// How whence's topics should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// Partitions of the clicks, fixed at creation.
    pub clicks_partitions: i32,
    /// Partitions of the conversions and of the facts, fixed at creation: as many programs as this proceed at once.
    pub conversions_partitions: i32,
    /// Copies of every record; `None`: the brokers' default.
    pub replication: Option<i32>,
    /// How long clicks, conversions and facts are kept: longer than the longest outage of whatever reads them.
    pub retention: Duration,
}

/// A segment of clicks, conversions or facts is closed this long after its first record, however few come: Kafka
/// removes whole segments, by the age of their last record.
const SEGMENT_MAX: Duration = Duration::from_secs(86_400);

/// The longest that a record stays where records are kept for `retention`, but for what its broker takes to notice: its
/// segment has to be closed first.
#[must_use]
pub fn kept_at_most(retention: Duration) -> Duration {
    retention.saturating_add(retention.min(SEGMENT_MAX))
}

impl TopicPlan {
    fn segment(&self) -> Duration {
        self.retention.min(SEGMENT_MAX)
    }

    /// The longest that a click, conversion or fact stays in Kafka, but for what its broker takes to notice
    /// (`log.retention.check.interval.ms` and `file.delete.delay.ms`: six minutes by default).
    #[must_use]
    pub fn kept_at_most(&self) -> Duration {
        kept_at_most(self.retention)
    }
}

/// What was found or done about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicReport {
    /// Its full name.
    pub topic: String,
    /// Its partitions now.
    pub partitions: i32,
    /// What there is to say.
    pub finding: Finding,
}

/// How a topic compares with the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was missing and has been created.
    Created,
    /// It was there, as planned.
    AsPlanned,
    /// It was there with another number of partitions, and has been left so.
    OtherPartitions {
        /// As many as the plan wants.
        planned: i32,
    },
    /// It was there, keeps records longer than the plan does, and has been left so.
    KeptLonger {
        /// The longest that a record stays; `None`: for good.
        at_most: Option<Duration>,
        /// The longest by the plan.
        planned: Duration,
    },
}

/// Why the topics could not be made sure of.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
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
    /// The task that asks was stopped together with its runtime.
    #[error("stopped before kafka answered")]
    Stopped,
    /// The topic is not there although it was created or said to exist. Retry.
    #[error("the topic {0} is not visible yet; try again")]
    NotVisible(String),
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
    let wanted = wanted(cluster, plan);
    let before = partitions(cluster, &wanted, timeout).await?;
    let missing: Vec<&Wanted> = wanted.iter().filter(|topic| !before.contains_key(&topic.name)).collect();
    create(cluster, &missing, plan.replication, timeout).await?;
    let kept = if before.is_empty() {
        BTreeMap::new()
    } else {
        told_to_keep(cluster, &wanted, &before, timeout).await
    };
    let after = if missing.is_empty() { before.clone() } else { visible(cluster, &wanted, timeout).await? };
    wanted
        .iter()
        .map(|topic| {
            let is_new = !before.contains_key(&topic.name);
            let found = after.get(&topic.name).copied();
            let partitions = found.ok_or_else(|| TopicsError::NotVisible(topic.name.clone()))?;
            Ok(report(topic, partitions, is_new, kept.get(&topic.name).copied(), plan))
        })
        .collect()
}

fn report(
    topic: &Wanted,
    partitions: i32,
    is_new: bool,
    kept: Option<Option<Duration>>,
    plan: &TopicPlan,
) -> TopicReport {
    let planned = plan.kept_at_most();
    let finding = if partitions != topic.partitions {
        // A race with another creator ends here too: whoever came first decided.
        tracing::warn!(
            topic = topic.name,
            partitions,
            planned = topic.partitions,
            "topic has another number of partitions than planned and is left as it is"
        );
        Finding::OtherPartitions { planned: topic.partitions }
    } else if is_new {
        tracing::info!(topic = topic.name, partitions, "topic created");
        Finding::Created
    } else if let Some(at_most) = kept.filter(|kept| kept.is_none_or(|kept| kept > planned)) {
        tracing::warn!(
            topic = topic.name,
            at_most_s = at_most.map(|at_most| at_most.as_secs()),
            planned_s = planned.as_secs(),
            "topic keeps records longer than planned and is left as it is"
        );
        Finding::KeptLonger { at_most, planned }
    } else {
        Finding::AsPlanned
    };
    TopicReport { topic: topic.name.clone(), partitions, finding }
}

struct Wanted {
    name: String,
    partitions: i32,
    properties: Vec<(&'static str, String)>,
}

fn wanted(cluster: &Cluster, plan: &TopicPlan) -> Vec<Wanted> {
    // The broker's clock decides how long a record is kept. By the producer's, a record that waited out a
    // long outage in the journal could be deleted as soon as it arrives, and one from a machine whose
    // clock is an hour ahead would be refused.
    let stream = || {
        vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", plan.retention.as_millis().to_string()),
            ("segment.ms", plan.segment().as_millis().to_string()),
            ("message.timestamp.type", "LogAppendTime".to_owned()),
        ]
    };
    // The newest segment is never compacted: it is closed after a day at the latest, or at 16 MiB, so that
    // reading the registry from its beginning stays short.
    let registry = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "86400000"),
        ("segment.bytes", "16777216"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("max.compaction.lag.ms", "172800000"),
        // A follower that starts from a snapshot this old still sees what became of a deleted key.
        ("delete.retention.ms", "604800000"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    let durable = |properties: Vec<(&'static str, String)>| {
        let mut properties = properties;
        // With three copies a write waits for two, so that one broker may die without a loss.
        if plan.replication.is_some_and(|replication| replication >= 3) {
            properties.push(("min.insync.replicas", "2".to_owned()));
        }
        properties
    };
    vec![
        Wanted {
            name: cluster.topic(CLICKS),
            partitions: plan.clicks_partitions,
            properties: durable(stream()),
        },
        Wanted {
            name: cluster.topic(CONVERSIONS),
            partitions: plan.conversions_partitions,
            properties: durable(stream()),
        },
        Wanted {
            name: cluster.topic(FACTS),
            partitions: plan.conversions_partitions,
            properties: durable(stream()),
        },
        Wanted {
            name: cluster.topic(REGISTRY),
            partitions: 1,
            properties: durable(registry.map(|(name, value)| (name, value.to_owned())).to_vec()),
        },
    ]
}

async fn create(
    cluster: &Cluster,
    missing: &[&Wanted],
    replication: Option<i32>,
    timeout: Duration,
) -> Result<(), TopicsError> {
    if missing.is_empty() {
        return Ok(());
    }
    let new: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|topic| {
            let copies = TopicReplication::Fixed(replication.unwrap_or(-1));
            topic
                .properties
                .iter()
                .fold(NewTopic::new(&topic.name, topic.partitions, copies), |new, (name, value)| {
                    new.set(name, value)
                })
        })
        .collect();
    let admin: AdminClient<DefaultClientContext> =
        cluster.client(&[], &[]).create().map_err(TopicsError::Ask)?;
    let options = AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
    for result in admin.create_topics(&new, &options).await.map_err(TopicsError::Ask)? {
        match result {
            // Another process was quicker.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, reason)) => return Err(TopicsError::Create { topic, reason }),
        }
    }
    Ok(())
}

/// The longest that a record stays in each of the streams' topics that were there; `None`: for good. A topic
/// whose settings may not be read, or are none that Kafka knows, is left out.
async fn told_to_keep(
    cluster: &Cluster,
    wanted: &[Wanted],
    before: &BTreeMap<String, i32>,
    timeout: Duration,
) -> BTreeMap<String, Option<Duration>> {
    let streams = [CLICKS, CONVERSIONS, FACTS].map(|stream| cluster.topic(stream));
    let asked: Vec<ResourceSpecifier<'_>> = wanted
        .iter()
        .filter(|topic| streams.contains(&topic.name) && before.contains_key(&topic.name))
        .map(|topic| ResourceSpecifier::Topic(&topic.name))
        .collect();
    let Ok(admin) = cluster.client(&[], &[]).create::<AdminClient<DefaultClientContext>>() else {
        return BTreeMap::new();
    };
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let described = admin.describe_configs(&asked, &options).await.unwrap_or_default();
    let told = described.into_iter().filter_map(Result::ok).filter_map(|topic| {
        let OwnedResourceSpecifier::Topic(name) = &topic.specifier else { return None };
        let millis = |setting| topic.get(setting)?.value.as_ref()?.parse::<i64>().ok();
        let (retention, segment) = (millis("retention.ms")?, millis("segment.ms")?);
        // -1: for good.
        let at_most = u64::try_from(retention).ok().zip(u64::try_from(segment).ok());
        let is_kept = topic.get("cleanup.policy")?.value.as_deref() != Some("delete");
        let at_most = at_most.filter(|_| !is_kept);
        Some((
            name.clone(),
            at_most.map(|(retention, segment)| Duration::from_millis(retention.saturating_add(segment))),
        ))
    });
    told.collect()
}

/// The longest that a click or conversion stays, by what Kafka says of their topics; the inner `None`: for good, the
/// outer one: it does not say.
pub async fn consumed_are_kept(cluster: &Cluster, timeout: Duration) -> Option<Option<Duration>> {
    let wanted = [CLICKS, CONVERSIONS].map(|stream| Wanted {
        name: cluster.topic(stream),
        partitions: 0,
        properties: Vec::new(),
    });
    let there = wanted.iter().map(|topic| (topic.name.clone(), 0)).collect();
    let kept = told_to_keep(cluster, &wanted, &there, timeout).await;
    // For good is longer than any time.
    kept.into_values().max_by_key(|kept| kept.unwrap_or(Duration::MAX))
}

/// Partition counts of all the topics: what was just created takes a moment to show in a broker's metadata,
/// and who asks meanwhile is told that it is not there. What is missing once `timeout` is over is left out.
async fn visible(
    cluster: &Cluster,
    wanted: &[Wanted],
    timeout: Duration,
) -> Result<BTreeMap<String, i32>, TopicsError> {
    let deadline = Instant::now() + timeout;
    loop {
        let found = partitions(cluster, wanted, timeout).await?;
        if found.len() == wanted.len() || Instant::now() >= deadline {
            return Ok(found);
        }
        tokio::time::sleep(VISIBLE_AGAIN).await;
    }
}

/// Partition counts of those of the topics that exist.
async fn partitions(
    cluster: &Cluster,
    wanted: &[Wanted],
    timeout: Duration,
) -> Result<BTreeMap<String, i32>, TopicsError> {
    let names: Vec<String> = wanted.iter().map(|topic| topic.name.clone()).collect();
    let client = cluster.client(&[], &[]);
    let ask = move || {
        let admin: AdminClient<DefaultClientContext> = client.create()?;
        // All topics at once: asking for one that is missing could create it (`auto.create.topics`).
        let metadata = admin.inner().fetch_metadata(None, timeout)?;
        let found = metadata.topics().iter().filter(|topic| names.iter().any(|name| name == topic.name()));
        let counts = found.map(|topic| {
            let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
            (topic.name().to_owned(), partitions)
        });
        Ok(counts.filter(|(_, partitions)| *partitions > 0).collect())
    };
    // Asking blocks until Kafka answers or the time is over.
    let asked = tokio::task::spawn_blocking(ask).await.map_err(|_| TopicsError::Stopped)?;
    asked.map_err(TopicsError::Ask)
}
