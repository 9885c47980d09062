//! A day of an endpoint that takes nothing of one lead, by a clock that the test moves.

use crate::{
    receiver::{Receiver, status},
    world::World,
};
use whence_outbound::DeliverySettings;

const DAY_MS: u64 = 86_400_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_tried_for_a_day_by_the_default_settings_over_a_restart_and_is_dead_then() {
    let world = World::new().await;
    world.leads(1, 0, 2).await;
    world.qualifications(1, 0, 2, 2).await;
    let receiver = Receiver::start(|received, _| {
        let is_bad = received.gist() == ("lead.credited".into(), "lead 0".into());
        status(if is_bad { 503 } else { 200 })
    })
    .await;
    world.known.put("shop", receiver.url("/shop"), |_| {});
    let settings = whence_runtime::settings::defaults::<DeliverySettings>().unwrap();
    let mut work = world.work(settings.clone(), 1, 4);
    world.until("SELECT count() FROM deliveries WHERE outcome = 'delivered'", 2).await;

    let tries = "SELECT count() FROM deliveries WHERE outcome != 'delivered'";
    let until_next =
        "SELECT toUInt64(toUnixTimestamp64Milli(max(next_at))) FROM deliveries WHERE outcome = 'retry'";
    let dead = "SELECT count() FROM dead_deliveries";
    let mut tried = 1;
    while {
        world.until(tries, tried).await;
        world.count(dead).await == 0
    } {
        assert_eq!(receiver.taken("/shop").len(), 2, "what follows of the lead waits");
        assert!(tried < 60, "it has an end");
        if tried == 9 {
            work.stop().await;
            work = world.work(settings.clone(), 1, 4);
        }
        // A second early; then later by the time for which an endpoint that fails is left alone.
        let next = world.count(until_next).await;
        for at in [next - 1000, next + 30_000] {
            world.turn_to(at);
            work.stored(1, 4);
        }
        tried += 1;
    }
    assert!((30..60).contains(&tried), "{tried}");
    let ages = "SELECT toUInt64(toUnixTimestamp64Milli(max(last_at)) - toUnixTimestamp64Milli(max(first_at))) FROM dead_deliveries";
    let age = world.count(ages).await;
    assert!((DAY_MS..DAY_MS + 60_000).contains(&age), "{age}");
    // Each wait is at most what the backoff says, and at least half of it; except for the last one, which ends the day.
    let odd = "SELECT count() FROM deliveries WHERE outcome = 'retry' AND NOT (
            dateDiff('millisecond', started_at, next_at) BETWEEN least(3600000, 5000 * exp2(attempt - 1)) / 2 AND least(3600000, 5000 * exp2(attempt - 1)) + 5000
            OR dateDiff('millisecond', (SELECT min(started_at) FROM deliveries WHERE outcome = 'retry'), next_at) = 86400000)";
    assert_eq!(world.count(odd).await, 0);
    let early = "SELECT count() FROM (SELECT started_at, lagInFrame(next_at) OVER (ORDER BY attempt) AS due
            FROM deliveries WHERE outcome != 'delivered') WHERE started_at < due";
    assert_eq!(world.count(early).await, 0, "none before its time");
    let numbers = "SELECT toUInt64(uniqExact(attempt) = count() AND max(attempt) = count()) FROM deliveries WHERE outcome != 'delivered'";
    assert_eq!(world.count(numbers).await, 1, "tries are counted on over the restart");
    world.until("SELECT count() FROM delivery_states WHERE state = 'delivered'", 3).await;
    let last = receiver.at("/shop").pop().unwrap().gist();
    assert_eq!(last, ("lead.qualified".to_owned(), "lead 0".to_owned()), "then its next message goes");
    assert_eq!(receiver.at("/shop").len() as u64, tried + 3, "nothing of a dead one comes after");
    work.stop().await;
}
