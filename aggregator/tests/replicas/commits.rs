//! A transaction of a replica is lost on its way to Keeper, or the answer to it on its way back: each replica has a proxy
//! before Keeper.

use crate::world::{AT, World, before, clicks, range, store};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;
use whence_aggregator::store::{RewardStore as _, RewardSum, RewardUsage, Rows, Store as _};
use whence_clickhouse_replica::proxy::Fault;
use whence_schemas::{
    ids::{EventId, Incarnation},
    rows::{Lc, RewardRow, RewardState},
};

/// Longer than anything here takes but what [`World::until`] waits for.
const SOON: Duration = Duration::from_secs(240);
/// Where a block of clicks is stored, in the order in which it is.
const TABLES: [&str; 3] = ["clicks", "funnel_quarter_hourly", "funnel_daily"];
/// Parts of which a replica does not know whether Keeper has them.
const UNKNOWN: &str = "SELECT toUInt64(sum(parts_to_check)) FROM system.replicas WHERE database = 'whence'";

fn count(table: &str) -> String {
    match table {
        "clicks" => "SELECT count() FROM clicks".into(),
        rollup => format!("SELECT toUInt64(sum(clicks + other_clicks)) FROM {rollup}"),
    }
}

/// Where Keeper has a table.
async fn place(world: &World, table: &str) -> String {
    let sql =
        format!("SELECT zookeeper_path FROM system.replicas WHERE database = 'whence' AND table = '{table}'");
    world.client(0).query(&sql).fetch_one().await.unwrap()
}

/// Has the first replica's next insert into a table meet a fault when it commits its part.
async fn arm(world: &World, fault: Fault, table: &str) {
    let place = place(world, table).await;
    world.cluster.proxy(0).arm(fault, [format!("{place}/log/log-"), format!("{place}/replicas/r1/parts/")]);
}

/// Stores 100 clicks by way of the first replica as long as that one takes them.
async fn block(world: &World, first: u64) {
    let end = first + 100;
    world.until(0, "SELECT toUInt64(count()) FROM system.replicas WHERE is_readonly", 0).await;
    world.store(0).insert(&range(first, end).token(), &clicks(first, end)).await.unwrap();
}

/// Each replica has these clicks, once, and so have its rollups.
async fn until_all_have(world: &World, wanted: u64) {
    for replica in 0..3 {
        for table in TABLES {
            world.until(replica, &count(table), wanted).await;
        }
    }
}

/// What README's "After Keeper was lost" tells operators. Takes five minutes, in which it does next to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_keeper_never_got_is_shown_by_its_replica_alone_until_a_merge_or_for_five_minutes() {
    let world = World::proxied(3).await;
    block(&world, 0).await;
    for (round, table) in (1..).zip(TABLES) {
        arm(&world, Fault::LoseRequest, table).await;
        block(&world, round * 100).await;
        world.cluster.proxy(0).until_happened(SOON);
        assert_eq!(world.count(0, UNKNOWN).await, round, "{table}");
        let (stored, shown) = ((round + 1) * 100, (round + 2) * 100);
        world.until(0, &count(table), shown).await;
        for replica in 1..3 {
            for table in TABLES {
                world.until(replica, &count(table), stored).await;
            }
            assert_eq!(world.count(replica, UNKNOWN).await, 0);
        }
    }
    // What another replica merges covers the part that nobody but this one has. It merges nothing across its block number as
    // long as Keeper has not given up the session that took it.
    let deadline = Instant::now() + SOON;
    while world.count(0, &count("funnel_daily")).await != 400 {
        assert!(Instant::now() < deadline, "no merge has covered it");
        world.client(1).query("OPTIMIZE TABLE funnel_daily FINAL").execute().await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for table in ["clicks", "funnel_quarter_hourly"] {
        assert_eq!(world.count(0, &count(table)).await, 500, "{table}");
    }
    // The others are still there, and ClickHouse removes them itself.
    until_all_have(&world, 400).await;
    world.until(0, UNKNOWN, 0).await;
    until_all_have(&world, 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_stored_once() {
    let world = World::proxied(3).await;
    block(&world, 0).await;
    for (round, table) in (1..).zip(TABLES) {
        arm(&world, Fault::LoseAnswer, table).await;
        block(&world, round * 100).await;
        world.cluster.proxy(0).until_happened(SOON);
        assert_eq!(world.count(0, UNKNOWN).await, round, "{table}");
        let stored = (round + 1) * 100;
        for replica in 0..3 {
            for table in TABLES {
                let shown = world.count(replica, &count(table)).await;
                assert!(shown <= stored, "{table} on {replica}: {shown}");
            }
        }
        until_all_have(&world, stored).await;
    }
}

/// A fault of ClickHouse: a replica that gets a new session looks for parts whose quorum has failed before it counts as
/// active. One that fails in between stays, and the block is stored beside it. Its next session puts it right, if it has not
/// merged the part by then. When this test fails ClickHouse may have fixed it: README's "After Keeper was lost" tells of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_that_fails_just_before_its_replica_is_back_leaves_its_block_there_until_the_next_session() {
    let world = World::proxied(3).await;
    let store = Arc::new(store(world.replicas(0)));
    let table = "funnel_quarter_hourly";
    let place = place(&world, table).await;
    store.insert(&range(0, 100).token(), &clicks(0, 100)).await.unwrap();
    world.cluster.keep_parts_of(0, table);
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.insert(&range(100, 200).token(), &clicks(100, 200)).await })
    };
    world.until(0, &count(table), 200).await;
    world.cluster.proxy(0).arm(Fault::Hold, [format!("{place}/replicas/r1/is_active")]);
    for replica in 1..3 {
        world.cluster.proxy(replica).arm(Fault::Pass, [format!("{place}/quorum/failed_parts/")]);
    }
    world.cluster.proxy(0).cut();
    world.cluster.proxy(0).until_happened(SOON);
    let deadline = Instant::now() + SOON;
    while !(1..3).any(|replica| world.cluster.proxy(replica).has_happened()) {
        assert!(Instant::now() < deadline, "nobody gave the quorum up");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.cluster.proxy(0).release();
    writing.await.unwrap().unwrap();
    world.until(0, &count(table), 300).await;
    for replica in 1..3 {
        world.until(replica, &count(table), 200).await;
    }
    assert_eq!(world.count(0, UNKNOWN).await, 0, "it has nothing to check");
    world.cluster.proxy(0).cut();
    until_all_have(&world, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_and_budgets_count_each_line_once_on_a_replica_that_shows_some_twice() {
    let world = World::proxied(3).await;
    let line = |number: u64, revision, sign, state| RewardRow {
        program: Lc("demo".into()),
        lead_id: EventId(Uuid::from_u128(number.into())),
        reward_id: Uuid::from_u128(number.into()),
        revision,
        sign,
        state,
        amount_minor: 500,
        currency: Lc("EUR".into()),
        party: Lc("referrer".into()),
        referrer: "r1".into(),
        rule: Lc("signup".into()),
        rules_version: 1,
        qualification_id: EventId(Uuid::from_u128(number.into())),
        value_minor: 0,
        earned_at: AT,
        due_at: AT,
        decided_by: "rules".into(),
        reason: String::new(),
        reference: String::new(),
        risk: 0,
        flags: Vec::new(),
        evidence: String::new(),
        cause: EventId(Uuid::from_u128(number.into())),
        received_at: AT,
        incarnation: Incarnation(Uuid::from_u128(1)),
        partition: 0,
        offset: number,
    };
    let accrued = (0..10).map(|number| line(number, 0, 1, RewardState::Accrued)).collect();
    arm(&world, Fault::LoseRequest, "rewards").await;
    world.store(0).insert(&range(0, 10).token(), &Rows::Rewards(accrued)).await.unwrap();
    world.cluster.proxy(0).until_happened(SOON);
    let rejected = [line(0, 1, -1, RewardState::Accrued), line(0, 1, 1, RewardState::Rejected)].to_vec();
    world.until(0, "SELECT toUInt64(count()) FROM system.replicas WHERE is_readonly", 0).await;
    world.store(0).insert(&range(10, 11).token(), &Rows::Rewards(rejected)).await.unwrap();
    for (replica, shown) in [(0, 22), (1, 12), (2, 12)] {
        world.until(replica, "SELECT count() FROM rewards", shown).await;
        let store = world.store(replica);
        let usage = store.reward_usage(&before(11), &[("demo".into(), "r1".into())]).await.unwrap();
        let day = AT.0.div_euclid(24 * 60 * 60 * 1000);
        let (program, rule, count, amount_minor) = ("demo".to_owned(), "signup".to_owned(), 9, 9 * 500);
        let sums = [RewardSum { program: program.clone(), rule: rule.clone(), count, amount_minor }];
        let of = RewardUsage { program, rule, referrer: "r1".into(), day, count, amount_minor };
        assert_eq!(usage, [of], "replica {replica}");
        assert_eq!(
            store.reward_sums(&before(11), &["demo".into()]).await.unwrap(),
            sums,
            "replica {replica}"
        );
    }
}
