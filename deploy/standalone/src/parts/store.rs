//! ClickHouse as this process reaches it: the servers, the tables, and whether it answers.

use std::time::{Duration, Instant};

use clickhouse::Client;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::migrate::{MigrateError, Migrated, migrate, set_tables};
use whence_aggregator::servers::{Login, ServerUrl, Servers, trouble};
use whence_runtime::health::Component;
use whence_runtime::tls::{self, TlsError};
use whence_schemas::sql::Topology;

use super::contact::{Need, contact, tables};
use crate::chain::chain;
use crate::failure::Failure;
use crate::settings::{ClickHouseSettings, RetentionSettings};

const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// Looks at what lasts, while something is in the way, and the time between two.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
const SLOW: Duration = Duration::from_secs(1);

/// The name of ClickHouse's component in readiness.
pub const COMPONENT: &str = "clickhouse";
/// The same as somebody finds it who connects now.
pub const CONNECTIONS: &str = "clickhouse.connections";
const CONNECT_EVERY: Duration = Duration::from_secs(5);

/// The servers at these addresses, as the settings have them.
///
/// # Errors
/// Files of certificates or keys can't be used.
pub fn servers(
    urls: Vec<ServerUrl>,
    login: Login,
    settings: &ClickHouseSettings,
) -> Result<Servers, TlsError> {
    let tls = match urls.iter().any(ServerUrl::is_https) {
        true => tls::client(&settings.tls())?,
        false => tls::unused(),
    };
    Ok(Servers::new(urls, login, tls))
}

/// The addresses as they are noted and shown.
pub fn shown(servers: &Servers) -> String {
    servers.urls().iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Brings the database to this version's tables, once; returns what was done.
///
/// # Errors
/// See [`MigrateError`].
pub async fn prepare(
    servers: &Servers,
    clickhouse: &ClickHouseSettings,
    retention: &RetentionSettings,
) -> Result<Migrated, MigrateError> {
    let topology = clickhouse.topology();
    let each: Vec<Client> = (0..servers.urls().len()).map(|index| servers.one(index)).collect();
    // One and the same from beginning to end: another replica may not know yet what this one has heard.
    let client = first_to_answer(&each).await;
    let ran = migrate(client, &servers.login().database, &topology).await?;
    let set = set_tables(&each, &topology, clickhouse.table_settings(retention)).await?;
    if set > 0 {
        tracing::debug!(tables = set, "settings of tables changed");
    }
    Ok(ran)
}

/// The same until it has succeeded. Meanwhile `component` says what is in the way.
pub async fn prepare_until_done(
    servers: &Servers,
    clickhouse: &ClickHouseSettings,
    retention: &RetentionSettings,
    component: &Component,
) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let obstacle = contact(servers, &clickhouse.topology(), Need::Migrate).await.obstacle(servers);
        let why = match obstacle {
            Some(obstacle) => obstacle.text,
            None => match prepare(servers, clickhouse, retention).await {
                Ok(ran) if ran == Migrated::default() => return,
                Ok(ran) => return tracing::info!(?ran, "migrations ran"),
                Err(error) => chain(&error),
            },
        };
        tracing::warn!(why, ?backoff, "the tables are not ready");
        component.not_ready(why);
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// The first one that says anything; where none does, the first one, which then says why.
async fn first_to_answer(servers: &[Client]) -> &Client {
    for server in servers {
        let bare = server.clone().with_database("default");
        let asked = bare.query("SELECT 1").fetch_one::<u8>();
        if matches!(timeout(ANSWER_MAX, asked).await, Ok(Ok(_))) {
            return server;
        }
    }
    &servers[0]
}

/// Waits until ClickHouse can be used as `need` says. Meanwhile `component` says what is in the way.
///
/// # Errors
/// A fault that waiting can't fix.
pub async fn await_use(
    servers: &Servers,
    topology: &Topology,
    need: Need,
    component: &Component,
) -> Result<(), Failure> {
    while let Some(obstacle) = contact(servers, topology, need).await.obstacle(servers) {
        if obstacle.is_final {
            return Err(obstacle.into());
        }
        component.not_ready(obstacle.text);
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}

/// Refuses to start if there is a fault that waiting can't fix; passing ones are left to whoever waits.
///
/// # Errors
/// There is such a fault.
pub async fn refuse_what_lasts(servers: &Servers, topology: &Topology, need: Need) -> Result<(), Failure> {
    for _ in 0..LOOKS {
        let began = Instant::now();
        match contact(servers, topology, need).await.obstacle(servers) {
            Some(obstacle) if obstacle.is_final => return Err(obstacle.into()),
            // A server that refuses and hangs up may be heard to hang up only: it is asked again, unless it is slow.
            Some(_) if began.elapsed() < SLOW => tokio::time::sleep(BETWEEN_LOOKS).await,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Keeps `component` true to whether ClickHouse answers who connects now, until `stop`: the connections that this
/// process has may go on when nobody else gets one.
pub async fn watch_connections(servers: Servers, component: Component, stop: CancellationToken) {
    let mut ticks = interval(CONNECT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match stop.run_until_cancelled(connect(&servers)).await {
            Some(Ok(())) => component.ready(),
            Some(Err(why)) => component.not_ready(format!("a new connection is not answered: {why}")),
            None => return,
        }
    }
}

/// By connections of their own, the servers in turn; why none of them answers.
async fn connect(servers: &Servers) -> Result<(), String> {
    let mut why = Vec::new();
    for (index, url) in servers.urls().iter().enumerate() {
        let client = servers.one(index);
        let asked = client.query("SELECT 1").fetch_one::<u8>();
        match timeout(ANSWER_MAX, asked).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => why.push(format!("{url}: {}", trouble(&error))),
            Err(_) => why.push(format!("{url}: no answer within {} s", ANSWER_MAX.as_secs())),
        }
    }
    Err(why.join("; "))
}

/// Keeps `component` true to whether ClickHouse answers and has this version's tables, until `stop`.
pub async fn watch(servers: Servers, component: Component, stop: CancellationToken) {
    whence_metrics::begin("whence_aggregator::servers");
    let client = servers.any();
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match stop.run_until_cancelled(tables(&client)).await {
            Some(Ok(_)) => component.ready(),
            Some(Err(trouble)) => component.not_ready(trouble.text),
            None => return,
        }
    }
}
