//! Other rules over stored facts.

use crate::{
    rewards::{decision, person, reward, terms},
    world::{NOW, PROGRAM, World, as_test, later},
};
use std::collections::BTreeMap;
use whence_aggregator::conversion::replay::{Rules, replay};
use whence_console::replay::{Change, changes, ledger, past, pay};
use whence_schemas::{
    event::{AttributionModel, Touch},
    time::{DAY_MS, HOUR_MS, UnixMs},
};

const NAMES: &str = "SELECT toUInt64(count() + 1000 * sum(sign)) FROM leads";

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_credit_others_and_change_no_fact() {
    let mut world = World::new().await;
    let two = vec![world.token("ann", 20 * DAY_MS), world.token("bob", 5 * DAY_MS)];
    let code = Touch { link: "go.example/eve".into(), referrer: "eve".into(), ..Touch::default() };
    let forged = Touch { token: "x".repeat(62), ..code.clone() };
    let lead = world.lead("1", person("1"), two.clone());
    let paid = world.qualification("paid", person("1"), "purchase", 1250);
    let by_code = world.lead("2", person("2"), vec![world.token("ann", 20 * DAY_MS), forged, code]);
    let nobodys = world.lead("3", person("3"), vec![]);
    let test = world.lead("4", person("4"), two);
    // The qualification comes first: its own row names nobody, and the lead corrects it.
    world.take([later(paid, 0)]).await;
    world.take([later(lead, 1), later(by_code, 2), later(nobodys, 3), as_test(test)]).await;
    let stored = world.count(NAMES).await;

    let past = past(&world.reader, PROGRAM).await.unwrap();
    assert_eq!((past.leads.len(), past.qualifications.len()), (3, 1));
    let counts = |rules: &Rules| {
        let changes = changes(&replay(&past, rules), None, None);
        let of = |name: &str| changes.get(name).cloned().unwrap_or_default();
        ["", "ann", "bob", "eve"].map(|name| {
            let Change { leads_then, qualifications_then, undecided, .. } = of(name);
            (leads_then, qualifications_then, undecided)
        })
    };
    assert_eq!(counts(&Rules::default()), [(1, 0, 0), (1, 0, 0), (1, 1, 0), (0, 0, 0)]);
    let first = Rules { model: Some(AttributionModel::FirstTouch), ..Rules::default() };
    assert_eq!(counts(&first), [(1, 0, 0), (2, 1, 0), (0, 0, 0), (0, 0, 0)]);
    let ten_days = Rules { window_ms: Some(10 * DAY_MS as u64), ..Rules::default() };
    assert_eq!(counts(&ten_days), [(1, 0, 0), (0, 0, 0), (1, 1, 0), (1, 0, 0)]);
    assert_eq!(world.count(NAMES).await, stored);
}

/// Rewards now and then for the referred person and the referrer, and how many are undecided.
type Paid = (&'static str, [i64; 2], [i64; 2], u64);

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_pay_others_within_the_same_budget() {
    const STORED: &str = "SELECT count() FROM rewards";
    let mut world = World::new().await;
    let two = vec![world.token("ann", 20 * DAY_MS), world.token("bob", 5 * DAY_MS)];
    let mut events = Vec::new();
    for (at, name) in (0..).zip(["1", "2", "3", "4"]) {
        events.push(later(world.lead(name, person(name), two.clone()), 2000 * at));
        let paid = format!("paid {name}");
        events.push(later(world.rewarded(&paid, person(name), 1000, terms()), 2000 * at + 1000));
    }
    let bobs = world.lead("5", person("5"), vec![world.token("bob", HOUR_MS)]);
    events.extend([later(bobs, 9000), later(world.rewarded("paid 5", person("5"), 1000, terms()), 9500)]);
    world.take(events).await;
    let paid = async |world: &World, rules: &Rules, until: Option<UnixMs>| {
        let (past, ledger) = (past(&world.reader, PROGRAM).await, ledger(&world.reader, PROGRAM).await);
        let (past, ledger) = (past.unwrap(), ledger.unwrap());
        let mut found = BTreeMap::new();
        pay(&past, &ledger, &replay(&past, rules), (None, until), &mut found);
        let of = |name: &'static str| {
            let change = found.get(name).cloned().unwrap_or_default();
            let sums = |party: &str| change.rewards.get(&(party.into(), "EUR".into())).copied();
            let sums = |party: &str| sums(party).unwrap_or_default();
            (name, sums("referred"), sums("referrer"), change.rewards_undecided)
        };
        ["ann", "bob"].map(of)
    };
    let (same, first) =
        (Rules::default(), Rules { model: Some(AttributionModel::FirstTouch), ..Rules::default() });
    let stored = world.count(STORED).await;
    // The budget of 250 is for two rewards of 100, in the order in which they came.
    let nothing: Paid = ("ann", [0, 0], [0, 0], 0);
    assert_eq!(paid(&world, &same, None).await, [nothing, ("bob", [2500, 2500], [200, 200], 0)]);
    let moved = [("ann", [0, 2000], [0, 200], 0), ("bob", [2500, 500], [200, 0], 0)];
    assert_eq!(paid(&world, &first, None).await, moved);
    assert_eq!(paid(&world, &first, Some(NOW)).await, [nothing, ("bob", [0, 0], [0, 0], 0)]);
    let ten_days = Rules { window_ms: Some(10 * DAY_MS as u64), ..first };
    assert_eq!(paid(&world, &ten_days, None).await, [nothing, ("bob", [2500, 2500], [200, 200], 0)]);
    let one_day = Rules { window_ms: Some(DAY_MS as u64), ..same };
    // Then the budget is for the one that is left.
    let left = [nothing, ("bob", [2500, 500], [200, 100], 0)];
    assert_eq!(paid(&world, &one_day, None).await, left);

    // Of `1` a part is refunded, of `2` all; what `5` earned for the person is rejected.
    world
        .take([
            later(world.refund("part", person("1"), 400), 60_000),
            later(world.refund("all", person("2"), 1000), 61_000),
            later(decision("no", reward("5", "welcome"), "reject", ""), 62_000),
        ])
        .await;
    let corrected = world.count(STORED).await;
    assert!(corrected > stored);
    // When `3`, `4` and `5` came, the budget was full with what is refunded by now.
    assert_eq!(paid(&world, &same, None).await, [nothing, ("bob", [1300, 1300], [60, 60], 0)]);
    let moved = [("ann", [0, 1300], [0, 60], 0), ("bob", [1300, 0], [60, 0], 0)];
    assert_eq!(paid(&world, &first, None).await, moved);
    assert_eq!(world.count(STORED).await, corrected);
}
