//! What roles are to Kafka: which clients each has, whether those can be built, whether the brokers let them work,
//! and how that stands while the process runs.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_ingest::registry::kafka::{KafkaRegistry, KafkaRegistryConfig};
use whence_ingest::ship::{self, ShipConfig};
use whence_ingest::topics::{TopicPlan, ensure_topics};
use whence_kafka::attempt::{self, Listener, Needs};
use whence_kafka::describe::Operation;
use whence_kafka::{Cluster, Heard, Trouble};
use whence_outbound::topic::FactsTopic;
use whence_runtime::health::Component;
use whence_schemas::topics::{CLICKS, CONVERSIONS, FACTS, REGISTRY, Stream};

use crate::failure::{Failure, chain};
use crate::process::{Ending, Process};
use crate::settings::KafkaSettings;

const ANSWER_MAX: Duration = Duration::from_secs(5);
const BACKOFF: Duration = Duration::from_secs(1);
/// Between looks whether it is all there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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

/// Tries on the brokers all that these clients need, within `patience` a step: connection, certificates, password, each
/// permission, each topic. What is wrong, a sentence each.
pub async fn attempt(settings: &KafkaSettings, clients: &[Client], patience: Duration) -> Vec<String> {
    let Some(cluster) = settings.cluster() else { return Vec::new() };
    let troubles = troubles(cluster, needs(settings, clients), patience).await;
    troubles.into_iter().map(|trouble| trouble.text).collect()
}

async fn troubles(cluster: Cluster, needs: Needs, patience: Duration) -> Vec<Trouble> {
    let asked = tokio::task::spawn_blocking(move || attempt::attempt(&cluster, &needs, patience));
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
            Client::Shipper => Stream::ALL.iter().for_each(|stream| add(stream.topic(), Operation::Write)),
            Client::Registry => {
                add(REGISTRY, Operation::Read);
                add(REGISTRY, Operation::Write);
                needs.transactional_id = Some(cluster.topic(REGISTRY));
            }
            Client::Follower => add(REGISTRY, Operation::Read),
            Client::Group => {
                Stream::ALL.iter().for_each(|stream| add(stream.topic(), Operation::Read));
                add(CONVERSIONS, Operation::Write);
                needs.group = Some(settings.group_name());
            }
            Client::Facts => add(FACTS, Operation::Write),
            Client::Topics => {
                for topic in [CLICKS, CONVERSIONS, FACTS, REGISTRY] {
                    add(topic, Operation::DescribeConfigs);
                }
            }
        }
    }
    needs.topics = topics.into_iter().collect();
    needs
}

/// Tries until all is there, while the process goes on starting; what waiting can't mend ends it. Kafka need not be
/// there.
pub fn judge(settings: &KafkaSettings, clients: &'static [Client], process: &Process) {
    let Some(cluster) = settings.cluster() else { return };
    let (needs, ending, stop) = (needs(settings, clients), process.ending.clone(), process.stop.clone());
    let judged = async move {
        loop {
            let troubles = troubles(cluster.clone(), needs.clone(), ANSWER_MAX).await;
            if troubles.is_empty() {
                return;
            }
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
}

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

/// Shows a client's trouble, and ends the process where it can't be mended by waiting and nothing has worked yet:
/// what has worked before is shown and waited for, since redirects go on without it.
pub struct Shown {
    component: Component,
    ending: Ending,
    has_worked: bool,
}

impl Shown {
    /// Shows it there.
    pub fn new(component: Component, process: &Process) -> Shown {
        Shown { component, ending: process.ending.clone(), has_worked: false }
    }

    /// It works.
    pub fn works(&mut self) {
        self.has_worked = true;
        self.component.ready();
    }

    /// It does not, for this reason; `otherwise` where none has been heard.
    pub fn waits(&mut self, trouble: Option<Trouble>, otherwise: &str) {
        let Some(trouble) = trouble else { return self.component.not_ready(otherwise) };
        if !trouble.may_heal && !self.has_worked {
            // Once is enough.
            self.has_worked = true;
            self.ending.fail(Failure::Brokers(trouble.text.clone()));
        }
        self.component.not_ready(trouble.text);
    }
}

/// Keeps `shown` true to whether brokers answer, have both streams' topics and let the group work, until `stop`.
///
/// # Errors
/// librdkafka does not accept its properties.
pub fn watch(
    cluster: &Cluster,
    group: Heard,
    mut shown: Shown,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<>, KafkaError> {
    let topics = Stream::ALL.map(|stream| cluster.topic(stream.topic()));
    let mut client = Listener::new(cluster)?;
    Ok(async move {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let topics = topics.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let found = topics.iter().try_for_each(|topic| client.describe(topic, ANSWER_MAX).map(drop));
                (client, found.map_err(|error| error.trouble()))
            });
            let Ok((returned, found)) = asked.await else { return };
            client = returned;
            match found.err().or_else(|| group.last()) {
                None => shown.works(),
                trouble => shown.waits(trouble, ""),
            }
        }
    })
}
