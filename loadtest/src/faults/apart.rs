//! The roles over Kafka, each in its own process: ClickHouse (the embedded one, or replicas), two of ingest with sockets at
//! one edge address, two of aggregate with names that they keep over restarts.

use super::{
    FaultError, Ground,
    blocks::BlockLog,
    broker::{Broker, Brokers},
    cluster::Cluster,
    load::{Load, store},
    roles::{Roles, Until, free_address},
    tls::TlsFront,
};
use crate::oracle::store::StoreAddress;
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The aggregators.
pub(super) const AGGREGATORS: [&str; 2] = ["aggregate-1", "aggregate-2"];
const INGESTS: [&str; 2] = ["ingest-1", "ingest-2"];
const REPLAYED: &str = "whence_blocks_replayed_total";

/// All of it.
#[derive(Debug)]
pub(super) struct Apart {
    pub roles: Roles,
    logs: BTreeMap<&'static str, BlockLog>,
    replayed_by_metric: u64,
    pub clickhouse: StoreAddress,
    edge: String,
    api: String,
    key: PathBuf,
    /// Before ClickHouse, where it is called by https.
    _tls: Option<TlsFront>,
    /// Dropped last, as it is what the others lean on.
    pub broker: Option<Broker>,
}

impl Apart {
    /// With small blocks and a short linger: some block is open at almost any time.
    pub async fn start(ground: &Ground, brokers: &Brokers) -> Result<Apart, FaultError> {
        let linger = ["--linger", "100ms", "--block-records-max", "500"];
        Apart::start_over(ground, brokers, Tables::Embedded, &linger).await
    }

    /// Over this ClickHouse, with further arguments for the aggregators.
    pub async fn start_over(
        ground: &Ground,
        brokers: &Brokers,
        tables: Tables<'_>,
        aggregators: &[&str],
    ) -> Result<Apart, FaultError> {
        let data = ground.dir.join("kafka");
        let broker = match brokers {
            Brokers::Running(_) => None,
            Brokers::Script(script) => Some(Broker::start(script, &data).await?),
            Brokers::Secured(script) => Some(Broker::start_secured(script, &data).await?),
        };
        let address = match (brokers, &broker) {
            (Brokers::Running(address), _) => address.clone(),
            (_, broker) => broker.as_ref().map(|broker| broker.address.clone()).unwrap_or_default(),
        };
        let properties = broker.as_ref().and_then(|broker| broker.properties.as_ref());
        let properties = properties.map(|path| path.to_string_lossy().into_owned());
        let mut roles = Roles::new(&ground.whence, &ground.dir)?;
        // Unlike any other run's, where the broker is shared.
        let prefix = format!("faults-{:08x}.", rand::random::<u32>());
        let mut bus = vec!["--kafka-brokers", &*address];
        match &properties {
            // Where permissions are for the usual names.
            Some(properties) => bus.extend(["--kafka-properties-file", properties]),
            None => bus.extend(["--kafka-prefix", &prefix]),
        }
        let partitions = ["--clicks-partitions", "4", "--conversions-partitions", "2"];
        roles.tool(&[&["topics"], &bus[..], &partitions].concat()).await?;

        let (mut store, address) = match tables {
            Tables::Embedded => embedded(&mut roles).await?,
            Tables::Replicas(cluster) => (cluster.flags(), cluster.address(0)),
        };
        // Secured brokers, secured tables.
        let tls = match (&broker, tables) {
            (Some(Broker { properties: Some(_), .. }), Tables::Embedded) => {
                let front = TlsFront::before(&store[1], &ground.dir).await?;
                store[1].clone_from(&front.url);
                let authority = front.authority.to_string_lossy().into_owned();
                store.extend(["--clickhouse-ca-file".to_owned(), authority]);
                Some(front)
            }
            _ => None,
        };
        let store: Vec<&str> = store.iter().map(String::as_str).collect();
        roles.tool(&[&["migrate"], &store[..]].concat()).await?;

        let (secrets, key) = (ground.dir.join("secrets.toml"), ground.dir.join("admin-key"));
        let secrets = secrets.to_string_lossy().into_owned();
        roles.tool(&["secrets", "new", &secrets]).await?;
        let text = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        write_private(&key, &text).map_err(|source| FaultError::File { path: key.clone(), source })?;

        let shared = ["--secrets-file", &secrets];
        for name in AGGREGATORS {
            let own = ["--kafka-member", name];
            roles.add(name, "aggregate", &[&bus[..], &shared, &store, aggregators, &own].concat())?;
        }
        let edge = free_address();
        let key_text = key.to_string_lossy().into_owned();
        for name in INGESTS {
            let own = ["--api-admin-key-file", &key_text, "--edge-listen", &edge];
            // The load has wrong keys on purpose, more than one network may send.
            let own = [&own[..], &["--api-listen", "127.0.0.1:0", "--share-wrong-keys", "1000000"]].concat();
            roles.add_handed(name, "ingest", &edge, &[&bus[..], &shared, &own].concat())?;
        }
        let mut api = String::new();
        for name in AGGREGATORS.into_iter().chain(INGESTS) {
            api = roles.wait(name, Until::Ready).await?.api.unwrap_or(api);
        }
        let logs = AGGREGATORS.map(|name| (name, BlockLog::new(roles.log_path(name)))).into();
        let edge = format!("http://{edge}");
        Ok(Apart {
            roles,
            logs,
            replayed_by_metric: 0,
            clickhouse: address,
            edge,
            api,
            key,
            _tls: tls,
            broker,
        })
    }

    /// A load for it.
    pub async fn load(&self, ground: &Ground) -> Result<Load, FaultError> {
        Load::prepare(ground, &self.edge, &self.api, &self.key).await
    }

    /// An aggregator's log.
    pub fn log(&mut self, name: &'static str) -> &mut BlockLog {
        self.logs.get_mut(name).expect("each aggregator has a log")
    }

    /// Counts the replays of an aggregator's life that is about to end.
    pub async fn count_replays(&mut self, name: &'static str) -> Result<(), FaultError> {
        self.replayed_by_metric += self.roles.counter(name, REPLAYED).await?;
        Ok(())
    }

    /// Replays by metric and by log, and the tables of what was replayed, over all lives.
    pub async fn replays(&mut self) -> Result<Replays, FaultError> {
        let mut replays = Replays::default();
        for name in AGGREGATORS {
            self.count_replays(name).await?;
            let path = self.roles.log_path(name);
            let log = self.log(name);
            log.read_on().map_err(|source| FaultError::File { path, source })?;
            replays.by_log += log.blocks.replays;
            replays.tables.extend(log.blocks.tables_of_replayed.clone());
        }
        replays.by_metric = self.replayed_by_metric;
        Ok(replays)
    }
}

/// Where the tables are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tables<'a> {
    /// In an engine of its own.
    Embedded,
    /// On replicas that run already.
    Replicas(&'a Cluster),
}

/// Settings by which others find it, and where it is.
async fn embedded(roles: &mut Roles) -> Result<(Vec<String>, StoreAddress), FaultError> {
    let clickhouse = free_address();
    roles.add("clickhouse", "clickhouse", &["--clickhouse-listen", &clickhouse])?;
    let clickhouse = roles.wait("clickhouse", Until::Ready).await?.clickhouse.unwrap_or_default();
    let address = store(&clickhouse, &roles.data("clickhouse"))?;
    let password = roles.data("clickhouse").join("clickhouse-password").to_string_lossy().into_owned();
    let flags = ["--clickhouse-url", &clickhouse, "--clickhouse-password-file", &password];
    Ok((flags.map(str::to_owned).into(), address))
}

/// What was replayed.
#[derive(Debug, Default)]
pub(super) struct Replays {
    pub by_metric: u64,
    pub by_log: u64,
    pub tables: BTreeMap<super::blocks::BlockName, usize>,
}

/// Writes a file that its owner alone may read: a process refuses a key that others could.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
