//! An engine with the tables in it, and questions to them.

use crate::consistent::CONSISTENT;
use clickhouse::Client;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use whence_aggregator::clickhouse::{
    ClickHouseStore, StoreSettings,
    migrate::{TableSettings, migrate, set_tables},
};
use whence_clickhouse_embedded::testing::EngineProcess;
use whence_schemas::sql::Topology;

pub struct World {
    pub client: Client,
    pub store: ClickHouseStore,
    // Dropped in this order: the server before its data.
    _engine: EngineProcess,
    pub dir: TempDir,
}

impl World {
    pub async fn new() -> World {
        let dir = TempDir::new().unwrap();
        let (engine, client) = start(dir.path());
        migrate(&client, "whence", &Topology::Single).await.unwrap();
        set_tables(
            std::slice::from_ref(&client),
            &Topology::Single,
            TableSettings {
                sync: true,
                blocks_remembered: TableSettings::BLOCKS_REMEMBERED,
                remembered_for: Duration::MAX,
            },
        )
        .await
        .unwrap();
        let store = ClickHouseStore::new(client.clone(), StoreSettings::default());
        World { client, store, _engine: engine, dir }
    }

    /// The same with an engine that has started again.
    pub fn restarted(self) -> World {
        let World { _engine, dir, .. } = self;
        assert!(_engine.terminate().unwrap().success());
        let (engine, client) = start(dir.path());
        let store = ClickHouseStore::new(client.clone(), StoreSettings::default());
        World { client, store, _engine: engine, dir }
    }

    pub async fn count(&self, sql: &str) -> u64 {
        self.client.query(sql).fetch_one::<u64>().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Polls until the query gives `wanted`; panics with what it gave last when that takes longer than
    /// anything here on a loaded machine.
    pub async fn until(&self, sql: &str, wanted: u64) {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let found = self.count(sql).await;
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{sql} gives {found}, not {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_zero(&self, what: &str, sql: &str) {
        let deadline = Instant::now() + Duration::from_secs(240);
        loop {
            let found = self.count(sql).await;
            if found == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {found}: {sql}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Looks at [`CONSISTENT`].
    pub async fn check_consistent(&self) {
        for (what, sql) in CONSISTENT {
            // Rows are seen before their rollups are: what was sent last may still be on its way.
            self.until_zero(what, sql).await;
        }
    }
}

fn start(dir: &Path) -> (EngineProcess, Client) {
    let engine = EngineProcess::start(&dir.join("clickhouse")).unwrap();
    let client = Client::default()
        .with_url(engine.url())
        .with_user("default")
        .with_password(engine.password())
        .with_database("whence");
    (engine, client)
}
