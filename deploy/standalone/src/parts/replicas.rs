//! The servers that facts are written to and looked up in: which one this process asks first, and what it waits for.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::erase;
use whence_aggregator::clickhouse::replicas::{ReplicaSettings, Replicas, warning};
use whence_aggregator::servers::Servers;
use whence_runtime::health::{Component, Health};

use crate::settings::{AggregatorSettings, ClickHouseSettings};

/// The component in readiness that says what is waited for.
pub const COMPONENT: &str = "aggregator.clickhouse";
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What passes sooner is nobody's business.
const WAIT_SHOWN: Duration = Duration::from_secs(5);
/// How long a person waits for a replica to have what the others have.
const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(30);

/// The servers as an aggregator uses them. Which one is first depends on the member's name, so that it is the same
/// after a restart, or else on chance: aggregators spread over them.
pub fn of_aggregator(
    servers: &Servers,
    clickhouse: &ClickHouseSettings,
    aggregator: &AggregatorSettings,
    member: Option<&str>,
) -> Replicas {
    let first = match member {
        Some(member) => {
            let mut hasher = DefaultHasher::new();
            member.hash(&mut hasher);
            hasher.finish()
        }
        None => RandomState::new().hash_one(()),
    };
    Replicas::new(each(servers), first as usize, aggregator.replica_settings(clickhouse))
}

/// The servers for one command, which rather fails than waits.
pub fn for_a_person(servers: &Servers, clickhouse: &ClickHouseSettings) -> Replicas {
    let settings = ReplicaSettings {
        is_cluster: clickhouse.clickhouse_cluster.is_some(),
        catch_up_max: INTERACTIVE_TIMEOUT,
        wait_max: INTERACTIVE_TIMEOUT,
    };
    Replicas::new(each(servers), 0, settings)
}

fn each(servers: &Servers) -> Vec<(String, clickhouse::Client)> {
    let urls = servers.urls().iter().enumerate();
    urls.map(|(index, url)| (url.authority(), servers.one(index))).collect()
}

/// Looks after them until `stop`: moves on when one says nothing, shows what is waited for and what is left of
/// erasures.
pub fn look_after(replicas: &Replicas, health: &Health, stop: &CancellationToken) {
    let component = health.component(COMPONENT);
    component.ready();
    let (watched, stop) = (replicas.clone(), stop.clone());
    let erasures = erase::Watch::new(replicas.clone());
    tokio::spawn(async move {
        let looking = async { tokio::join!(watched.watch(), show(&watched, &component), erasures.run()) };
        stop.run_until_cancelled(looking).await;
    });
}

async fn show(replicas: &Replicas, component: &Component) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut registered = 0;
    loop {
        ticks.tick().await;
        match replicas.waiting_for(WAIT_SHOWN) {
            Some(what) => component.not_ready(format!("waiting for {what}")),
            None => component.ready(),
        }
        if replicas.registered() != registered {
            registered = replicas.registered();
            if let Some(warning) = warning(registered) {
                tracing::warn!("{warning}");
            }
        }
    }
}
