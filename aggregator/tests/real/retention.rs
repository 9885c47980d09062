//! What is past its age goes, on the real engine: all adds up at every step, nothing that is still needed is taken, and
//! what somebody else takes is still found.

use crate::world::World;
use bytes::Bytes;
use std::time::Duration;
use uuid::Uuid;
use whence_aggregator::{
    account::{Committed, Difference, deep, quick},
    click::{self, ClickDedup, DedupSettings},
    position::{BlockRange, Partition},
    retention::{Ages, Report, Retention},
    source::Record,
    store::{Rows, Store},
};
use whence_schemas::{
    event::{self, Click, Mode, Verdict},
    ids::{ClickId, Incarnation},
    time::{DAY_MS, UnixMs, parse},
    topics::Stream,
};

const MONTHS: u64 = 6;
const BLOCK: u64 = 200;
const DAY: Duration = Duration::from_secs(86_400);

/// The moment at which retention looks.
fn now() -> UnixMs {
    parse("2025-04-15T00:00:00Z").unwrap()
}

/// Clicks of January to June 2024; those before May are more than 349 days old.
fn ages(days: u32) -> Ages {
    let for_good = DAY * 30_000;
    Ages {
        clicks: DAY * days,
        addresses: for_good,
        rejects: DAY * days,
        deliveries: for_good,
        messages: for_good,
    }
}

fn at(number: u64) -> UnixMs {
    let month = number / BLOCK % MONTHS + 1;
    let first = parse(&format!("2024-{month:02}-01T00:00:00Z")).unwrap();
    first.plus_ms(i64::try_from(number % BLOCK).unwrap() * DAY_MS / 8)
}

fn payload(number: u64) -> Bytes {
    let mut random = [1; 10];
    random[1..9].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    event::encode(&Click {
        id: Bytes::copy_from_slice(ClickId::mint(at(number), &random, true).0.as_bytes()),
        mode: Mode::Live.into(),
        program: "demo".into(),
        link: "go.example/x".into(),
        referrer: "ann".into(),
        channel: "email".into(),
        destination: "https://shop.example/".into(),
        registry_version: 1,
        verdict: Verdict::Human.into(),
        reason: "browser".into(),
        visitor: number + 1,
        address: number + 1,
        prefix: number + 1,
        ..Click::default()
    })
}

/// A block of a month's clicks, of which every tenth is not valid and becomes a reject.
fn range(partition: u32, block: u64) -> BlockRange {
    let partition = Partition { stream: Stream::Clicks, number: partition };
    BlockRange {
        incarnation: Incarnation(Uuid::from_u128(7)),
        partition,
        first: block * BLOCK,
        end: (block + 1) * BLOCK,
    }
}

async fn rows_of(world: &World, range: &BlockRange) -> Vec<Rows> {
    let number = |offset| offset + u64::from(range.partition.number) * 1_000_000 * BLOCK * MONTHS;
    let record = |offset| Record {
        offset,
        timestamp: at(number(offset)),
        payload: Some(match offset % 10 {
            3 => b"no click".as_slice().into(),
            _ => payload(number(offset)),
        }),
    };
    let records: Vec<_> = (range.first..range.end).map(record).collect();
    let mut dedup = ClickDedup::new(DedupSettings::default());
    click::process(range, &records, &mut dedup, &world.store).await.unwrap()
}

async fn insert(world: &World, range: &BlockRange, rows: &[Rows]) {
    for rows in rows.iter().filter(|rows| !rows.is_empty()) {
        world.store.insert(&range.token(), rows).await.unwrap();
    }
}

async fn store_block(world: &World, range: &BlockRange) {
    let rows = rows_of(world, range).await;
    insert(world, range, &rows).await;
    insert(world, range, &[Rows::account(range, &rows)]).await;
}

/// Six months of two partitions.
async fn stored() -> World {
    let world = World::new().await;
    for partition in [0, 1] {
        for block in 0..MONTHS {
            store_block(&world, &range(partition, block)).await;
        }
    }
    world
}

fn retention(world: &World) -> Retention {
    Retention::new(world.client.clone().into(), world.store.clone())
}

async fn pass(world: &World, days: u32) -> Report {
    retention(world).pass(&ages(days), now()).await.unwrap()
}

fn dropped(report: &Report) -> Vec<(&str, u32)> {
    report.dropped.iter().map(|(month, _)| (month.table, month.month)).collect()
}

async fn differences(world: &World) -> (Vec<Difference>, Vec<Difference>) {
    let incarnation = Uuid::from_u128(7).to_string();
    let committed = [0, 1].map(|partition| Committed {
        stream: "clicks".into(),
        partition,
        incarnation: incarnation.clone(),
        next: MONTHS * BLOCK,
    });
    let quick = quick(&world.client, &committed).await.unwrap();
    (quick, deep(&world.client, (0, u32::MAX)).await.unwrap())
}

/// The account, the rows and the view agree.
async fn assert_adds_up(world: &World, when: &str) {
    assert_eq!(differences(world).await, (vec![], vec![]), "{when}");
    let off = "SELECT count() FROM reconciliation WHERE missing != 0 OR extra != 0 OR first_offset != 0";
    assert_eq!(world.count(off).await, 0, "{when}");
}

const CLICKS: &str = "SELECT count() FROM clicks";

#[tokio::test(flavor = "multi_thread")]
async fn whole_months_go_and_all_still_adds_up() {
    let world = stored().await;
    assert_adds_up(&world, "before").await;
    let counted = "SELECT toUInt64(sum(clicks + other_clicks)) FROM funnel_quarter_hourly";
    let (clicks, rolled_up) = (world.count(CLICKS).await, world.count(counted).await);
    let records = world.count("SELECT sum(records) FROM reconciliation").await;

    let report = pass(&world, 349).await;
    let expected: Vec<_> = ["clicks", "rejects"]
        .into_iter()
        .flat_map(|table| (202_401..=202_404).map(move |month| (table, month)))
        .collect();
    assert_eq!(dropped(&report), expected);
    assert_adds_up(&world, "after").await;
    assert_eq!(world.count(CLICKS).await, clicks / 6 * 2);
    assert_eq!(world.count("SELECT count() FROM rejects WHERE toYYYYMM(received_at) < 202405").await, 0);
    assert_eq!(world.count(counted).await, rolled_up, "rollups stay");
    assert_eq!(world.count("SELECT sum(records) FROM reconciliation").await, records);
    assert_eq!(
        world
            .count("SELECT count() FROM past_retention WHERE dropped_at = toDateTime('2025-04-15', 'UTC')")
            .await,
        8
    );

    assert_eq!(pass(&world, 349).await, Report::default(), "nothing is left to do");
    world.client.query("OPTIMIZE TABLE blocks FINAL").execute().await.unwrap();
    assert_adds_up(&world, "folded").await;
    // All of it.
    assert_eq!(pass(&world, 1).await.dropped.len(), 4);
    assert_eq!(world.count(CLICKS).await, 0);
    assert_adds_up(&world, "with nothing left").await;
    let end = world.store.stored_end(Incarnation(Uuid::from_u128(7)), range(0, 0).partition).await.unwrap();
    assert_eq!(end, MONTHS * BLOCK, "what was stored is known without its rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_takes_is_found_beside_what_retention_took() {
    let world = stored().await;
    pass(&world, 349).await;
    world.client.query("ALTER TABLE clicks DROP PARTITION 202405").execute().await.unwrap();
    let (found, _) = differences(&world).await;
    assert!(
        matches!(&found[..], [Difference::Rows { table, month: 202_405, said: 360, stands: 0 }] if table == "clicks"),
        "{found:?}"
    );

    let world = stored().await;
    pass(&world, 349).await;
    // One row of a month that stays, another one in its place.
    for sql in [
        "INSERT INTO clicks SELECT * REPLACE (toUInt64(810) AS offset) FROM (SELECT * FROM clicks WHERE partition = 0 AND offset = 811)",
        "ALTER TABLE clicks DELETE WHERE partition = 0 AND offset = 812 SETTINGS mutations_sync = 1",
    ] {
        world.client.query(sql).execute().await.unwrap();
    }
    let (found, deep) = differences(&world).await;
    assert_eq!(found, vec![], "as many rows as there were");
    assert!(
        deep.iter().any(|found| matches!(found, Difference::Exchanged { month: 202_405, .. })),
        "{deep:?}"
    );
    assert!(deep.iter().any(|found| matches!(found, Difference::Past { .. })), "{deep:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_was_killed_anywhere_ends_with_the_next_one() {
    let world = stored().await;
    // The entry is written, and nothing is dropped yet: rows of a month that is entered may stand or not.
    let entries = "INSERT INTO blocks (stream, partition, incarnation, table, month, first, end, records, rows, positions) \
        SELECT 'retention', 0, toUUID('00000000-0000-0000-0000-000000000000'), arrayJoin(['clicks', 'rejects']), month, 1, 1, 0, 0, 0 \
        FROM (SELECT arrayJoin([202401, 202402]) AS month)";
    world.client.query(entries).execute().await.unwrap();
    assert_adds_up(&world, "entered").await;
    world.client.query("ALTER TABLE clicks DROP PARTITION 202401").execute().await.unwrap();
    assert_adds_up(&world, "half of it is dropped").await;
    assert_eq!(dropped(&pass(&world, 349).await).len(), 7);
    assert_adds_up(&world, "ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_pass_at_once_and_blocks_under_way_change_nothing() {
    let world = stored().await;
    // Its rows are of the first month, and its account is written after the month was dropped.
    let late = range(0, MONTHS);
    let rows = rows_of(&world, &late).await;
    insert(&world, &late, &rows).await;
    assert_adds_up(&world, "under way").await;
    let (mut one, mut other) = (retention(&world), retention(&world));
    let ages = ages(349);
    let (one, other) = tokio::join!(one.pass(&ages, now()), other.pass(&ages, now()));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    assert_adds_up(&world, "dropped").await;
    insert(&world, &late, &[Rows::account(&late, &rows)]).await;
    assert_adds_up(&world, "its account came later").await;
    // Killed before its account, and built again: rows are stored once more, and go with the next pass.
    let again = range(1, MONTHS);
    store_block(&world, &again).await;
    assert_adds_up(&world, "late clicks").await;
    assert_eq!(dropped(&pass(&world, 349).await), [("clicks", 202_401), ("rejects", 202_401)]);
    assert_adds_up(&world, "late clicks are dropped").await;
}

/// A lead of 9 March, of a click of this day, and its reward of this state.
async fn reward(world: &World, number: u32, clicked: &str, state: &str, sign: i8) {
    let id = Uuid::from_u128(number.into());
    for sql in [
        format!(
            "INSERT INTO leads (program, id, received_at, clicked_at, touch_clicked_at, sign) \
             VALUES ('demo', '{id}', '2024-03-09 00:00:00', '{clicked}', '{clicked}', 1)"
        ),
        format!(
            "INSERT INTO rewards (program, lead_id, reward_id, revision, sign, state, amount_minor) \
             VALUES ('demo', '{id}', '{id}', 1, {sign}, '{state}', 100)"
        ),
    ] {
        world.client.query(&sql).execute().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_stays_for_as_long_as_a_reward_that_rests_on_it_is_open() {
    let world = stored().await;
    reward(&world, 1, "2024-02-03 10:00:00", "held", 1).await;
    reward(&world, 2, "2024-03-03 10:00:00", "accrued", 1).await;
    reward(&world, 3, "2024-01-03 10:00:00", "approved", 1).await;
    let report = pass(&world, 349).await;
    let months = |table: &str| -> Vec<u32> {
        report.dropped.iter().filter(|(at, _)| at.table == table).map(|(at, _)| at.month).collect()
    };
    assert_eq!(months("clicks"), [202_401, 202_404]);
    assert_eq!(report.held.iter().map(|at| at.month).collect::<Vec<_>>(), [202_402, 202_403]);
    // They are decided.
    reward(&world, 1, "2024-02-03 10:00:00", "held", -1).await;
    assert_eq!(dropped(&pass(&world, 349).await), [("clicks", 202_402)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_runs_ahead_takes_nothing() {
    let world = World::new().await;
    let month = world.count("SELECT toUInt64(toYYYYMM(now('UTC')))").await;
    let sql = "INSERT INTO clicks (program, ts, id, sign) SELECT 'demo', now64(3), generateUUIDv7(), 1 FROM numbers(10)";
    world.client.query(sql).execute().await.unwrap();
    let report = retention(&world).pass(&ages(349), parse("2199-01-01T00:00:00Z").unwrap()).await.unwrap();
    assert_eq!(report, Report::default(), "{month}");
    assert_eq!(world.count(CLICKS).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_blanked_by_days_but_for_those_that_an_open_reward_needs() {
    let world = stored().await;
    reward(&world, 1, "2024-02-03 10:00:00", "held", 1).await;
    for sql in [
        "INSERT INTO click_evidence (program, lead_id, clicked_at, received_at, visitor, address, prefix) \
         VALUES ('demo', '00000000-0000-0000-0000-000000000001', '2024-02-05 00:00:00', '2024-03-06 00:00:00', 1, 2, 3)",
        "INSERT INTO subject_keys (program, key, received_at, prefix) VALUES ('demo', 'k', '2024-03-06 00:00:00', 3)",
        "INSERT INTO participants (program, id, received_at, prefix, sign) VALUES ('demo', '00000000-0000-0000-0000-000000000001', '2024-03-06 00:00:00', 3, 1)",
        "INSERT INTO shares (program, id, received_at, prefix, sign) VALUES ('demo', '00000000-0000-0000-0000-000000000001', '2024-03-06 00:00:00', 3, 1)",
    ] {
        world.client.query(sql).execute().await.unwrap();
    }
    let rows = world.count(CLICKS).await;
    let cutoff = "2024-05-15 00:00:00";
    let set = Ages { addresses: Duration::from_secs(335 * 86_400 - 3600), ..ages(30_000) };
    let to_blank = format!(
        "SELECT toUInt64(ifNull((SELECT count() FROM clicks WHERE ts < '{cutoff}' AND toDate(ts) NOT IN ('2024-02-03', '2024-03-09') AND (address != 0 OR prefix != 0)) \
         + (SELECT count() FROM click_evidence WHERE address != 0 OR prefix != 0) \
         + (SELECT count() FROM subject_keys WHERE prefix != 0) + (SELECT count() FROM participants WHERE prefix != 0) \
         + (SELECT count() FROM shares WHERE prefix != 0), 0))"
    );
    assert!(world.count(&to_blank).await > 1000);
    let mut retention = retention(&world);
    let mut begun = 0;
    // One month of a table at a time, each once the one before it is done.
    while world.count(&to_blank).await > 0 {
        let blanked = retention.pass(&set, now()).await.unwrap().blanked.len();
        assert!(blanked > 0, "what is left is blanked by nobody");
        begun += blanked;
        world.until("SELECT count() FROM system.mutations WHERE NOT is_done", 0).await;
        assert!(begun <= 5 + 4, "{begun} mutations");
    }
    assert_eq!(world.count(CLICKS).await, rows);
    let kept = "SELECT count() FROM clicks WHERE ts < '2024-05-15 00:00:00' AND address != 0 AND prefix != 0";
    assert_eq!(
        world.count(kept).await,
        world.count("SELECT count() FROM clicks WHERE toDate(ts) IN ('2024-02-03', '2024-03-09')").await
    );
    let untouched =
        "SELECT count() FROM clicks WHERE ts >= '2024-05-15 00:00:00' AND (address = 0 OR visitor = 0)";
    assert_eq!(world.count(untouched).await, 0);
    assert_eq!(world.count("SELECT count() FROM clicks WHERE visitor = 0").await, 0);
    // The projection is of the rows as they are now.
    assert_eq!(
        world.count("SELECT count() FROM click_evidence WHERE program = 'demo' AND prefix = 3").await,
        0
    );
    assert_eq!(
        world.count("SELECT count() FROM click_evidence WHERE program = 'demo' AND prefix = 0").await,
        1
    );
    let report = retention.pass(&set, now()).await.unwrap();
    assert_eq!(report.blanked, [], "nothing is left to blank");
    // A click that comes late is blanked by whoever looks next day.
    store_block(&world, &range(0, MONTHS)).await;
    let mut next_day = Retention::new(world.client.clone().into(), world.store.clone());
    assert_eq!(next_day.pass(&set, now()).await.unwrap().blanked.len(), 1);
    world.until(&to_blank, 0).await;
}
