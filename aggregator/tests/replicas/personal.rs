//! Personal columns are blanked on every replica.

use crate::world::World;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use whence_aggregator::{
    clickhouse::erase::{Unapplied, Watch},
    store::{Forgotten, Store as _},
};
use whence_schemas::ids::EventId;

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
