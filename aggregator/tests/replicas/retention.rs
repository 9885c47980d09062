//! What is past its age goes on every replica.

use crate::world::{World, clicks, range, store};
use std::time::Duration;
use whence_aggregator::{
    account::quick,
    retention::{Ages, Retention},
    store::{Rows, Store as _},
};
use whence_schemas::time::parse;

const DAY: Duration = Duration::from_secs(86_400);
const HASHED: &str = "SELECT count() FROM clicks WHERE address != 0 OR prefix != 0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_and_months_go_on_every_replica_and_on_one_that_was_away_when_it_is_back() {
    let mut world = World::new(3).await;
    let long_ago = parse("2024-01-15T00:00:00Z").unwrap();
    let block = range(0, 100);
    let Rows::Clicks(mut rows) = clicks(0, 100) else { unreachable!("they are clicks") };
    rows.iter_mut().for_each(|row| row.ts = long_ago);
    let rows = [Rows::Clicks(rows)];
    let writer = world.store(1);
    writer.insert(&block.token(), &rows[0]).await.unwrap();
    writer.insert(&block.token(), &Rows::account(&block, &rows)).await.unwrap();
    for replica in 0..3 {
        world.until(replica, HASHED, 99).await;
    }
    world.cluster.kill(2);
    let replicas = world.replicas(0);
    let mut retention = Retention::new(replicas.clone(), store(replicas));
    let kept = DAY * 30_000;
    let ages = Ages { clicks: kept, addresses: DAY * 30, rejects: kept, deliveries: kept, messages: kept };
    let now = parse("2024-12-01T00:00:00Z").unwrap();
    assert_eq!(retention.pass(&ages, now).await.unwrap().blanked.len(), 1);
    for replica in 0..2 {
        world.until(replica, HASHED, 0).await;
    }
    assert_eq!(world.count(1, "SELECT count() FROM clicks").await, 100);
    let ages = Ages { clicks: DAY * 100, ..ages };
    assert_eq!(retention.pass(&ages, now).await.unwrap().dropped.len(), 1);
    world.until(1, "SELECT count() FROM clicks", 0).await;
    world.cluster.revive(2);
    for replica in 0..3 {
        world.until(replica, "SELECT count() FROM past_retention WHERE month = 202401", 1).await;
        world.until(replica, "SELECT count() FROM clicks", 0).await;
        // It may have the month's entry before an older one of the same table.
        world.client(replica).query("SYSTEM SYNC REPLICA blocks").execute().await.unwrap();
        assert_eq!(quick(&world.client(replica), &[]).await.unwrap(), [], "{replica}");
    }
}
