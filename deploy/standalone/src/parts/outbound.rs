//! What leaves whence: endpoints and secrets as the registry and the settings have them, and the topic of facts.

use std::sync::Arc;

use tokio::sync::watch;
use whence_aggregator::clickhouse::replicas::Replicas;
use whence_aggregator::work::Companion;
use whence_ingest::registry::Registry;
use whence_ingest::webhooks::NamedSecrets;
use whence_kafka::Cluster;
use whence_outbound::tables::Tables;
use whence_outbound::topic::FactsTopic;
use whence_outbound::{DeliverySettings, Directory, Outbound, machine_time};
use whence_schemas::event::WebhookEndpoint;
use whence_schemas::outgoing::Reach;
use whence_schemas::topics::FACTS;

use crate::failure::Failure;
use crate::settings::AggregatorSettings;

/// Endpoints of the registry, and the secrets that this process was given.
struct Known {
    registry: Arc<dyn Registry>,
    secrets: Arc<NamedSecrets>,
}

impl Directory for Known {
    fn endpoints(&self) -> Vec<WebhookEndpoint> {
        self.registry.shared().read().endpoints().cloned().collect()
    }

    fn secret(&self, program: &str, name: &str) -> Option<&[u8]> {
        self.secrets.get(program, name)
    }

    fn versions(&self) -> watch::Receiver<u64> {
        self.registry.shared().versions()
    }
}

/// What is needed to send.
pub struct Parts<'a> {
    /// How messages are delivered.
    pub settings: &'a DeliverySettings,
    /// Which addresses are called.
    pub reach: Reach,
    /// How long ClickHouse may take.
    pub aggregator: &'a AggregatorSettings,
    /// Where messages and the log are: the servers that blocks are stored by way of.
    pub replicas: Replicas,
    /// Where endpoints are.
    pub registry: &'a Arc<dyn Registry>,
    /// The secrets that endpoints name.
    pub secrets: Arc<NamedSecrets>,
    /// Where the topic of facts is, if there is one.
    pub cluster: Option<&'a Cluster>,
}

/// What runs beside each partition of conversions.
///
/// # Errors
/// librdkafka does not accept its properties.
pub fn companion(parts: Parts<'_>) -> Result<Companion, Failure> {
    whence_outbound::metrics::describe();
    let topic = parts.cluster.map(|cluster| FactsTopic::new(cluster, cluster.topic(FACTS)));
    let outbound = Outbound {
        settings: parts.settings.clone(),
        reach: parts.reach,
        tables: Tables::new(parts.replicas, parts.aggregator.lookup_timeout),
        directory: Arc::new(Known { registry: Arc::clone(parts.registry), secrets: parts.secrets }),
        topic: topic.transpose()?,
        now: Arc::new(machine_time),
    };
    Ok(outbound.companion())
}
