//! `whence ingest`: edge, events API, registry and shipper over Kafka. As many as the traffic needs.

use std::sync::Arc;

use clap::{ArgMatches, Command};
use whence_runtime::settings;

use super::keys;
use crate::descriptors::{Limit, fit_ingest};
use crate::failure::Failure;
use crate::parts::ingest::{self, Ingest};
use crate::parts::registry::Opened;
use crate::parts::shipper::Shipper;
use crate::parts::{journals, kafka};
use crate::process::{self, Process, Role};
use crate::settings::{IngestSettings, load};

/// `whence ingest`
pub fn command() -> Command {
    let about = "Runs edge, events API, registry and shipper over Kafka";
    settings::command::<IngestSettings>(Command::new("ingest").about(about))
}

/// Runs it until it is told to stop.
///
/// # Errors
/// Settings are wrong, or a part can't be started.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let loaded = load::<IngestSettings>(flags)?;
    let mut settings = loaded.settings;
    let role = Role { name: "ingest", required: Some(ingest::REQUIRED) };
    process::run(role, settings.process.clone(), &loaded.warnings, async |process| {
        let limit = Limit { descriptors: process.descriptors, effective: &loaded.effective };
        fit_ingest(&mut settings, limit)?;
        serve(&settings, process).await
    })
}

async fn serve(settings: &IngestSettings, mut process: Process) -> Result<(), Failure> {
    let secrets = keys::secrets(&settings.secrets, &process)?;
    let admin = keys::admin_key(&settings.api, &process)?;
    let cluster = settings.kafka.cluster().expect("the settings were checked for brokers");
    kafka::judge(&settings.kafka, kafka::INGEST, &process)?;
    let registry = Opened::kafka(cluster.clone(), &process).await?;
    let parts = ingest::Parts {
        edge: &settings.edge,
        tls: &settings.tls,
        proxies: &settings.proxies,
        shares: &settings.shares,
        callers: settings.proxies.callers(&settings.shares).called(&settings.process.site.allowed_hosts),
        api: &settings.api,
        journals: &settings.journals,
        secrets: &secrets,
        webhook_secrets: Arc::new(settings.webhooks.named().expect("the settings were checked for them")),
        reach: settings.reach.reach(),
        admin,
        key_uses: Arc::default(),
        registry: &registry,
    };
    let ingest = Ingest::start(parts, &mut process).await?;
    let journals = journals::find(&process.data.journals())
        .map_err(|source| Failure::File { path: process.data.journals(), source })?;
    let config = settings.ship.config(cluster, &settings.journals);
    let shipper = Shipper::start(config, journals, &process)?;
    process.announce().await?;
    process.stop.cancelled().await;

    let limit = process.limit();
    let shutdown = ingest.stages(process.shutdown(), limit);
    let shutdown = shipper.stages(shutdown, limit);
    let shutdown = registry.stages(shutdown, limit);
    process.finish(shutdown.run().await).await
}
