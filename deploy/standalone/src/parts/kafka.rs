//! What roles are to Kafka: which clients each has, whether those can be built, whether the brokers let them work,
//! and how that stands while the process runs.

mod shown;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use whence_ingest::registry::kafka::{KafkaRegistry, KafkaRegistryConfig};
use whence_ingest::ship::{self, ShipConfig};
use whence_ingest::topics::{TopicPlan, TopicsError, ensure_topics};
use whence_kafka::attempt::{self, Needs};
use whence_kafka::describe::Operation;
use whence_kafka::{Cluster, Trouble};
use whence_outbound::topic::FactsTopic;
use whence_runtime::health::Component;
use whence_schemas::topics::{CLICKS, CONVERSIONS, EDGES, FACTS, REGISTRY, Stream};

use crate::chain::chain;
use crate::failure::Failure;
use crate::process::Process;
use crate::settings::KafkaSettings;
pub use shown::{Shown, watch};

const ANSWER_MAX: Duration = Duration::from_secs(5);
const BACKOFF: Duration = Duration::from_secs(1);

/// The name of the component that says what the process needs of Kafka and has not found yet at its start.
const COMPONENT: &str = "kafka.needs";
/// The name of the group's component in readiness.
pub const GROUP: &str = "aggregator.kafka";

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
pub const UP: &[Client] = &[Client::Shipper, Client::Registry, Client::Group, Client::Facts, Client::Topics];
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
    let Some(cluster) = settings.cluster() else { return Vec::new() };
    let mut troubles = Vec::new();
    for client in clients {
        if let Err(error) = build_one(settings, &cluster, *client) {
            let said = format!("the settings of the kafka client are not valid: {}", cluster.said(&error));
            // One mistake is one of all clients, as a rule.
            if !troubles.contains(&said) {
                troubles.push(said);
            }
        }
    }
    troubles
}

/// Checks that the clients can be built, before anything else is done.
///
/// # Errors
/// librdkafka does not accept their properties.
pub fn built(settings: &KafkaSettings, clients: &[Client]) -> Result<(), Failure> {
    let troubles = build(settings, clients);
    if troubles.is_empty() { Ok(()) } else { Err(Failure::Brokers(troubles.join("; "))) }
}

fn build_one(settings: &KafkaSettings, cluster: &Cluster, client: Client) -> Result<(), KafkaError> {
    match client {
        Client::Shipper => ship::try_client(&ShipConfig::new(cluster.clone())),
        Client::Registry | Client::Follower => {
            KafkaRegistry::try_clients(&KafkaRegistryConfig::new(cluster.clone()))
        }
        Client::Group => whence_aggregator::kafka::try_clients(&settings.group(cluster)),
        Client::Facts => FactsTopic::new(cluster, cluster.topic(FACTS)).map(drop),
        Client::Topics => cluster.client(&[], &[]).create::<AdminClient<DefaultClientContext>>().map(drop),
    }
}

/// Tries on the brokers all that these clients need, within `timeout` a step: connection, certificates, password, each
/// permission, each topic. What is wrong, a sentence each.
pub async fn attempt(settings: &KafkaSettings, clients: &[Client], timeout: Duration) -> Vec<String> {
    let Some(cluster) = settings.cluster() else { return Vec::new() };
    let troubles = troubles(cluster, needs(settings, clients), timeout).await;
    troubles.into_iter().map(|trouble| trouble.text).collect()
}

async fn troubles(cluster: Cluster, needs: Needs, timeout: Duration) -> Vec<Trouble> {
    let asked = tokio::task::spawn_blocking(move || attempt::attempt(&cluster, &needs, timeout));
    asked.await.expect("asking brokers does not panic")
}

/// What these clients do with the cluster.
fn needs(settings: &KafkaSettings, clients: &[Client]) -> Needs {
    let Some(cluster) = settings.cluster() else { return Needs::default() };
    let mut needs = Needs { makes_topics: clients.contains(&Client::Topics), ..Needs::default() };
    let mut topics: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    let mut add = |topic: &str, operation| {
        let operations = topics.entry(cluster.topic(topic)).or_default();
        if !operations.contains(&operation) {
            operations.push(operation);
        }
    };
    for client in clients {
        match client {
            Client::Shipper => {
                Stream::ALL.iter().for_each(|stream| add(stream.topic(), Operation::Write));
                add(EDGES, Operation::Write);
            }
            Client::Registry => {
                add(REGISTRY, Operation::Read);
                add(REGISTRY, Operation::Write);
                needs.transactional_id = Some(cluster.topic(REGISTRY));
            }
            Client::Follower => add(REGISTRY, Operation::Read),
            Client::Group => {
                Stream::ALL.iter().for_each(|stream| add(stream.topic(), Operation::Read));
                add(CONVERSIONS, Operation::Write);
                add(EDGES, Operation::Read);
                needs.group = Some(settings.group_name());
            }
            Client::Facts => add(FACTS, Operation::Write),
            Client::Topics => {
                for topic in [CLICKS, CONVERSIONS, FACTS, REGISTRY, EDGES] {
                    add(topic, Operation::DescribeConfigs);
                }
            }
        }
    }
    needs.topics = topics.into_iter().collect();
    needs
}

/// Builds these clients, and tries until all that they need is there, while the process goes on starting; what waiting
/// can't fix ends it. Kafka need not be there.
///
/// # Errors
/// A client can't be built.
pub fn judge(settings: &KafkaSettings, clients: &'static [Client], process: &Process) -> Result<(), Failure> {
    let Some(cluster) = settings.cluster() else { return Ok(()) };
    built(settings, clients)?;
    let (needs, ending, stop) = (needs(settings, clients), process.ending.clone(), process.stop.clone());
    let component = process.health.component(COMPONENT);
    let judged = async move {
        loop {
            let troubles = troubles(cluster.clone(), needs.clone(), ANSWER_MAX).await;
            let Some(first) = troubles.first() else { return component.ready() };
            component.not_ready(first.text.clone());
            let lasting: Vec<String> = troubles
                .into_iter()
                .filter(|trouble| !trouble.may_heal)
                .map(|trouble| trouble.text)
                .collect();
            if !lasting.is_empty() {
                return ending.fail(Failure::Brokers(lasting.join("; ")));
            }
            tokio::time::sleep(BACKOFF).await;
        }
    };
    tokio::spawn(async move { stop.run_until_cancelled(judged).await });
    Ok(())
}

/// Makes the topics that are missing, however long Kafka takes to be there; `component` says what it waits
/// for.
///
/// # Errors
/// What waiting can't fix, such as a missing permission.
pub async fn ensure_until_done(
    cluster: &Cluster,
    plan: &TopicPlan,
    component: &Component,
) -> Result<(), Failure> {
    while let Err(error) = ensure_topics(cluster, plan, ANSWER_MAX).await {
        if let TopicsError::Trouble(Trouble { may_heal: false, .. }) | TopicsError::Client(_) = error {
            return Err(error.into());
        }
        let error = chain(&error);
        tracing::warn!(error, "the topics are not ready");
        component.not_ready(error);
        tokio::time::sleep(BACKOFF).await;
    }
    Ok(())
}
