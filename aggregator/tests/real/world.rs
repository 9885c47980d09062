//! An engine with the tables in it, and questions to them.

use clickhouse::Client;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use whence_aggregator::clickhouse::{
    ClickHouseStore, StoreSettings,
    migrate::{migrate, sync_inserts},
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
        let engine = EngineProcess::start(&dir.path().join("clickhouse")).unwrap();
        let client = Client::default().with_url(engine.url()).with_database("whence");
        migrate(&client, "whence", &Topology::Single).await.unwrap();
        sync_inserts(&client, &Topology::Single, true).await.unwrap();
        let store = ClickHouseStore::new(client.clone(), StoreSettings::default());
        World { client, store, _engine: engine, dir }
    }

    pub async fn count(&self, sql: &str) -> u64 {
        self.client.query(sql).fetch_one::<u64>().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Polls until the query gives `wanted`; panics with what it gave last after a minute.
    pub async fn until(&self, sql: &str, wanted: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
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
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.count(sql).await;
            if found == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {found}: {sql}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What must hold of any set of facts, whatever was sent.
    pub async fn check_consistent(&self) {
        for (what, sql) in [
            ("offsets missing", "SELECT toUInt64(sum(abs(missing))) FROM reconciliation"),
            ("offsets twice", "SELECT toUInt64(sum(abs(extra))) FROM reconciliation"),
            ("clicks twice", "SELECT toUInt64(count() - uniqExact(id)) FROM clicks"),
            ("leads twice", "SELECT toUInt64(count() - uniqExact(id)) FROM leads WHERE revision = 0"),
            (
                "groups in which hourly rollup and raw differ",
                "SELECT count() FROM (
                    SELECT program, referrer, channel, hour, verdict, sum(n) AS difference FROM (
                        SELECT program, referrer, channel, toStartOfHour(toDateTime(ts, 'UTC')) AS hour,
                            toString(verdict) AS verdict, toInt64(sign) AS n FROM clicks WHERE live
                        UNION ALL
                        SELECT program, referrer, channel, hour, toString(verdict), -clicks FROM funnel_hourly WHERE clicks != 0)
                    GROUP BY ALL HAVING difference != 0)",
            ),
            (
                "difference of the rollups' sums",
                "SELECT assumeNotNull(toUInt64(abs((SELECT sum(clicks) + 1000 * sum(leads) + 100000 * sum(qualifications) FROM funnel_hourly)
                    - (SELECT sum(clicks) + 1000 * sum(leads) + 100000 * sum(qualifications) FROM funnel_daily))))",
            ),
            (
                "difference of leads and qualifications",
                "SELECT assumeNotNull(toUInt64(abs((SELECT sum(leads) + 100000 * sum(qualifications) FROM funnel_hourly)
                    - (SELECT sum(sign) FROM leads WHERE live) - 100000 * (SELECT sum(sign) FROM qualifications WHERE live))))",
            ),
        ] {
            // Rows are seen before their rollups are: what was sent last may still be on its way.
            self.until_zero(what, sql).await;
        }
    }
}
