//! The oracle over the real ClickHouse engine: what it reads back fits the ledger, and one row deleted or
//! doubled is found.
//!
//! Needs the engine's server binary and library, see `whence_clickhouse_embedded::testing`. Without them
//! these tests fail.

use crate::common::{
    LOSSY, STRICT,
    inserted::{DATABASE, create_tables, insert_all, programs},
    run::{Run, settings},
    store::stored,
    twin::Faults,
};
use clickhouse::Client;
use std::collections::BTreeMap;
use whence_clickhouse_embedded::testing::EngineProcess;
use whence_loadtest::{
    drive::DriveSettings,
    ledger::Ledger,
    oracle::{
        compare,
        difference::Kind,
        report::funnel_table,
        store::{OFFSETS, Roots, Store, StoreAddress},
        wait::{WaitLimits, expected, wait},
    },
};

/// The tables remember what was inserted and would pass over it.
const AGAIN: &str = "SETTINGS insert_deduplicate = 0";

struct World {
    ledger: Ledger,
    store: Store,
    client: Client,
    // Dropped in this order: the server before its data.
    _engine: EngineProcess,
    _dir: tempfile::TempDir,
}

impl World {
    /// A load on the twin, its rows in the engine.
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let engine = EngineProcess::start(&dir.path().join("clickhouse")).unwrap();
        let client = Client::default()
            .with_url(engine.url())
            .with_user("default")
            .with_password(engine.password())
            .with_database(DATABASE);
        create_tables(&client).await;
        let run = Run::start(Faults::default()).await;
        let (ledger, _) = run.drive(&DriveSettings { clicks: 2_000, ..settings() }).await;
        let (facts, programs) = {
            let records = run.twin.records.lock().unwrap();
            (stored(&records), programs(&records))
        };
        insert_all(&client, &facts).await;
        let address = StoreAddress {
            url: engine.url(),
            database: DATABASE.into(),
            user: "default".into(),
            password: engine.password().to_owned(),
            roots: Roots::machine(),
        };
        World { ledger, store: Store::new(&address, programs), client, _engine: engine, _dir: dir }
    }

    async fn execute(&self, sql: &str) {
        self.client.query_raw(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn differences(&self) -> BTreeMap<Kind, u64> {
        compare(&self.ledger, &self.store.read().await.unwrap(), LOSSY).differences.counts
    }

    /// An id of which there is one row.
    async fn one_row(&self, table: &str) -> String {
        let sql = format!(
            "SELECT toString(id) FROM {table} GROUP BY id HAVING count() = 1 ORDER BY max(offset) DESC LIMIT 1"
        );
        self.client.query(&sql).fetch_one::<String>().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_read_back_fits_and_one_row_deleted_or_doubled_is_found() {
    let world = World::new().await;
    let waited = wait(&world.store, expected(&world.ledger), WaitLimits::default(), |_, _| {}).await.unwrap();
    assert!(waited.is_complete, "{waited:?}");

    let read = world.store.read().await.unwrap();
    let findings = compare(&world.ledger, &read, STRICT);
    assert_eq!(findings.differences.first, [], "{:?}", findings.differences.counts);
    assert!(findings.totals.offsets > 2_000);
    let table = funnel_table(&findings, &read, 5);
    assert!(table.contains("ref-00000") && !table.contains("known"), "{table}");

    for (table, missing, multiple) in [
        ("clicks", Kind::ClickMissing, Kind::ClickMultiple),
        ("leads", Kind::LeadMissing, Kind::LeadMultiple),
        ("qualifications", Kind::QualificationMissing, Kind::QualificationMultiple),
    ] {
        let id = world.one_row(table).await;
        world.execute(&format!("CREATE TABLE kept_{table} AS {table}")).await;
        world.execute(&format!("INSERT INTO kept_{table} SELECT * FROM {table} WHERE id = '{id}'")).await;

        world
            .execute(&format!("ALTER TABLE {table} DELETE WHERE id = '{id}' SETTINGS mutations_sync = 2"))
            .await;
        let found = world.differences().await;
        assert_eq!(found.get(&missing), Some(&1), "{table}: {found:?}");
        assert_eq!(found.get(&Kind::Raw), Some(&1), "{table}: {found:?}");

        // Whoever puts a row back counts it a second time in the rollups.
        world.execute(&format!("INSERT INTO {table} {AGAIN} SELECT * FROM kept_{table}")).await;
        let found = world.differences().await;
        assert_eq!(found.get(&missing), None, "{table}: {found:?}");
        assert_eq!(found.get(&Kind::QuarterHourly), Some(&1), "{table}: {found:?}");

        world.execute(&format!("INSERT INTO {table} {AGAIN} SELECT * FROM kept_{table}")).await;
        let found = world.differences().await;
        assert_eq!(found.get(&multiple), Some(&1), "{table}: {found:?}");
        assert_eq!(found.get(&Kind::Reconciliation), Some(&1), "{table}: {found:?}");
        assert_eq!(found.get(&Kind::ReconciliationView), None, "the view sees it, too: {found:?}");

        world
            .execute(&format!("ALTER TABLE {table} DELETE WHERE id = '{id}' SETTINGS mutations_sync = 2"))
            .await;
        world.execute(&format!("INSERT INTO {table} {AGAIN} SELECT * FROM kept_{table}")).await;
        world.execute("TRUNCATE TABLE funnel_quarter_hourly").await;
        world.execute("TRUNCATE TABLE funnel_daily").await;
        refill_rollups(&world).await;
        assert_eq!(world.differences().await, BTreeMap::new(), "{table} as it was");
    }

    for (table, column) in [
        ("disqualifications", "outcome = 'applied'"),
        ("reinstatements", "given_minor = 77"),
        ("identifies", "live = false"),
        ("participants", "referrer = 'somebody'"),
        ("shares", "channel = 'elsewhere'"),
        ("reward_events", "outcome = 'nothing_open'"),
    ] {
        let one = format!("id = '{}'", world.one_row(table).await);
        let delete = format!("ALTER TABLE {table} DELETE WHERE {one} SETTINGS mutations_sync = 2");
        let put_back = format!("INSERT INTO {table} {AGAIN} SELECT * FROM kept_{table}");
        world.execute(&format!("CREATE TABLE kept_{table} AS {table}")).await;
        world.execute(&format!("INSERT INTO kept_{table} SELECT * FROM {table} WHERE {one}")).await;

        world.execute(&delete).await;
        let found = world.differences().await;
        assert_eq!(found.get(&Kind::EventMissing), Some(&1), "{table}: {found:?}");
        assert_eq!(found.get(&Kind::Reconciliation), Some(&1), "{table}: {found:?}");

        world.execute(&put_back).await;
        assert_eq!(world.differences().await, BTreeMap::new(), "{table} as it was");
        world.execute(&put_back).await;
        let found = world.differences().await;
        assert_eq!(found.get(&Kind::EventMultiple), Some(&1), "{table}: {found:?}");
        assert_eq!(found.get(&Kind::Reconciliation), Some(&1), "{table}: {found:?}");

        world.execute(&delete).await;
        world.execute(&put_back).await;
        let update = format!("ALTER TABLE {table} UPDATE {column} WHERE {one} SETTINGS mutations_sync = 2");
        world.execute(&update.replace("'applied'", "if(outcome = 'applied', 'excess', 'applied')")).await;
        let found = world.differences().await;
        let is_found = |kind| found.get(kind) == Some(&1);
        assert!([Kind::EventWrong, Kind::Outcome].iter().any(is_found), "{table}: {found:?}");
        world.execute(&delete).await;
        world.execute(&put_back).await;
        assert_eq!(world.differences().await, BTreeMap::new(), "{table} as it was");
    }

    let lead: String = world
        .client
        .query("SELECT toString(lead_id) FROM rewards WHERE state = 'held' LIMIT 1")
        .fetch_one()
        .await
        .unwrap();
    let held = format!("lead_id = '{lead}' AND state = 'held'");
    world.execute(&format!("INSERT INTO rewards {AGAIN} SELECT * FROM rewards WHERE {held}")).await;
    let both = BTreeMap::from([(Kind::Reward, 1), (Kind::RewardsDaily, 1)]);
    assert_eq!(world.differences().await, both, "a doubled reward");
    world.execute(&format!("ALTER TABLE rewards DELETE WHERE {held} SETTINGS mutations_sync = 2")).await;
    assert_eq!(world.differences().await, both, "a deleted one, which the rollup has twice");
}

/// A table that the comparison does not know would make records look lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_table_with_outcomes_of_records_is_looked_at() {
    /// Rows that are made of a record and are not its outcome.
    const MADE_OF_OUTCOMES: [&str; 5] =
        ["click_evidence", "outbound_messages", "reward_terms", "rewards", "subject_keys"];
    let dir = tempfile::tempdir().unwrap();
    let engine = EngineProcess::start(&dir.path().join("clickhouse")).unwrap();
    let client = Client::default()
        .with_url(engine.url())
        .with_user("default")
        .with_password(engine.password())
        .with_database(DATABASE);
    create_tables(&client).await;
    let sql = "SELECT c.table FROM system.columns AS c INNER JOIN system.tables AS t \
               ON t.database = c.database AND t.name = c.table \
               WHERE c.database = 'whence' AND c.name = 'offset' AND t.engine LIKE '%MergeTree' ORDER BY c.table";
    let mut known: Vec<String> = OFFSETS
        .iter()
        .map(|sql| sql.rsplit_once("FROM ").unwrap().1.split(' ').next().unwrap().to_owned())
        .chain(MADE_OF_OUTCOMES.map(str::to_owned))
        .collect();
    known.sort();
    assert_eq!(client.query(sql).fetch_all::<String>().await.unwrap(), known);
}

/// Rollups from the raw rows: the views' own statements, run once by hand.
async fn refill_rollups(world: &World) {
    for (view, own) in [
        ("funnel_clicks", "verdict, clicks, other_clicks"),
        ("funnel_leads", "leads, leads_by_click, leads_by_code, lead_events"),
        ("funnel_qualifications", "currency, qualified, qualification_events, value_minor"),
    ] {
        let sql =
            format!("SELECT as_select FROM system.tables WHERE database = '{DATABASE}' AND name = '{view}'");
        let select: String = world.client.query(&sql).fetch_one().await.unwrap();
        let columns = format!("program, referrer, channel, quarter_hour, {own}");
        world.execute(&format!("INSERT INTO funnel_quarter_hourly ({columns}) {AGAIN} {select}")).await;
    }
}
