//! `whence aggregate`: a member of the consumer group that writes to ClickHouse. As many as there are
//! partitions, at most.

use std::sync::Arc;

use clap::{ArgMatches, Command};
use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::ClickHouseStore;
use whence_ingest::api::lacking::{self, Needs};
use whence_runtime::settings;

use super::keys;
use crate::descriptors::{Limit, fit_aggregate};
use crate::failure::Failure;
use crate::parts::accounts;
use crate::parts::aggregation::{Aggregation, Tools};
use crate::parts::contact::Need;
use crate::parts::kafka::Shown;
use crate::parts::registry::Opened;
use crate::parts::{
    account, completeness, dimensions, kafka, outbound, partition_status, replicas, retention, store, tokens,
};
use crate::process::{self, Process, Role};
use crate::settings::{AggregateSettings, load};

/// `whence aggregate`
pub fn command() -> Command {
    let about = "Runs an aggregator: from Kafka to ClickHouse";
    settings::command::<AggregateSettings>(Command::new("aggregate").about(about))
}

/// Runs it until it is told to stop.
///
/// # Errors
/// Settings are wrong, or a part can't be started.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let loaded = load::<AggregateSettings>(flags)?;
    let settings = loaded.settings;
    let role = Role { name: "aggregate", required: None };
    process::run(role, settings.process.clone(), &loaded.warnings, async |process| {
        let limit = Limit { descriptors: process.descriptors, effective: &loaded.effective };
        fit_aggregate(&settings, limit)?;
        serve(&settings, process).await
    })
}

async fn serve(settings: &AggregateSettings, mut process: Process) -> Result<(), Failure> {
    let secrets = keys::secrets(&settings.secrets, &process)?;
    let webhook_secrets = Arc::new(settings.webhooks.named().expect("the settings were checked for them"));
    let cluster = settings.kafka.cluster().expect("the settings were checked for brokers");
    let urls = settings.clickhouse.clickhouse_url.clone();
    let login = accounts::given(&settings.account, &urls);
    let servers = store::servers(urls, login, &settings.clickhouse)?;
    process.book.note(|addresses| addresses.clickhouse = Some(store::shown(&servers)))?;
    let health = process.health.clone();
    let followers = CancellationToken::new();
    let group = settings.kafka.group(&cluster);
    kafka::judge(&settings.kafka, kafka::AGGREGATE, &process)?;
    let shown = Shown::new(health.component(kafka::GROUP), &process);
    tokio::spawn(kafka::watch(&cluster, group.heard.clone(), shown, followers.clone())?);
    // Followed from the start: names are there when the tables are.
    let registry = Opened::kafka(cluster.clone(), &process).await?;
    let following = Arc::clone(registry.registry.shared());
    tokio::spawn(lacking::tell(following, webhook_secrets.clone(), Needs::Endpoints, followers.clone()));
    let component = health.component(store::COMPONENT);
    let stop = process.stop.clone();
    let mut aggregation = None;
    let topology = settings.clickhouse.topology();
    let usable = store::await_use(&servers, &topology, Need::Write, &component);
    if let Some(usable) = stop.run_until_cancelled(usable).await {
        usable?;
        tokens::refuse_forgetful(&servers, &topology, &cluster).await?;
        whence_metrics::begin("whence_aggregator");
        let member = settings.kafka.kafka_member.as_deref();
        let replicas = replicas::of_aggregator(&servers, &settings.clickhouse, &settings.aggregator, member);
        replicas::look_after(&replicas, &health, &followers);
        let connections = health.advisory(store::CONNECTIONS);
        tokio::spawn(store::watch_connections(servers.clone(), connections, followers.clone()));
        tokio::spawn(store::watch(servers, component, followers.clone()));
        dimensions::start(&replicas, &registry.registry, &health, &followers);
        tokio::spawn(partition_status::watch(health.clone(), followers.clone()));
        let component_of_account = health.advisory(account::COMPONENT);
        let every = settings.aggregator.verify_every;
        let places = account::PositionSource::Group(Box::new(settings.kafka.group(&cluster)));
        tokio::spawn(account::watch(
            replicas.clone(),
            places,
            every,
            component_of_account,
            followers.clone(),
        ));
        let source = completeness::Source::Kafka(Box::new(settings.kafka.group(&cluster)));
        tokio::spawn(completeness::keep(source, replicas.clone(), followers.clone()));
        let companion = outbound::companion(outbound::Parts {
            settings: &settings.deliveries,
            reach: settings.reach.reach(),
            aggregator: &settings.aggregator,
            replicas: replicas.clone(),
            registry: &registry.registry,
            secrets: Arc::clone(&webhook_secrets),
            cluster: Some(&cluster),
            health: &health,
            stop: followers.clone(),
        })?;
        let store = ClickHouseStore::new(replicas.clone(), settings.aggregator.store_settings());
        let parts = retention::Parts {
            settings: settings.keep.clone(),
            registry: Arc::clone(&registry.registry),
            cluster: Some(cluster.clone()),
            replicas,
            store: store.clone(),
        };
        let component = health.advisory(retention::COMPONENT);
        tokio::spawn(retention::keep(parts, component, followers.clone()));
        let tools = Tools {
            companion: Some(companion),
            store,
            settings: settings.aggregator.loop_settings(),
            keys: Arc::new(secrets.keys),
        };
        aggregation = Some(Aggregation::over_kafka(group, &tools, process.backups.pause.clone()));
        process.announce().await?;
        stop.cancelled().await;
    }

    let limit = process.limit();
    let mut shutdown = process.shutdown();
    if let Some(aggregation) = aggregation {
        shutdown = aggregation.stages(shutdown, limit);
    }
    let unfollow = async move { followers.cancel() };
    let shutdown = registry.stages(shutdown, limit).stage("followers", limit, unfollow);
    process.finish(shutdown.run().await).await
}
