//! A replica, or Keeper, goes away and comes back.

use crate::world::{World, before, clicks, names, range, store};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use whence_aggregator::{clickhouse::ClickHouseStore, store::Store as _};

const ALL: &str = "SELECT count() FROM clicks";
const DIFFERENT: &str = "SELECT uniqExact(id) FROM clicks";
const BY_HOUR: &str = "SELECT toUInt64(sum(clicks + other_clicks)) FROM funnel_quarter_hourly";
const BY_DAY: &str = "SELECT toUInt64(sum(clicks + other_clicks)) FROM funnel_daily";

/// Stores the block of these offsets, and sees all before its end.
async fn block(store: &ClickHouseStore, first: u64, end: u64) -> Duration {
    let began = Instant::now();
    store.insert(&range(first, end).token(), &clicks(first, end)).await.unwrap();
    let took = began.elapsed();
    let known = store.clicks_known(&before(end), &names(first.saturating_sub(1000), end)).await.unwrap();
    assert_eq!(known.len() as u64, end - first.saturating_sub(1000));
    took
}

/// Each replica has these clicks, once, and so have its rollups.
async fn until_all_have(world: &World, replicas: &[usize], count: u64) {
    for replica in replicas {
        for sql in [ALL, DIFFERENT, BY_HOUR, BY_DAY] {
            world.until(*replica, sql, count).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_on_another_replica_sees_all_that_was_stored_before_its_first_look_up() {
    let world = World::new(3).await;
    let (former, next) = (world.store(0), world.store(1));
    former.catch_up().await.unwrap();
    for round in 0..5 {
        // The next one's replica lags: it is not needed for the quorum.
        world.cluster.freeze(1);
        let (first, end) = (round * 1000, (round + 1) * 1000);
        former.insert(&range(first, end).token(), &clicks(first, end)).await.unwrap();
        world.cluster.thaw(1);
        next.catch_up().await.unwrap();
        let known = next.clicks_known(&before(end), &names(0, end)).await.unwrap();
        assert_eq!(known.len() as u64, end);
    }
    // The block that a former owner has stored is not stored by the next one, who sees it all the same.
    next.insert(&range(4000, 5000).token(), &clicks(4000, 5000)).await.unwrap();
    until_all_have(&world, &[0, 1, 2], 5000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_all_replicas_meet_and_each_block_is_stored_once() {
    let world = World::new(3).await;
    let write = |writer: u64| {
        let store = world.store(writer as usize);
        async move {
            store.catch_up().await.unwrap();
            for block in 0..20 {
                let first = writer * 100_000 + block * 100;
                store.insert(&range(first, first + 100).token(), &clicks(first, first + 100)).await.unwrap();
            }
        }
    };
    tokio::join!(write(0), write(1), write(2));
    until_all_have(&world, &[0, 1, 2], 6000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_a_frozen_replica_cost_a_move_and_no_error() {
    let mut world = World::new(3).await;
    let replicas = world.replicas(0);
    let watched = replicas.clone();
    tokio::spawn(async move { watched.watch().await });
    let store = Arc::new(store(replicas.clone()));
    store.catch_up().await.unwrap();
    let write = |first: u64| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for number in 0..30 {
                let at = first + number * 100;
                slowest = slowest.max(block(&store, at, at + 100).await);
            }
            slowest
        })
    };
    let writing = write(0);
    world.until(0, "SELECT toUInt64(count() >= 500) FROM clicks", 1).await;
    world.cluster.kill(0);
    let slowest = writing.await.unwrap();
    assert_ne!(replicas.name(), world.cluster.url(0));
    println!("killed: the slowest block took {slowest:?}");
    world.cluster.revive(0);

    let asked = (1..3).find(|replica| replicas.name() == world.cluster.url(*replica)).unwrap();
    let writing = write(3000);
    world.until(asked, "SELECT toUInt64(count() >= 3500) FROM clicks", 1).await;
    world.cluster.freeze(asked);
    let slowest = writing.await.unwrap();
    assert_ne!(replicas.name(), world.cluster.url(asked));
    println!("frozen: the slowest block took {slowest:?}");
    world.cluster.thaw(asked);
    until_all_have(&world, &[0, 1, 2], 6000).await;
    assert_eq!(replicas.waiting_for(Duration::ZERO), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeper_is_waited_for_and_nothing_is_stored_twice() {
    let mut world = World::new(3).await;
    let store = Arc::new(world.store(1));
    store.catch_up().await.unwrap();
    block(&store, 0, 100).await;
    for (round, is_killed) in [(1, true), (2, false)] {
        match is_killed {
            true => world.cluster.kill_keeper(),
            false => world.cluster.freeze_keeper(),
        }
        let writing = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { block(&store, round * 100, (round + 1) * 100).await })
        };
        // Longer than a session with Keeper.
        world.until(1, "SELECT toUInt64(count() > 0) FROM system.replicas WHERE is_readonly", 1).await;
        assert!(!writing.is_finished());
        match is_killed {
            true => world.cluster.start_keeper(),
            false => world.cluster.thaw_keeper(),
        }
        writing.await.unwrap();
    }
    until_all_have(&world, &[0, 1, 2], 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_replica_stores_block_after_block() {
    let world = World::new(1).await;
    let replicas = world.replicas(0);
    let store = store(replicas.clone());
    store.catch_up().await.unwrap();
    assert_eq!(replicas.registered(), 1);
    for number in 0..5 {
        block(&store, number * 100, (number + 1) * 100).await;
    }
    until_all_have(&world, &[0], 500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_both_are_waited_for() {
    let mut world = World::new(2).await;
    let replicas = world.replicas(0);
    let store = Arc::new(store(replicas.clone()));
    store.catch_up().await.unwrap();
    block(&store, 0, 100).await;
    world.cluster.kill(1);
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { block(&store, 100, 200).await })
    };
    let deadline = Instant::now() + Duration::from_secs(240);
    while replicas.waiting_for(Duration::ZERO).is_none() {
        assert!(Instant::now() < deadline && !writing.is_finished(), "the quorum is waited for, and shown");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.cluster.revive(1);
    writing.await.unwrap();
    until_all_have(&world, &[0, 1], 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeper_dies_under_many_inserts_and_no_rollup_counts_twice() {
    let mut world = World::new(3).await;
    let replicas: Vec<_> = (0..8).map(|writer| world.replicas(writer)).collect();
    let writers: Vec<_> = (0..8u64)
        .zip(&replicas)
        .map(|(writer, replicas)| {
            let store = store(replicas.clone());
            tokio::spawn(async move {
                store.catch_up().await.unwrap();
                for number in 0..60 {
                    let first = writer * 1_000_000 + number * 100;
                    let token = range(first, first + 100).token();
                    while let Err(error) = store.insert(&token, &clicks(first, first + 100)).await {
                        println!("{error:?}");
                    }
                }
            })
        })
        .collect();
    for round in 1..=3 {
        let stored = format!("SELECT toUInt64(count() >= {}) FROM clicks", round * 9_000);
        world.until(0, &stored, 1).await;
        world.cluster.kill_keeper();
        let deadline = Instant::now() + Duration::from_secs(240);
        // Inserts that were on their way have met it, and one of them for longer than a session with Keeper.
        while !replicas.iter().any(|replicas| replicas.waiting_for(Duration::from_secs(4)).is_some()) {
            assert!(Instant::now() < deadline, "a dead Keeper is waited for, and shown");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.cluster.start_keeper();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    until_all_have(&world, &[0, 1, 2], 48_000).await;
}

/// A part that only a dead replica has is given up by the others once they look for it; who waits meanwhile under the
/// same token is told that it is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollup_that_only_a_dead_replica_had_is_made_again() {
    let mut world = World::new(3).await;
    let replicas = world.replicas(0);
    let watched = replicas.clone();
    tokio::spawn(async move { watched.watch().await });
    let store = Arc::new(store(replicas.clone()));
    store.catch_up().await.unwrap();
    for (round, rollup) in (0..).zip(["funnel_quarter_hourly", "funnel_daily"]) {
        let (first, end) = (round * 100, (round + 1) * 100);
        let asked = (0..3).find(|replica| replicas.name() == world.cluster.url(*replica)).unwrap();
        world.cluster.keep_parts_of(asked, rollup);
        let writing = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { block(&store, first, end).await })
        };
        world.until(asked, &format!("SELECT toUInt64(sum(clicks + other_clicks)) FROM {rollup}"), end).await;
        world.cluster.kill(asked);
        writing.await.unwrap();
        world.cluster.revive(asked);
        until_all_have(&world, &[0, 1, 2], end).await;
    }
}

/// ClickHouse may merge a part while its quorum is open (its issue 43867); when it is given up, what it was merged into is
/// not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_was_merged_before_it_had_its_quorum_is_stored_once() {
    let mut world = World::new(3).await;
    let replicas = world.replicas(0);
    let watched = replicas.clone();
    tokio::spawn(async move { watched.watch().await });
    let store = Arc::new(store(replicas.clone()));
    store.catch_up().await.unwrap();
    for (round, table) in (0..).zip(["clicks", "funnel_quarter_hourly", "funnel_daily"]) {
        let (first, end) = (round * 200, (round + 1) * 200);
        block(&store, first, first + 100).await;
        let asked = (0..3).find(|replica| replicas.name() == world.cluster.url(*replica)).unwrap();
        world.cluster.keep_parts_of(asked, table);
        let writing = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { block(&store, first + 100, end).await })
        };
        let count = if table == "clicks" {
            ALL.into()
        } else {
            format!("SELECT toUInt64(sum(clicks + other_clicks)) FROM {table}")
        };
        world.until(asked, &count, end).await;
        // What a merge in the background does when it likes.
        let merge = format!("OPTIMIZE TABLE {table} FINAL SETTINGS alter_sync = 0");
        let _ = world.client(asked).query(&merge).execute().await;
        let merged = format!("SELECT toUInt64(count()) FROM system.merges WHERE table = '{table}'");
        world.until(asked, &merged, 0).await;
        world.cluster.kill(asked);
        writing.await.unwrap();
        world.cluster.revive(asked);
        until_all_have(&world, &[0, 1, 2], end).await;
        // And what the others are still to fetch.
        for replica in 0..3 {
            let fetch = format!("SYSTEM SYNC REPLICA {table}");
            world.client(replica).query(&fetch).execute().await.unwrap();
        }
        until_all_have(&world, &[0, 1, 2], end).await;
    }
}
