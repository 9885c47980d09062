//! What leaves whence: endpoints and secrets as the registry and the settings have them, and the topic of facts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::replicas::Replicas;
use whence_aggregator::work::Companion;
use whence_ingest::registry::Registry;
use whence_ingest::webhooks::NamedSecrets;
use whence_kafka::Cluster;
use whence_outbound::status::OutboundStatus;
use whence_outbound::tables::Tables;
use whence_outbound::topic::FactsTopic;
use whence_outbound::{DeliverySettings, Directory, Outbound, machine_time};
use whence_runtime::health::{Component, Health};
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
    /// Where it is shown what keeps messages from leaving.
    pub health: &'a Health,
    /// Ends what shows it.
    pub stop: CancellationToken,
}

/// The name of the component: what is an endpoint's is nothing that this process can do about.
const COMPONENT: &str = "aggregator.deliveries";
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Troubles whose text is shown; `whence deliveries` has all endpoints.
const SHOWN_MAX: usize = 3;

async fn show(status: OutboundStatus, component: Component, stop: CancellationToken) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let troubles = status.troubles();
        let more = troubles.len().saturating_sub(SHOWN_MAX);
        let mut shown = troubles.into_iter().take(SHOWN_MAX).collect::<Vec<_>>().join("; ");
        if more > 0 {
            shown = format!("{shown}; and {more} more");
        }
        if shown.is_empty() { component.ready() } else { component.not_ready(shown) }
    }
}

/// What runs beside each partition of conversions.
///
/// # Errors
/// librdkafka does not accept its properties.
pub fn companion(parts: Parts<'_>) -> Result<Companion, Failure> {
    whence_metrics::begin("whence_outbound");
    let topic = parts.cluster.map(|cluster| FactsTopic::new(cluster, cluster.topic(FACTS)));
    let status = OutboundStatus::default();
    tokio::spawn(show(status.clone(), parts.health.advisory(COMPONENT), parts.stop));
    let outbound = Outbound {
        status,
        settings: parts.settings.clone(),
        reach: parts.reach,
        tables: Tables::new(parts.replicas, parts.aggregator.lookup_timeout),
        directory: Arc::new(Known { registry: Arc::clone(parts.registry), secrets: parts.secrets }),
        topic: topic.transpose()?,
        now: Arc::new(machine_time),
    };
    Ok(outbound.companion())
}
