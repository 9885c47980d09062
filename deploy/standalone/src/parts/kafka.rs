//! Whether Kafka has the topics, for the parts that do not say so themselves.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_ingest::topics::{Cluster, TopicPlan, ensure_topics};
use whence_runtime::health::Component;
use whence_schemas::topics::Stream;

use crate::failure::chain;
use crate::settings::KafkaSettings;

/// A client of Kafka that a role has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Sends the journals' records: writes clicks and conversions.
    Shipper,
    /// Follows the registry and writes it.
    Registry,
    /// Follows the registry and never writes it.
    Follower,
    /// Reads clicks and conversions as a member of the group, and writes timers into the conversions.
    Group,
    /// Writes the topic of facts.
    Facts,
    /// Makes and compares topics.
    Topics,
}

/// The clients of `whence up` with a Kafka.
pub const UP: &[Client] =
    &[Client::Shipper, Client::Registry, Client::Group, Client::Facts, Client::Topics];
/// The clients of `whence ingest`.
pub const INGEST: &[Client] = &[Client::Shipper, Client::Registry];
/// The clients of `whence aggregate`.
pub const AGGREGATE: &[Client] = &[Client::Follower, Client::Group, Client::Facts];
/// The clients of `whence console`.
pub const CONSOLE: &[Client] = &[Client::Registry];
/// The clients of `whence topics`.
pub const TOPICS: &[Client] = &[Client::Topics];

/// Builds these clients as the role would, and connects none. What is wrong, a sentence each; without
/// `kafka-brokers` there is nothing to build.
pub fn build(settings: &KafkaSettings, clients: &[Client]) -> Vec<String> {
    let _ = (settings, clients);
    Vec::new()
}

/// Tries on the brokers all that these clients need, within `patience`: connection, certificates, password, each
/// permission, each topic. What is wrong, a sentence each.
pub async fn attempt(settings: &KafkaSettings, clients: &[Client], patience: Duration) -> Vec<String> {
    let _ = (settings, clients, patience);
    Vec::new()
}

const ASK_EVERY: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(5);
const BACKOFF: Duration = Duration::from_secs(1);

/// Makes the topics that are missing, however long Kafka takes to be there; `component` says what it waits
/// for.
pub async fn ensure_until_done(cluster: &Cluster, plan: &TopicPlan, component: &Component) {
    while let Err(error) = ensure_topics(cluster, plan, ANSWER_MAX).await {
        let error = chain(&error);
        tracing::warn!(error, "the topics are not ready");
        component.not_ready(error);
        tokio::time::sleep(BACKOFF).await;
    }
}

/// Keeps `component` true to whether a broker answers and has both streams' topics, until `stop`.
///
/// # Errors
/// librdkafka does not accept its properties.
pub fn watch(
    cluster: &Cluster,
    component: Component,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<>, KafkaError> {
    let topics = Stream::ALL.map(|stream| cluster.topic(stream.topic()));
    let mut client: BaseConsumer = cluster.client(&[]).create()?;
    Ok(async move {
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let topics = topics.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let found = topics.iter().try_for_each(|topic| ask(&client, topic));
                (client, found)
            });
            let Ok((returned, found)) = asked.await else { return };
            client = returned;
            match found {
                Ok(()) => component.ready(),
                Err(reason) => component.not_ready(reason),
            }
        }
    })
}

fn ask(client: &BaseConsumer, topic: &str) -> Result<(), String> {
    let metadata = client.fetch_metadata(Some(topic), ANSWER_MAX).map_err(|error| chain(&error))?;
    match metadata.topics().iter().find(|found| found.name() == topic) {
        Some(found) if found.error().is_none() && !found.partitions().is_empty() => Ok(()),
        _ => Err(format!("the topic {topic} is not there: run `whence topics`")),
    }
}
