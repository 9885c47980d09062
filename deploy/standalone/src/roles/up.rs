//! `whence up`: everything in one process and a child, on one machine, with nothing else installed.
//!
//! With `kafka-brokers` the journals are shipped to Kafka and the aggregator is a member of its group;
//! without, it reads the journals. With `clickhouse-url` that server is used; without, the embedded engine
//! runs as a child.
//!
//! Links are answered before anything else is there, and whatever happens to the rest.

use std::sync::Arc;

use clap::{ArgMatches, Command};
use whence_ingest::api::KeyUses;
use whence_runtime::settings::{self, Effective};
use whence_runtime::shutdown::Shutdown;

use super::facts::{Facts, Surroundings};
use super::keys;
use crate::descriptors::{Limit, fit_up};
use crate::failure::Failure;
use crate::parts::ingest::{self, Ingest};
use crate::parts::registry::Opened;
use crate::parts::{engine, kafka};
use crate::process::{self, Process, Role};
use crate::settings::{UpSettings, load};

/// `whence up`
pub fn command() -> Command {
    let about = "Runs everything on this machine: edge, events API, aggregator, ClickHouse, console";
    settings::command::<UpSettings>(Command::new("up").about(about))
}

/// Runs it until it is told to stop.
///
/// # Errors
/// Settings are wrong, or a part can't be started.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let loaded = load::<UpSettings>(flags)?;
    let (mut settings, effective) = (loaded.settings, loaded.effective);
    if settings.clickhouse.clickhouse_url.is_empty() {
        // Said before anything else is done.
        engine::library(&settings.engine)?;
    }
    let role = Role { name: "up", required: Some(ingest::REQUIRED) };
    process::run(role, settings.process.clone(), &loaded.warnings, async |process| {
        fit_up(&mut settings, Limit { descriptors: process.descriptors, effective: &effective })?;
        up(&settings, &effective, process).await
    })
}

async fn up(settings: &UpSettings, effective: &[Effective], mut process: Process) -> Result<(), Failure> {
    let secrets = keys::secrets(&settings.secrets, &process)?;
    let admin = keys::admin_key(&settings.api, &process)?;
    let webhook_secrets = Arc::new(settings.webhooks.named().expect("the settings were checked for them"));
    let key_uses = Arc::new(KeyUses::default());
    let mut facts = Facts::new(settings, &process);
    kafka::judge(&settings.kafka, kafka::UP, &process)?;
    let registry = match settings.kafka.cluster() {
        None => Opened::embedded(&process).await?,
        Some(cluster) => Opened::kafka(cluster, &process).await?,
    };
    let callers = settings.proxies.callers(&settings.shares).called(&settings.process.site.allowed_hosts);
    let parts = ingest::Parts {
        edge: &settings.edge,
        tls: &settings.tls,
        proxies: &settings.proxies,
        shares: &settings.shares,
        callers: callers.clone(),
        api: &settings.api,
        journals: &settings.journals,
        secrets: &secrets,
        webhook_secrets: Arc::clone(&webhook_secrets),
        reach: settings.reach.reach(),
        admin: admin.clone(),
        key_uses: Arc::clone(&key_uses),
        registry: &registry,
    };
    let ingest = Ingest::start(parts, &mut process).await?;
    process.data.note_contents();

    let outbox = ingest.outbox();
    let surroundings = Surroundings {
        settings,
        effective,
        secrets: &secrets,
        webhook_secrets: &webhook_secrets,
        admin: &admin,
        key_uses: &key_uses,
        registry: &registry.registry,
        outbox: &outbox,
        callers: &callers,
    };
    let stop = process.stop.clone();
    // Whatever there is of it when the process is to stop is stopped in order.
    let brought_up = stop.run_until_cancelled(facts.bring_up(&surroundings, &mut process)).await;
    let outcome = match brought_up {
        Some(Ok(())) => process.announce().await,
        Some(failed) => failed,
        None => Ok(()),
    };
    if outcome.is_ok() {
        stop.cancelled().await;
    } else {
        tracing::error!("a component cannot be started, stopping");
    }
    let shutdown = stages(ingest, registry, facts, &process);
    let ended = process.finish(shutdown.run().await).await;
    outcome.and(ended)
}

/// First what takes in, then what carries on, then where it goes to.
fn stages(ingest: Ingest, registry: Opened, facts: Facts, process: &Process) -> Shutdown {
    let limit = process.limit();
    let shutdown = ingest.stages(process.shutdown(), limit);
    let (shutdown, facts) = facts.ship_stages(shutdown, limit);
    let shutdown = registry.stages(shutdown, limit);
    facts.stages(shutdown, limit)
}
