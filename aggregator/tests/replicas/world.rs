//! A cluster with the tables in it, and rows for them.

use clickhouse::Client;
use std::{path::Path, sync::Mutex, time::Duration};
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;
use whence_aggregator::{
    clickhouse::{
        ClickHouseStore, StoreSettings,
        migrate::{TableSettings, migrate, set_tables},
        replicas::{ReplicaSettings, Replicas},
    },
    position::{BlockRange, Horizon, Partition},
    store::Rows,
};
use whence_clickhouse_replica::cluster::{CLUSTER, Cluster};
use whence_schemas::{
    event::Verdict,
    ids::{ClickId, Incarnation},
    rows::{ClickRow, Lc},
    sql::Topology,
    time::UnixMs,
    topics::Stream,
};

/// One at a time: each is four processes.
static TURN: Mutex<()> = Mutex::new(());

/// A part that Keeper never got, since it died at that moment, is seen on its replica for five minutes: ClickHouse looks after
/// it then (`MAX_AGE_OF_LOCAL_PART_THAT_WASNT_ADDED_TO_ZOOKEEPER`). The tests of `commits` do it on purpose.
const DEADLINE: Duration = Duration::from_secs(400);

pub struct World {
    pub cluster: Cluster,
    _dir: TempDir,
    _turn: std::sync::MutexGuard<'static, ()>,
}

impl World {
    /// With the tables.
    pub async fn new(replicas: usize) -> World {
        World::empty(replicas).with_tables().await
    }

    /// The same with a proxy between Keeper and each replica.
    pub async fn proxied(replicas: usize) -> World {
        World::of(|dir| Cluster::start_proxied(dir, replicas)).with_tables().await
    }

    async fn with_tables(self) -> World {
        let world = self;
        migrate(&world.client(0), "whence", &topology()).await.unwrap();
        world.set_tables(Duration::from_secs(3600)).await;
        world
    }

    pub fn empty(replicas: usize) -> World {
        World::of(|dir| Cluster::start(dir, replicas))
    }

    fn of(start: impl FnOnce(&Path) -> Cluster) -> World {
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let dir = TempDir::new().unwrap();
        World { cluster: start(dir.path()), _dir: dir, _turn: turn }
    }

    /// Says how many tables were set.
    pub async fn set_tables(&self, remembered_for: Duration) -> usize {
        let settings = TableSettings { sync: false, blocks_remembered: 1000, remembered_for };
        set_tables(&self.clients(), &topology(), settings).await.unwrap()
    }

    pub fn client(&self, replica: usize) -> Client {
        Client::default()
            .with_url(self.cluster.url(replica))
            .with_user("default")
            .with_password(self.cluster.password())
            .with_database("whence")
    }

    pub fn clients(&self) -> Vec<Client> {
        (0..self.cluster.urls().len()).map(|replica| self.client(replica)).collect()
    }

    /// All of them, `first` first.
    pub fn replicas(&self, first: usize) -> Replicas {
        let settings = ReplicaSettings {
            is_cluster: true,
            catch_up_max: Duration::from_secs(20),
            wait_max: Duration::from_secs(120),
        };
        let servers = self.cluster.urls().into_iter().zip(self.clients()).collect();
        Replicas::new(servers, first, settings)
    }

    /// One process's store, which asks `first` first.
    pub fn store(&self, first: usize) -> ClickHouseStore {
        store(self.replicas(first))
    }

    pub async fn count(&self, replica: usize, sql: &str) -> u64 {
        let asked = self.client(replica).query(sql).fetch_one::<u64>().await;
        asked.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Polls until a replica gives this number.
    pub async fn until(&self, replica: usize, sql: &str, wanted: u64) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.client(replica).query(sql).fetch_one::<u64>().await;
            if found.as_ref().is_ok_and(|found| *found == wanted) {
                return;
            }
            if Instant::now() > deadline {
                let mut others = Vec::new();
                for client in self.clients() {
                    others.push(client.query(sql).fetch_one::<u64>().await);
                }
                panic!("{sql} gives {found:?} on replica {replica}, not {wanted}; on each: {others:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn store(replicas: Replicas) -> ClickHouseStore {
    let settings = StoreSettings {
        insert_timeout: Duration::from_secs(20),
        lookup_timeout: Duration::from_secs(20),
        hot_clicks_max: 0,
    };
    ClickHouseStore::new(replicas, settings)
}

pub fn topology() -> Topology {
    Topology::Cluster { name: CLUSTER.into() }
}

pub const AT: UnixMs = UnixMs(1_770_000_000_000);

pub fn range(first: u64, end: u64) -> BlockRange {
    let partition = Partition { stream: Stream::Clicks, number: 0 };
    BlockRange { incarnation: Incarnation(Uuid::from_u128(1)), partition, first, end }
}

/// What precedes the block that begins here.
pub fn before(first: u64) -> Horizon {
    range(first, first + 1).horizon()
}

pub fn click_id(number: u64) -> ClickId {
    let mut random = [1; 10];
    random[1..9].copy_from_slice(&number.to_be_bytes());
    ClickId::mint(AT, &random, true)
}

/// One row an offset.
pub fn clicks(first: u64, end: u64) -> Rows {
    let row = |number| ClickRow {
        program: Lc("demo".into()),
        ts: AT,
        id: click_id(number),
        referrer: "r1".into(),
        link: "go.example/r1".into(),
        channel: Lc("email".into()),
        destination: "https://shop.example/".into(),
        registry_version: 1,
        verdict: Verdict::Human,
        reason: Lc("browser".into()),
        made_by: Verdict::Human,
        made_by_reason: Lc("browser".into()),
        reading: Lc(String::new()),
        visitor: number,
        address: number,
        prefix: number,
        requests: 1,
        live: true,
        sign: 1,
        incarnation: Incarnation(Uuid::from_u128(1)),
        partition: 0,
        offset: number,
    };
    Rows::Clicks((first..end).map(row).collect())
}

pub fn names(first: u64, end: u64) -> Vec<(String, ClickId)> {
    (first..end).map(|number| ("demo".to_owned(), click_id(number))).collect()
}
