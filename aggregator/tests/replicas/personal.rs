//! Personal columns are blanked on every replica.

use crate::world::World;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use whence_aggregator::{
    clickhouse::erase::{Unapplied, Watch},
    position::{Horizon, Partition},
    store::{Forgotten, Store as _},
};
use whence_schemas::{
    ids::{EventId, Incarnation},
    topics::Stream,
};

const NAMED: &str = "SELECT count() FROM leads WHERE lead != '' OR notEmpty(keys)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_holds_no_partition_up_and_counts_as_done_when_every_replica_has_applied_it() {
    let mut world = World::new(3).await;
    let insert = "INSERT INTO leads (program, id, revision, sign, lead, keys, received_at) \
                  SELECT 'demo', toUUID('00000000-0000-0000-0000-000000000007'), 0, 1, 'bob', \
                  [toFixedString('0123456789abcdef', 16)], now()";
    world.client(0).query(insert).execute().await.unwrap();
    for replica in 0..3 {
        world.until(replica, NAMED, 1).await;
    }
    let replicas = world.replicas(0);
    let mut watch = Watch::new(replicas.clone());
    assert_eq!(watch.look().await, Unapplied::default());

    world.cluster.kill(2);
    let store = crate::world::store(replicas);
    let events = vec![("demo".into(), EventId(Uuid::from_u128(7)))];
    store.erase(&Forgotten { events, ..Forgotten::default() }).await.unwrap();
    for replica in 0..2 {
        world.until(replica, NAMED, 0).await;
    }
    assert_eq!(watch.look().await, Unapplied { mutations: 1, silent: 1 });
    world.cluster.revive(2);
    let deadline = Instant::now() + Duration::from_secs(240);
    while watch.look().await != Unapplied::default() {
        assert!(Instant::now() < deadline, "{:?}", watch.look().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.count(2, NAMED).await, 0);
    // It stays done while a replica is away again.
    world.cluster.kill(1);
    assert_eq!(watch.look().await, Unapplied { mutations: 0, silent: 1 });
}

const PATHS: &str = "SELECT count() FROM subject_keys WHERE kind != 'erased' AND hasAny(keys, \
                     (SELECT groupUniqArray(key) FROM subject_keys WHERE kind = 'erased'))";
/// From the payment over the name that it shares with the lead.
const FOUND: &str = "SELECT uniqExact(event_id) FROM subject_keys WHERE kind = 'lead' AND key IN \
                     (SELECT arrayJoin(keys) FROM subject_keys WHERE kind = 'qualification' AND key = 'payment 00000000')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_of_a_forgotten_person_lead_nowhere_on_any_replica() {
    let mut world = World::new(3).await;
    let erasure = Uuid::from_u128(9);
    let at = "toDateTime64('2026-11-30 12:00:00', 3, 'UTC')";
    let keys = "['email 0000000000', 'lead id 00000000']::Array(FixedString(16))";
    let paid = "['lead id 00000000', 'payment 00000000']::Array(FixedString(16))";
    for (event, kind, keys) in [(7, "lead", keys), (8, "qualification", paid), (9, "erased", keys)] {
        let of_event = match kind {
            "erased" => "[k]",
            _ => keys,
        };
        let insert = format!(
            "INSERT INTO subject_keys (program, key, kind, event_id, keys, received_at, live) \
             SELECT 'demo', k, '{kind}', toUUID('{}'), {of_event}, {at}, true FROM (SELECT arrayJoin({keys}) AS k)",
            Uuid::from_u128(event)
        );
        world.client(0).query(&insert).execute().await.unwrap();
    }
    let insert = format!(
        "INSERT INTO erasures (program, id, received_at, events, suppressed, linked, sign) \
         SELECT 'demo', toUUID('{erasure}'), {at}, 2, 2, true, 1"
    );
    world.client(0).query(&insert).execute().await.unwrap();
    for replica in 0..3 {
        world.until(replica, PATHS, 4).await;
        world.until(replica, "SELECT count() FROM erasures WHERE linked", 1).await;
    }
    assert_eq!(world.count(0, FOUND).await, 1);

    let store = crate::world::store(world.replicas(0));
    let partition = Partition { stream: Stream::Conversions, number: 0 };
    let before = Horizon { incarnation: Incarnation(Uuid::from_u128(1)), partition, before: 0 };
    let linked = store.linked(&before).await.unwrap();
    assert_eq!(linked.iter().map(|linked| linked.erasure.0).collect::<Vec<_>>(), [erasure]);
    world.cluster.kill(2);
    assert!(!store.is_settled().await.unwrap(), "of one that is away nobody knows what is blank there");
    world.cluster.revive(2);
    let deadline = Instant::now() + Duration::from_secs(240);
    while !store.is_settled().await.unwrap() {
        assert!(Instant::now() < deadline, "all replicas are back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.rename_links(&linked[0]).await.unwrap());
    assert_eq!((world.count(0, PATHS).await, world.count(0, FOUND).await), (4, 1), "under both");
    // One that is away has it once it is back.
    world.cluster.kill(1);
    store.drop_links(&linked[0]).await.unwrap();
    world.cluster.revive(1);
    for replica in 0..3 {
        world.until(replica, PATHS, 0).await;
        world.until(replica, "SELECT count() FROM erasures WHERE linked", 0).await;
        assert_eq!(world.count(replica, FOUND).await, 1, "{replica}");
        assert_eq!(world.count(replica, "SELECT count() FROM subject_keys WHERE kind != 'erased'").await, 4);
        assert_eq!(world.count(replica, "SELECT count() FROM subject_keys WHERE kind = 'erased'").await, 2);
    }
    assert_eq!(store.linked(&before).await.unwrap(), []);
}
