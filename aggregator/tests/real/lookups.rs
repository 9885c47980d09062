//! What look-ups cost when the ledger is long.

use crate::world::World;
use uuid::Uuid;
use whence_aggregator::{
    clickhouse::{ClickHouseStore, StoreSettings},
    position::{Horizon, Partition},
    store::RewardStore,
};
use whence_schemas::{ids::Incarnation, time::UnixMs, topics::Stream};

/// Due long before the tests run.
const DUE: UnixMs = UnixMs(1_770_000_000_000);
const REWARDS: u64 = 100_000;

/// Lines of rewards that `numbers` counts, of 1000 referrers, each its own lead's.
fn lines(numbers: &str, revision: u32, sign: i8, state: &str) -> String {
    format!(
        "INSERT INTO rewards (program, lead_id, reward_id, revision, sign, state, amount_minor, currency, referrer, \
         rule, earned_at, due_at, received_at, incarnation, partition, offset) \
         SELECT 'demo', reinterpretAsUUID(MD5(concat('lead', toString(number)))), \
         reinterpretAsUUID(MD5(concat('reward', toString(number)))), {revision}, {sign}, '{state}', 500, 'EUR', \
         concat('r', toString(number % 1000)), 'signup', fromUnixTimestamp64Milli({due}), \
         fromUnixTimestamp64Milli({due}), fromUnixTimestamp64Milli({due}), \
         toUUID('00000000-0000-0000-0000-000000000001'), 7, number FROM {numbers}",
        due = DUE.0
    )
}

/// A ledger in which all but three rewards were approved, and a store that refuses to read a quarter of it.
async fn long_ledger(world: &World) -> ClickHouseStore {
    let run = async |sql: &str| world.client.query(sql).execute().await.unwrap();
    run(&lines(&format!("numbers({REWARDS})"), 0, 1, "accrued")).await;
    run(&lines(&format!("numbers({})", REWARDS - 3), 1, -1, "accrued")).await;
    run(&lines(&format!("numbers({})", REWARDS - 3), 1, 1, "approved")).await;
    let lookups = world.client.clone().with_setting("max_rows_to_read", (REWARDS / 4).to_string());
    ClickHouseStore::new(lookups, StoreSettings::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_found_without_reading_what_was_approved() {
    let world = World::new().await;
    let store = long_ledger(&world).await;
    world.client.query("OPTIMIZE TABLE rewards_due FINAL").execute().await.unwrap();
    let due = store.rewards_due(7, DUE, 10).await.unwrap();
    assert_eq!(due.len(), 3);
    assert!(due.iter().all(|due| due.revision == 0 && due.due_at == DUE && due.program == "demo"));
    assert!(store.rewards_due(7, DUE.plus_ms(-1), 10).await.unwrap().is_empty());

    // One more is taken out, and one accrued again: by its revision, or its timer would be a duplicate.
    world
        .client
        .query(&lines(&format!("numbers({}, 1)", REWARDS - 1), 1, -1, "accrued"))
        .execute()
        .await
        .unwrap();
    world.client.query(&lines("numbers(1)", 5, 1, "accrued")).execute().await.unwrap();
    let revisions = store.rewards_due(7, DUE, 10).await.unwrap().into_iter().map(|due| due.revision);
    let mut revisions: Vec<_> = revisions.collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [0, 0, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_referrer_has_is_found_without_reading_what_others_have() {
    let world = World::new().await;
    let store = long_ledger(&world).await;
    let partition = Partition { stream: Stream::Conversions, number: 7 };
    let incarnation = Incarnation(Uuid::from_u128(1));
    let usage = async |before| {
        let before = Horizon { incarnation, partition, before };
        let asked = [("demo".to_owned(), "r17".to_owned()), ("demo".to_owned(), "r999".to_owned())];
        let mut usage = store.reward_usage(&before, &asked).await.unwrap();
        usage.sort_by(|a, b| a.referrer.cmp(&b.referrer));
        usage
            .into_iter()
            .map(|of| (of.referrer, of.rule, of.day, of.count, of.amount_minor))
            .collect::<Vec<_>>()
    };
    let of = |referrer: &str, count| {
        let day = DUE.0.div_euclid(24 * 60 * 60 * 1000);
        (referrer.to_owned(), "signup".to_owned(), day, count, count * 500)
    };
    assert_eq!(usage(REWARDS).await, [of("r17", 100), of("r999", 100)]);
    assert_eq!(usage(2000).await, [of("r17", 2), of("r999", 2)], "before the block only");
}
