//! `whence up`: everything in one process and a child, on one machine, with nothing else installed.
//!
//! With `kafka-brokers` the journals are shipped to Kafka and the aggregator is a member of its group;
//! without, it reads the journals. With `clickhouse-url` that server is used; without, the embedded engine
//! runs as a child.
//!
//! Links are answered before anything else is there, and whatever happens to the rest.

use std::sync::Arc;

use clap::{ArgMatches, Command};
use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::ClickHouseStore;
use whence_clickhouse_embedded::supervise::Supervisor;
use whence_ingest::registry::Registry;
use whence_runtime::settings::{self, Effective};
use whence_runtime::shutdown::Shutdown;

use super::keys;
use crate::addresses::url;
use crate::failure::Failure;
use crate::parts::aggregation::{Aggregation, Tools};
use crate::parts::ingest::{self, Ingest};
use crate::parts::{dimensions, engine, journals, registry, store};
use crate::process::{self, Process, Role};
use crate::secrets::Secrets;
use crate::settings::{UpSettings, load};

/// `whence up`
pub fn command() -> Command {
    let about = "Runs everything on this machine: edge, events API, aggregator, ClickHouse";
    settings::command::<UpSettings>(Command::new("up").about(about))
}

/// Runs it until it is told to stop.
///
/// # Errors
/// Settings are wrong, or a part can't be started.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let loaded = load::<UpSettings>(flags)?;
    let (settings, effective) = (loaded.settings, loaded.effective);
    if settings.clickhouse.clickhouse_url.is_none() {
        // Said before anything else is done.
        engine::library(&settings.engine)?;
    }
    let role = Role { name: "up", required: Some(ingest::REQUIRED) };
    process::run(role, settings.process.clone(), &loaded.warnings, async |process| {
        up(&settings, &effective, process).await
    })
}

async fn up(settings: &UpSettings, effective: &[Effective], mut process: Process) -> Result<(), Failure> {
    let secrets = keys::secrets(&settings.secrets, &process)?;
    let admin = keys::admin_key(&settings.api, &process)?;
    for component in [store::COMPONENT, dimensions::COMPONENT] {
        process.health.component(component);
    }
    let registry = registry::embedded(&process).await?;
    let parts = ingest::Parts {
        edge: &settings.edge,
        api: &settings.api,
        journals: &settings.journals,
        secrets: &secrets,
        admin,
        registry: Arc::clone(&registry),
    };
    let ingest = Ingest::start(parts, &mut process).await?;

    let mut facts = Facts::default();
    let stop = process.stop.clone();
    // Whatever there is of it when the process is to stop is stopped in order.
    let brought_up =
        stop.run_until_cancelled(facts.bring_up(settings, effective, &secrets, &*registry, &mut process));
    if let Some(failed @ Err(_)) = brought_up.await {
        tracing::error!("a part cannot be started, stopping");
        stop.cancel();
        let shutdown = facts.stages(ingest.stages(process.shutdown(), process.limit()), &process);
        let _ = process.finish(shutdown.run().await).await;
        return failed;
    }
    process.announce().await?;
    stop.cancelled().await;
    let shutdown = facts.stages(ingest.stages(process.shutdown(), process.limit()), &process);
    process.finish(shutdown.run().await).await
}

/// What turns records into facts. Comes up when it can.
#[derive(Default)]
struct Facts {
    engine: Option<Supervisor>,
    aggregation: Option<Aggregation>,
    /// Stops what only watches and follows.
    followers: CancellationToken,
}

impl Facts {
    async fn bring_up(
        &mut self,
        settings: &UpSettings,
        effective: &[Effective],
        secrets: &Secrets,
        registry: &dyn Registry,
        process: &mut Process,
    ) -> Result<(), Failure> {
        let journals = journals::find(&process.data.journals())
            .map_err(|source| Failure::File { path: process.data.journals(), source })?;
        let grace = settings.journals.journal_grace;
        tokio::spawn(journals::keep(journals.clone(), grace, self.followers.clone()));

        let url = self.clickhouse(settings, effective, process).await?;
        process.book.note(|addresses| addresses.clickhouse = Some(url.clone()))?;
        let client = store::client(&url, &settings.clickhouse, &settings.account);
        let component = process.health.component(store::COMPONENT);
        store::prepare_until_done(&client, &settings.clickhouse, &component).await;
        tokio::spawn(store::watch(client.clone(), component, self.followers.clone()));

        let names = process.health.component(dimensions::COMPONENT);
        dimensions::describe();
        let shared = Arc::clone(registry.shared());
        tokio::spawn(dimensions::keep(client.clone(), shared, names, self.followers.clone()));

        whence_aggregator::metrics::describe();
        let tools = Tools {
            store: ClickHouseStore::new(client, settings.aggregator.store_settings(&settings.clickhouse)),
            settings: settings.aggregator.loop_settings(),
            keys: Arc::new(secrets.keys.clone()),
        };
        self.aggregation = Some(Aggregation::over_journals(journals, grace, &tools));
        Ok(())
    }

    /// The address of the given server, or of the embedded engine, which is started.
    async fn clickhouse(
        &mut self,
        settings: &UpSettings,
        effective: &[Effective],
        process: &Process,
    ) -> Result<String, Failure> {
        if let Some(url) = &settings.clickhouse.clickhouse_url {
            return Ok(url.clone());
        }
        let call = engine::Call::new(process.data.engine(), &settings.engine, &settings.account, effective)?;
        let component = process.health.component(store::COMPONENT);
        let started = engine::start(Arc::new(call), &settings.engine, process.limit(), &component).await?;
        let address = started.address();
        self.engine = Some(started);
        Ok(url(address))
    }

    /// First the blocks in flight, then the engine that they are inserted into.
    fn stages(self, shutdown: Shutdown, process: &Process) -> Shutdown {
        let Self { engine, aggregation, followers } = self;
        let shutdown = match aggregation {
            Some(aggregation) => aggregation.stages(shutdown, process.limit()),
            None => shutdown,
        };
        let stop_engine = async move {
            followers.cancel();
            if let Some(engine) = engine {
                engine.stop().await;
            }
        };
        shutdown.stage("clickhouse", process.limit(), stop_engine)
    }
}
