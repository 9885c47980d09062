//! ClickHouse as this process reaches it: the client, the tables, and whether it answers.

use std::time::Duration;

use clickhouse::Client;
use secrecy::ExposeSecret;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::migrate::{MigrateError, migrate, set_tables};
use whence_runtime::health::Component;
use whence_schemas::sql::MIGRATIONS;

use super::accounts::Login;
use crate::failure::chain;
use crate::settings::ClickHouseSettings;

const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// The name of ClickHouse's component in readiness.
pub const COMPONENT: &str = "clickhouse";

/// A client of the server at `url`.
pub fn client(url: &str, login: &Login) -> Client {
    let client = Client::default().with_url(url).with_user(&login.user).with_database(&login.database);
    match &login.password {
        Some(password) => client.with_password(password.expose_secret()),
        None => client,
    }
}

/// Brings the database to this version's tables, once; returns the numbers of the migrations that ran.
///
/// # Errors
/// See [`MigrateError`].
pub async fn prepare(
    client: &Client,
    clickhouse: &ClickHouseSettings,
    database: &str,
) -> Result<Vec<u32>, MigrateError> {
    let topology = clickhouse.topology();
    let ran = migrate(client, database, &topology).await?;
    set_tables(client, &topology, clickhouse.table_settings()).await?;
    Ok(ran)
}

/// The same until it has succeeded. Meanwhile `component` says why it has not.
pub async fn prepare_until_done(
    client: &Client,
    clickhouse: &ClickHouseSettings,
    database: &str,
    component: &Component,
) {
    let mut backoff = BACKOFF_MIN;
    loop {
        match prepare(client, clickhouse, database).await {
            Ok(ran) if ran.is_empty() => return,
            Ok(ran) => return tracing::info!(?ran, "migrations ran"),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, ?backoff, "the tables are not ready");
                component.not_ready(error);
            }
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Waits until the tables are there, made by somebody else. Meanwhile `component` says what is missing.
pub async fn await_tables(client: &Client, component: &Component) {
    loop {
        match ask(client).await {
            Ok(()) => return,
            Err(reason) => component.not_ready(reason),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Keeps `component` true to whether ClickHouse answers and has this version's tables, until `stop`.
pub async fn watch(client: Client, component: Component, stop: CancellationToken) {
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match stop.run_until_cancelled(ask(&client)).await {
            Some(Ok(())) => component.ready(),
            Some(Err(reason)) => component.not_ready(reason),
            None => return,
        }
    }
}

/// Whether the newest migration that ran is the newest this version knows.
async fn ask(client: &Client) -> Result<(), String> {
    let known = MIGRATIONS.last().map_or(0, |migration| migration.number);
    let query = client.query("SELECT max(number) FROM whence_migrations");
    let newest = match timeout(ANSWER_MAX, query.fetch_one::<u32>()).await {
        Ok(Ok(newest)) => newest,
        Ok(Err(clickhouse::error::Error::BadResponse(text))) if is_missing(&text) => 0,
        Ok(Err(error)) => return Err(chain(&error)),
        Err(_) => return Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
    };
    match newest.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => {
            Err(format!("the database has migration {newest} of {known}: run `whence migrate`"))
        }
        std::cmp::Ordering::Greater => Err(format!(
            "the database has migration {newest}, this version knows {known}: use the newer whence"
        )),
    }
}

/// Unknown database (81) or table (60).
fn is_missing(text: &str) -> bool {
    ["Code: 81.", "Code: 60."].iter().any(|code| text.contains(code))
}
