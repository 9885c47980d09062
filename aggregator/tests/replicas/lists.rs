//! Migrations and settings of tables on a cluster.

use crate::world::{World, topology};
use std::time::Duration;
use whence_aggregator::clickhouse::migrate::{Migrated, first_to_forget, migrate};
use whence_schemas::sql::{MIGRATIONS, views};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_applied_is_not_sent_to_the_cluster_again_and_needs_no_replica_but_the_one_that_is_asked() {
    let mut world = World::empty(3);
    let ran = migrate(&world.client(0), "whence", &topology()).await.unwrap();
    assert_eq!((ran.migrations.len(), ran.views.len()), (MIGRATIONS.len(), views().len()));
    // At once by way of another one, which may lag.
    assert_eq!(migrate(&world.client(1), "whence", &topology()).await.unwrap(), Migrated::default());
    let week = Duration::from_secs(7 * 86_400);
    assert_eq!(world.set_tables(week).await, 23);
    let forgets = first_to_forget(&world.client(2)).await.unwrap().unwrap();
    assert_eq!(forgets.1, week);

    world.cluster.kill(2);
    let sent = |world: &World| [0, 1].map(|replica| world.cluster.statements_on_cluster(replica));
    let before = sent(&world);
    assert!(before[0] > 50 && before[1] == 0, "{before:?}");
    assert_eq!(migrate(&world.client(0), "whence", &topology()).await.unwrap(), Migrated::default());
    assert_eq!(world.set_tables(week).await, 0);
    assert_eq!(sent(&world), before);
    world.cluster.revive(2);

    // What differs on one replica alone is set as well.
    let alone = "ALTER TABLE clicks MODIFY SETTING replicated_deduplication_window_seconds = 60";
    world.client(2).query(alone).execute().await.unwrap();
    assert_eq!(world.set_tables(week).await, 1);
    assert_eq!(first_to_forget(&world.client(2)).await.unwrap().unwrap().1, week);
}
