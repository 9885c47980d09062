//! `whence console`: lineage, status and reports as JSON, over ClickHouse and the registry in Kafka.

use std::sync::Arc;

use clap::{ArgMatches, Command};
use tokio_util::sync::CancellationToken;
use whence_ingest::api::{AdminKey, KeyUses};
use whence_runtime::settings;

use super::keys;
use crate::descriptors::{Limit, fit_console};
use crate::failure::Failure;
use crate::parts::accounts;
use crate::parts::console::{Console, Keys};
use crate::parts::contact::Need;
use crate::parts::registry::Opened;
use crate::parts::{kafka, store};
use crate::process::{self, Process, Role};
use crate::settings::{ConsoleRoleSettings, load};

/// `whence console`
pub fn command() -> Command {
    let about = "Runs the console: lineage, status and reports as JSON";
    settings::command::<ConsoleRoleSettings>(Command::new("console").about(about))
}

/// Runs it until it is told to stop.
///
/// # Errors
/// Settings are wrong, or a part can't be started.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let loaded = load::<ConsoleRoleSettings>(flags)?;
    let mut settings = loaded.settings;
    let role = Role { name: "console", required: None };
    process::run(role, settings.process.clone(), &loaded.warnings, async |process| {
        let limit = Limit { descriptors: process.descriptors, effective: &loaded.effective };
        fit_console(&mut settings, limit)?;
        serve(&settings, process).await
    })
}

async fn serve(settings: &ConsoleRoleSettings, mut process: Process) -> Result<(), Failure> {
    let secrets = keys::secrets(&settings.secrets, &process)?;
    let cluster = settings.kafka.cluster().expect("the settings were checked for brokers");
    let urls = settings.clickhouse.clickhouse_url.clone();
    let login = accounts::given(&settings.account, &urls);
    let servers = store::servers(urls, login, &settings.clickhouse)?;
    process.book.note(|addresses| addresses.clickhouse = Some(store::shown(&servers)))?;
    store::refuse_what_lasts(&servers, &settings.clickhouse.topology(), Need::Read).await?;
    let client = servers.any();
    kafka::judge(&settings.kafka, kafka::CONSOLE, &process)?;
    let registry = Opened::kafka(cluster, &process).await?;
    let followers = CancellationToken::new();
    let component = process.health.component(store::COMPONENT);
    tokio::spawn(store::watch(servers, component, followers.clone()));
    let uses = Arc::new(KeyUses::default());
    let written = (Arc::clone(&uses), Arc::clone(&registry.registry), followers.clone());
    tokio::spawn(async move { written.0.write(written.1.as_ref(), written.2).await });
    let callers = settings.proxies.callers(&settings.shares).called(&settings.process.site.allowed_hosts);
    let keys = Keys { registry: registry.registry.clone(), admin: AdminKey::nobodys(), uses, callers };
    let console = Console::start(&settings.console, client, secrets.identity, keys).await?;
    process.book.note(|addresses| addresses.console = Some(console.url()))?;
    process.announce().await?;
    process.stop.cancelled().await;

    let limit = process.limit();
    let shutdown = console.stages(process.shutdown(), limit);
    let unfollow = async move { followers.cancel() };
    let shutdown = registry.stages(shutdown, limit).stage("followers", limit, unfollow);
    process.finish(shutdown.run().await).await
}
