//! What turns records into facts in `whence up`. Comes up when it can, part by part; what there is of it is
//! stopped in order at any moment.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::ClickHouseStore;
use whence_aggregator::journal::JournalOutbox;
use whence_aggregator::servers::Servers;
use whence_clickhouse_embedded::supervise::Supervisor;
use whence_ingest::api::{AdminKey, KeyUses};
use whence_ingest::registry::Registry;
use whence_ingest::webhooks::NamedSecrets;
use whence_kafka::Cluster;
use whence_runtime::settings::Effective;
use whence_runtime::shares::Callers;
use whence_runtime::shutdown::Shutdown;

use crate::addresses::url;
use crate::backup::door::Engine;
use crate::failure::Failure;
use crate::parts::accounts::{self, Embedded};
use crate::parts::aggregation::{Aggregation, Tools};
use crate::parts::console::{Console, Keys};
use crate::parts::contact::Need;
use crate::parts::journals::{self, Journal};
use crate::parts::kafka::Shown;
use crate::parts::shipper::{self, Shipper};
use crate::parts::{
    account, completeness, dimensions, engine, kafka, outbound, partition_status, replicas, retention, store,
    tokens,
};
use crate::process::Process;
use crate::secrets::Secrets;
use crate::settings::UpSettings;

/// What is there already.
pub struct Surroundings<'a> {
    /// All settings.
    pub settings: &'a UpSettings,
    /// The same, to be handed to the engine's process.
    pub effective: &'a [Effective],
    /// Token keys and hashing secrets.
    pub secrets: &'a Secrets,
    /// The secrets that endpoints name.
    pub webhook_secrets: &'a Arc<NamedSecrets>,
    /// The key that may do everything.
    pub admin: &'a AdminKey,
    /// On which days keys are used.
    pub key_uses: &'a Arc<KeyUses>,
    /// Programs, referrers, links.
    pub registry: &'a Arc<dyn Registry>,
    /// Into the journal of the conversions.
    pub outbox: &'a JournalOutbox,
    /// What one network may take of what is there for all callers.
    pub callers: &'a Callers,
}

/// The parts, as far as they are up.
#[derive(Default)]
pub struct Facts {
    engine: Option<Supervisor>,
    shipper: Option<Shipper>,
    aggregation: Option<Aggregation>,
    console: Option<Console>,
    /// Stops what only watches and follows.
    followers: CancellationToken,
}

impl Facts {
    /// Nothing is up, and readiness says so.
    pub fn new(settings: &UpSettings, process: &Process) -> Self {
        if settings.clickhouse.clickhouse_url.is_empty() {
            process.backups.engine(Engine::Refused("its engine is starting: try again when it is ready"));
        }
        let kafka = settings.kafka.cluster().map(|_| shipper::COMPONENT);
        for component in [store::COMPONENT, dimensions::COMPONENT].into_iter().chain(kafka) {
            process.health.component(component);
        }
        Self::default()
    }

    /// Brings up one part after another, each as soon as what it needs is there.
    ///
    /// # Errors
    /// A part can't be had at all. What is only away is waited for.
    pub async fn bring_up(
        &mut self,
        around: &Surroundings<'_>,
        process: &mut Process,
    ) -> Result<(), Failure> {
        let settings = around.settings;
        let journals = journals::find(&process.data.journals())
            .map_err(|source| Failure::File { path: process.data.journals(), source })?;
        let cluster = settings.kafka.cluster();
        let grace = settings.journals.journal_grace;
        if cluster.is_none() {
            // From the start: how far ClickHouse is behind matters most while it is away.
            tokio::spawn(journals::keep(journals.clone(), grace, self.followers.clone()));
        }
        // Not one after the other: each may be away, and neither waits for the other.
        let ((), Ready { servers, readers }) = tokio::try_join!(
            ship(&mut self.shipper, cluster.as_ref(), &journals, settings, process),
            clickhouse(&mut self.engine, around, process),
        )?;
        process.book.note(|addresses| addresses.clickhouse = Some(store::shown(&servers)))?;
        if let Some(cluster) = &cluster {
            tokens::refuse_forgetful(&servers, &settings.clickhouse.topology(), cluster).await?;
        }
        let member = settings.kafka.kafka_member.as_deref();
        let replicas = replicas::of_aggregator(&servers, &settings.clickhouse, &settings.aggregator, member);
        replicas::look_after(&replicas, &process.health, &self.followers);
        let component = process.health.component(store::COMPONENT);
        tokio::spawn(store::watch(servers, component, self.followers.clone()));
        let component = process.health.advisory(store::CONNECTIONS);
        tokio::spawn(store::watch_connections(readers.clone(), component, self.followers.clone()));
        dimensions::start(&replicas, around.registry, &process.health, &self.followers);

        let keys = Keys {
            registry: Arc::clone(around.registry),
            admin: around.admin.clone(),
            uses: Arc::clone(around.key_uses),
            callers: around.callers.clone(),
        };
        let identity = around.secrets.identity.clone();
        let console = Console::start(&settings.console, readers.any(), identity, keys).await?;
        process.book.note(|addresses| addresses.console = Some(console.url()))?;
        self.console = Some(console);

        whence_metrics::begin("whence_aggregator");
        tokio::spawn(partition_status::watch(process.health.clone(), self.followers.clone()));
        let places = match &cluster {
            Some(cluster) => account::PositionSource::Group(Box::new(settings.kafka.group(cluster))),
            None => account::PositionSource::Journals(process.data.journals()),
        };
        let component = process.health.advisory(account::COMPONENT);
        let every = settings.aggregator.verify_every;
        tokio::spawn(account::watch(replicas.clone(), places, every, component, self.followers.clone()));
        let source = match &cluster {
            Some(cluster) => completeness::Source::Kafka(Box::new(settings.kafka.group(cluster))),
            None => completeness::Source::Journals(journals.clone()),
        };
        tokio::spawn(completeness::keep(source, replicas.clone(), self.followers.clone()));
        let companion = outbound::companion(outbound::Parts {
            settings: &settings.deliveries,
            reach: settings.reach.reach(),
            aggregator: &settings.aggregator,
            replicas: replicas.clone(),
            registry: around.registry,
            secrets: Arc::clone(around.webhook_secrets),
            cluster: cluster.as_ref(),
            health: &process.health,
            stop: self.followers.clone(),
        })?;
        let store = ClickHouseStore::new(replicas.clone(), settings.aggregator.store_settings());
        let parts = retention::Parts {
            settings: settings.keep.clone(),
            registry: Arc::clone(around.registry),
            cluster: cluster.clone(),
            replicas,
            store: store.clone(),
        };
        let component = process.health.advisory(retention::COMPONENT);
        tokio::spawn(retention::keep(parts, component, self.followers.clone()));
        let tools = Tools {
            companion: Some(companion),
            store,
            settings: settings.aggregator.loop_settings(),
            keys: Arc::new(around.secrets.keys.clone()),
        };
        let pause = process.backups.pause.clone();
        self.aggregation = Some(match &cluster {
            Some(cluster) => {
                let group = settings.kafka.group(cluster);
                let shown = Shown::new(process.health.component(kafka::GROUP), process);
                tokio::spawn(kafka::watch(cluster, group.heard.clone(), shown, self.followers.clone())?);
                Aggregation::over_kafka(group, &tools, pause)
            }
            None => Aggregation::over_journals(journals, grace, around.outbox, &tools, pause),
        });
        Ok(())
    }

    /// Sends what the journals hold.
    pub fn ship_stages(mut self, shutdown: Shutdown, limit: Duration) -> (Shutdown, Self) {
        let shutdown = match self.shipper.take() {
            Some(shipper) => shipper.stages(shutdown, limit),
            None => shutdown,
        };
        (shutdown, self)
    }

    /// First the questions and the blocks in flight, then the engine that they are inserted into.
    pub fn stages(self, shutdown: Shutdown, limit: Duration) -> Shutdown {
        let Self { engine, aggregation, console, followers, shipper: _ } = self;
        let shutdown = match console {
            Some(console) => console.stages(shutdown, limit),
            None => shutdown,
        };
        let shutdown = match aggregation {
            Some(aggregation) => aggregation.stages(shutdown, limit),
            None => shutdown,
        };
        let stop_engine = async move {
            followers.cancel();
            if let Some(engine) = engine {
                engine.stop().await;
            }
        };
        shutdown.stage("clickhouse", limit, stop_engine)
    }
}

/// Starts the shipper once the topics are there, if there is a Kafka.
async fn ship(
    slot: &mut Option<Shipper>,
    cluster: Option<&Cluster>,
    journals: &[Journal],
    settings: &UpSettings,
    process: &Process,
) -> Result<(), Failure> {
    let Some(cluster) = cluster else { return Ok(()) };
    let component = process.health.component(shipper::COMPONENT);
    kafka::ensure_until_done(cluster, &settings.topics.plan(&settings.retention), &component).await?;
    let config = settings.ship.config(cluster.clone(), &settings.journals);
    *slot = Some(Shipper::start(config, journals.to_vec(), process)?);
    Ok(())
}

struct Ready {
    servers: Servers,
    /// For questions of people, which must not take the places of blocks and look-ups.
    readers: Servers,
}

/// The given servers, or the embedded engine, which is started; with the tables in it.
async fn clickhouse(
    slot: &mut Option<Supervisor>,
    around: &Surroundings<'_>,
    process: &Process,
) -> Result<Ready, Failure> {
    let settings = around.settings;
    let component = process.health.component(store::COMPONENT);
    let mut urls = settings.clickhouse.clickhouse_url.clone();
    let mut owner = accounts::given(&settings.account, &urls);
    let mut reader = owner.clone();
    let is_given = !urls.is_empty();
    if !is_given {
        let data = process.data.engine();
        let accounts = Embedded::ensure(process.data.path(), &settings.account, &settings.engine)?;
        owner = accounts::login(&accounts.owner, &settings.account);
        reader = accounts::login(&accounts.reader, &settings.account);
        let call = engine::Call::new(data, &settings.engine, accounts, around.effective)?;
        let started = engine::start(Arc::new(call), &settings.engine, process.limit(), &component).await?;
        urls.push(url(started.address()).parse().expect("an address with http:// is one"));
        process.backups.engine(Engine::Held(started.still()));
        *slot = Some(started);
        process.data.note_contents();
    }
    let servers = store::servers(urls.clone(), owner, &settings.clickhouse)?;
    let readers = store::servers(urls, reader, &settings.clickhouse)?;
    if is_given {
        // Once: links are answered already, and what turns up later is shown and waited for.
        store::refuse_what_lasts(&servers, &settings.clickhouse.topology(), Need::Migrate).await?;
    }
    store::prepare_until_done(&servers, &settings.clickhouse, &settings.retention, &component).await;
    Ok(Ready { servers, readers })
}
