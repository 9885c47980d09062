//! Rows and SQL agree, and the store keeps its promises.

use crate::{
    events::{START, click, click_id},
    world::World,
};
use clickhouse::Row as _;
use serde::Deserialize;
use std::collections::HashSet;
use uuid::Uuid;
use whence_aggregator::{
    click::{self, ClickDedup, DedupSettings},
    clickhouse::migrate::{MigrateError, Migrated, migrate, views_that_differ},
    position::{BlockRange, InsertToken, Partition},
    refusal::Refusal,
    source::Record,
    store::{Rows, Store, StoreError},
};
use whence_schemas::{
    ids::{ClickId, Incarnation},
    rows::{
        BlockRow, ClickEvidenceRow, ClickRow, DisqualificationRow, ErasureRow, IdentifyRow, LeadRow,
        ParticipantRow, QualificationRow, RejectRow, RewardEventRow, RewardRow, RewardTermsRow, Row,
        ShareRow, SubjectKeyRow,
    },
    sql::{BEFORE_BASELINE, MIGRATIONS, Topology},
    topics::Stream,
};

#[derive(clickhouse::Row, Deserialize, Debug, PartialEq)]
struct ColumnRow {
    name: String,
    r#type: String,
}

async fn columns_agree<R: Row>(world: &World) {
    assert_eq!(ColumnRow::COLUMN_NAMES, ["name", "type"]);
    let sql = "SELECT ?fields FROM system.columns WHERE database = 'whence' AND table = ? ORDER BY position";
    let found = world.client.query(sql).bind(R::TABLE).fetch_all::<ColumnRow>().await.unwrap();
    let found: Vec<_> = found.into_iter().map(|column| (column.name, column.r#type)).collect();
    let wanted: Vec<_> = R::columns().into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    assert_eq!(found, wanted, "{}", R::TABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_type_agrees_with_its_table_column_by_column() {
    let world = World::new().await;
    columns_agree::<ClickRow>(&world).await;
    columns_agree::<LeadRow>(&world).await;
    columns_agree::<QualificationRow>(&world).await;
    columns_agree::<DisqualificationRow>(&world).await;
    columns_agree::<IdentifyRow>(&world).await;
    columns_agree::<ParticipantRow>(&world).await;
    columns_agree::<ShareRow>(&world).await;
    columns_agree::<ErasureRow>(&world).await;
    columns_agree::<SubjectKeyRow>(&world).await;
    columns_agree::<ClickEvidenceRow>(&world).await;
    columns_agree::<RewardTermsRow>(&world).await;
    columns_agree::<RewardRow>(&world).await;
    columns_agree::<RewardEventRow>(&world).await;
    columns_agree::<RejectRow>(&world).await;
    columns_agree::<BlockRow>(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_nothing_and_another_versions_database_is_refused() {
    let world = World::new().await;
    assert_eq!(migrate(&world.client, "whence", &Topology::Single).await.unwrap(), Migrated::default());
    // Whatever must complete what is half-written: every table that a block or a view of it writes.
    let short = "SELECT count() FROM system.tables WHERE database = 'whence' \
                 AND create_table_query LIKE '%non_replicated_deduplication_window = %' \
                 AND create_table_query NOT LIKE '%non_replicated_deduplication_window = 100000%'";
    assert_eq!(world.count(short).await, 0);
    // A view whose text has changed is recreated, and no other.
    for sql in ["DROP VIEW funnel", "INSERT INTO whence_views (name, checksum) VALUES ('funnel', 'x')"] {
        world.client.query(sql).execute().await.unwrap();
    }
    let differing = views_that_differ(&world.client).await.unwrap();
    assert_eq!(differing.iter().map(|view| view.name).collect::<Vec<_>>(), ["funnel"]);
    let migrated = migrate(&world.client, "whence", &Topology::Single).await.unwrap();
    assert_eq!(migrated, Migrated { migrations: vec![], views: vec!["funnel"] });
    assert_eq!(world.count("SELECT count() FROM funnel").await, 0);
    assert_eq!(migrate(&world.client, "whence", &Topology::Single).await.unwrap(), Migrated::default());
    let other = "INSERT INTO whence_migrations (number, name, checksum, applied_at) SELECT 29, 'baseline', 'x', now() + 1";
    world.client.query(other).execute().await.unwrap();
    let changed = migrate(&world.client, "whence", &Topology::Single).await.unwrap_err();
    assert!(matches!(changed, MigrateError::Changed { number: 29, .. }), "{changed}");
    let newer = "INSERT INTO whence_migrations (number, name, checksum) VALUES (99, 'later', 'x')";
    world.client.query(newer).execute().await.unwrap();
    let newer = migrate(&world.client, "whence", &Topology::Single).await.unwrap_err();
    assert!(matches!(newer, MigrateError::Newer { found: 99, .. }), "{newer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_last_development_version_goes_on_and_an_older_one_is_refused() {
    let world = World::new().await;
    let list = |number: u32| {
        format!(
            "INSERT INTO whence_migrations (number, name, checksum) SETTINGS async_insert = 0 VALUES ({number}, 'x', 'x')"
        )
    };
    for number in [27, 28] {
        baseline(&world).await;
        world.client.query(&list(number)).execute().await.unwrap();
        let migrated = migrate(&world.client, "whence", &Topology::Single).await;
        match number {
            27 => assert!(matches!(migrated, Err(MigrateError::TooOld { found: 27, .. })), "{migrated:?}"),
            _ => assert_eq!(migrated.unwrap().migrations, numbers_from(29)),
        }
    }
}

/// The database as the baseline makes it, with an empty list of migrations.
async fn baseline(world: &World) {
    let run = async |sql: &str| {
        world.client.query(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    };
    // Views first: they are no use without their tables.
    let there =
        "SELECT name FROM system.tables WHERE database = 'whence' ORDER BY engine LIKE '%View' DESC, name";
    for name in world.client.query(there).fetch_all::<String>().await.unwrap() {
        run(&format!("DROP TABLE {name}")).await;
    }
    for sql in MIGRATIONS[0].statements(&Topology::Single) {
        run(&sql).await;
    }
    run("CREATE TABLE whence_migrations (number UInt32, name String, checksum String, applied_at DateTime DEFAULT now()) \
         ENGINE = ReplacingMergeTree ORDER BY number")
    .await;
}

/// The migrations from this one on.
fn numbers_from(number: u32) -> Vec<u32> {
    MIGRATIONS.iter().map(|migration| migration.number).filter(|known| *known >= number).collect()
}

/// Two persons of ann's, of whom one came twice and bought twice, one of nobody's; a person and a bot have clicked.
const OF_THE_BASELINE: [&str; 3] = [
    "INSERT INTO clicks (program, ts, id, referrer, channel, verdict, requests, live, sign) \
     SELECT 'old', '2026-03-01 10:40:00', generateUUIDv7(), 'ann', 'email', arrayJoin(['human', 'bot']), 1, true, 1",
    "INSERT INTO leads (program, id, occurred_at, referrer, channel, evidence, first_lead, live, sign) VALUES \
     ('old', '00000000-0000-0000-0000-000000000001', '2026-03-01 10:50:00', 'ann', 'email', 'token', '00000000-0000-0000-0000-000000000000', true, 1), \
     ('old', '00000000-0000-0000-0000-000000000002', '2026-03-01 11:50:00', 'ann', 'email', 'alias', '00000000-0000-0000-0000-000000000001', true, 1), \
     ('old', '00000000-0000-0000-0000-000000000003', '2026-03-02 11:50:00', 'ann', 'email', 'code', '00000000-0000-0000-0000-000000000000', true, 1), \
     ('old', '00000000-0000-0000-0000-000000000004', '2026-03-02 11:50:00', '', '', 'none', '00000000-0000-0000-0000-000000000000', true, 1)",
    "INSERT INTO qualifications (program, id, occurred_at, lead_id, referrer, channel, evidence, value_minor, currency, live, sign) \
     SELECT 'old', generateUUIDv4(), '2026-03-03 10:50:00', toUUID('00000000-0000-0000-0000-000000000001'), 'ann', 'email', 'token', \
     arrayJoin([500, 700]), 'EUR', true, 1",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_baseline_gets_what_came_since_and_keeps_its_rows() {
    let world = World::new().await;
    baseline(&world).await;
    let run = async |sql: &str| {
        world.client.query(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    };
    for sql in OF_THE_BASELINE {
        run(sql).await;
    }
    let baseline = &MIGRATIONS[0];
    assert_eq!(baseline.number, BEFORE_BASELINE + 1);
    let done = format!(
        "INSERT INTO whence_migrations (number, name, checksum) VALUES ({}, 'x', '{}')",
        baseline.number,
        baseline.checksum()
    );
    run(&done).await;

    let funnel = async || {
        let sql = "SELECT toString(tuple(referrer, reason, clicks, other_clicks, leads, leads_by_click, leads_by_code, qualified, \
                   lead_events, qualification_events, value_minor)) FROM funnel ORDER BY ALL";
        world.client.query(sql).fetch_all::<String>().await.unwrap()
    };
    // Who had qualified counts as that from the next event on.
    let expected = ["('','no_credit',0,0,1,0,0,0,1,0,{})", "('ann','',1,1,2,1,1,0,3,2,{'EUR':1200})"];
    // The second time as after a death before it was noted down that it had run.
    for number in [30, 32] {
        let forgotten = format!(
            "ALTER TABLE whence_migrations DELETE WHERE number >= {number} SETTINGS mutations_sync = 1"
        );
        run(&forgotten).await;
        if number == 32 {
            // What the last of them drops is still there then.
            let old = baseline.statements(&Topology::Single);
            run(old.iter().find(|sql| sql.starts_with("CREATE TABLE funnel_hourly")).unwrap()).await;
            run("INSERT INTO funnel_hourly SELECT program, referrer, channel, quarter_hour, verdict, currency, \
                 sum(clicks + other_clicks), sum(lead_events), sum(qualification_events), sum(value_minor) \
                 FROM funnel_quarter_hourly GROUP BY ALL").await;
        }
        let migrated = migrate(&world.client, "whence", &Topology::Single).await;
        assert_eq!(migrated.unwrap().migrations, numbers_from(number));
        assert_eq!(funnel().await, expected);
        assert_eq!(
            world
                .count(
                    "SELECT count() FROM system.tables WHERE database = 'whence' AND name = 'funnel_hourly'"
                )
                .await,
            0
        );
    }
    let left = "SELECT count() FROM leads WHERE record = toUUID('00000000-0000-0000-0000-000000000000')";
    assert_eq!(world.count(left).await, 4);
    let is_there = "SELECT count() FROM system.columns WHERE database = 'whence' AND (table, name) IN \
                    (('qualifications', 'payments'), ('clicks', 'made_by'), ('clicks', 'reading'), ('reinstatements', 'disqualification_id'))";
    assert_eq!(world.count(is_there).await, 4);
}

/// What every table, view and column holds, for people: `docs/tables.md`. `WHENCE_UPDATE_DOCS=1` writes it.
#[tokio::test(flavor = "multi_thread")]
async fn the_data_dictionary_has_every_column_and_none_is_without_words() {
    let world = World::new().await;
    let list = |sql: &str| world.client.query(sql).fetch_all::<(String, String, String, String)>();
    let tables = list(
        "SELECT name, engine, comment, sorting_key FROM system.tables \
         WHERE database = 'whence' AND engine != 'MaterializedView' AND name NOT LIKE 'whence\\_%' ORDER BY engine = 'View', name",
    );
    let columns = list(
        "SELECT table, name, type, comment FROM system.columns WHERE database = 'whence' ORDER BY table, position",
    );
    let (tables, columns) = (tables.await.unwrap(), columns.await.unwrap());
    let mut text = String::from(
        "# Tables and views\n\nWritten by a test from the comments in `schemas/sql`; change them there \
         (`WHENCE_UPDATE_DOCS=1`).\n\nRows are signed: a change takes a row back with `sign` -1 and adds another one, so that \
         sums over `sign` are what stands.\n",
    );
    for (table, engine, comment, key) in &tables {
        assert!(!comment.is_empty(), "{table} has no words");
        let parameter =
            if engine == "View" { String::new() } else { format!(" Ordered by `{}`.", key.replace('`', "")) };
        text += &format!("\n## {table}\n\n{comment}{parameter}\n");
        let own: Vec<_> = columns.iter().filter(|(of, ..)| of == table).collect();
        if own.is_empty() {
            text += "\nTakes parameters; its columns are those of the view without `_as_of`, or stand in its file.\n";
            continue;
        }
        text += "\n| column | type | |\n|---|---|---|\n";
        for (_, name, kind, comment) in own {
            assert!(!comment.is_empty(), "{table}.{name} has no words");
            text += &format!("| `{name}` | `{}` | {comment} |\n", kind.replace('|', "\\|"));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tables.md");
    if std::env::var_os("WHENCE_UPDATE_DOCS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "docs/tables.md is not what the tables say: WHENCE_UPDATE_DOCS=1 writes it");
}

fn range(first: u64, end: u64) -> BlockRange {
    let partition = Partition { stream: Stream::Clicks, number: 0 };
    BlockRange { incarnation: Incarnation(Uuid::from_u128(7)), partition, first, end }
}

async fn rows_of(world: &World, range: &BlockRange) -> Vec<Rows> {
    let records: Vec<_> = (range.first..range.end)
        .map(|offset| Record { offset, timestamp: START, payload: Some(click(offset)) })
        .collect();
    let mut dedup = ClickDedup::new(DedupSettings::default());
    click::process(range, &records, &mut dedup, &world.store).await.unwrap()
}

async fn insert(world: &World, token: &InsertToken, tables: &[Rows]) {
    for rows in tables.iter().filter(|rows| !rows.is_empty()) {
        world.store.insert(token, rows).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_block_over_two_months_changes_neither_raw_nor_rollups() {
    let world = World::new().await;
    let block = range(0, 3000);
    for _ in 0..3 {
        // Rebuilt each time, as after a crash: what the first try stored is not before the block.
        let tables = rows_of(&world, &block).await;
        insert(&world, &block.token(), &tables).await;
    }
    assert_eq!(world.count("SELECT count() FROM clicks").await, 3000);
    assert_eq!(world.count("SELECT uniqExact(toYYYYMM(ts)) FROM clicks").await, 2);
    assert_eq!(
        world.count("SELECT toUInt64(sum(clicks + other_clicks)) FROM funnel_quarter_hourly").await,
        3000
    );
    assert_eq!(world.count("SELECT toUInt64(sum(clicks + other_clicks)) FROM funnel_daily").await, 3000);
    world.check_consistent().await;
}

#[derive(clickhouse::Row, Deserialize)]
struct ViewRow {
    source: String,
    target: String,
}

/// Something for each column of a table, as far as its type is a plain one; the rest has its default.
async fn one_row(world: &World, table: &str) -> String {
    let sql = "SELECT ?fields FROM system.columns WHERE database = 'whence' AND table = ? ORDER BY position";
    let columns = world.client.query(sql).bind(table).fetch_all::<ColumnRow>().await.unwrap();
    let values = columns.into_iter().filter_map(|ColumnRow { name, r#type }| {
        let plain = r#type.trim_start_matches("LowCardinality(").trim_end_matches(')');
        let value = match plain {
            "Bool" => "true",
            "String" => "'x'",
            "UUID" => "toUUID('00000000-0000-4000-8000-000000000007')",
            _ if plain.starts_with("Int") || plain.starts_with("UInt") => "1",
            _ if plain.starts_with("DateTime") => "now()",
            _ => return None,
        };
        Some((name, value))
    });
    let (names, values): (Vec<_>, Vec<_>) = values.unzip();
    format!("INSERT INTO {table} ({}) SELECT {}", names.join(", "), values.join(", "))
}

/// All numbers of a table, which merges leave as they are.
async fn sum(world: &World, table: &str) -> u64 {
    let sql =
        "SELECT ?fields FROM system.columns WHERE database = 'whence' AND table = ? AND type LIKE '%Int%'";
    let columns = world.client.query(sql).bind(table).fetch_all::<ColumnRow>().await.unwrap();
    let numbers: Vec<_> = columns.into_iter().map(|column| format!("toInt64({})", column.name)).collect();
    world.count(&format!("SELECT toUInt64(sum({})) FROM {table}", numbers.join(" + "))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_view_counts_a_block_again_that_is_replayed_after_the_engine_has_restarted() {
    let world = World::new().await;
    let views = "SELECT extract(create_table_query, ' FROM (??:whence\\.)??([a-z_]+)') AS source, \
                 extract(create_table_query, ' TO (??:whence\\.)??([a-z_]+)') AS target \
                 FROM system.tables WHERE database = 'whence' AND engine = 'MaterializedView'";
    let views = world.client.query(views).fetch_all::<ViewRow>().await.unwrap();
    assert!(views.len() >= 9, "{}", views.len());
    let tables: HashSet<&String> = views.iter().flat_map(|view| [&view.source, &view.target]).collect();
    let sources: HashSet<&String> = views.iter().map(|view| &view.source).collect();
    let mut counts = Vec::new();
    let mut world = world;
    for _ in 0..2 {
        for source in &sources {
            let row = one_row(&world, source).await;
            let inserted = world
                .client
                .query(&row)
                .with_setting("insert_deduplicate", "1")
                .with_setting("deduplicate_blocks_in_dependent_materialized_views", "1")
                .with_setting("insert_deduplication_token", source.as_str());
            inserted.execute().await.unwrap();
        }
        let mut found = Vec::new();
        for table in &tables {
            found.push((table.as_str(), sum(&world, table).await));
        }
        counts.push(found);
        world = world.restarted();
    }
    assert!(counts[0].iter().all(|(_, sum)| *sum > 0), "{counts:?}");
    assert_eq!(counts[0], counts[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_see_what_was_stored_before_the_block_only() {
    let world = World::new().await;
    let (first, second) = (range(0, 100), range(100, 200));
    for block in [&first, &second] {
        let tables = rows_of(&world, block).await;
        insert(&world, &block.token(), &tables).await;
    }
    let all: Vec<_> = (0..200).map(|number| ("demo".to_owned(), click_id(number))).collect();
    let known = world.store.clicks_known(&second.horizon(), &all).await.unwrap();
    assert_eq!(known, (0..100).map(click_id).collect::<HashSet<ClickId>>());
    let odd_name = vec![("d'e\\mo?".to_owned(), click_id(1))];
    assert!(world.store.clicks_known(&second.horizon(), &odd_name).await.unwrap().is_empty());
    let loaded = world.store.click_ids(&second.horizon(), START, START.plus_ms(86_400_000)).await.unwrap();
    assert_eq!(loaded.into_iter().collect::<HashSet<_>>(), known);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_fit_is_fatal_not_retried() {
    let world = World::new().await;
    world.client.query("DROP TABLE rejects").execute().await.unwrap();
    let record = Record { offset: 0, timestamp: START, payload: None };
    let rows = Rows::Rejects(vec![Refusal::malformed("x").row(&range(0, 1), &record)]);
    let error = world.store.insert(&range(0, 1).token(), &rows).await.unwrap_err();
    assert!(matches!(error, StoreError::Fatal(_)), "{error:?}");
}
