//! A partition rather stands still than to store wrongly, and the operator can make it go on.

use crate::{
    events::{click, keys, lead},
    rewards::{AT, event},
    world::World,
};
use bytes::Bytes;
use std::{fs, path::Path, sync::Arc, time::Duration};
use whence_aggregator::{
    journal::{JournalSettings, JournalSource},
    partition::{LoopError, LoopSettings, PartitionLoop},
    position::Partition,
    store::RewardStore as _,
    work::{MachineClock, Stop, work},
};
use whence_journal::{JournalConfig, Quota, Writer};
use whence_schemas::{
    event::{Erasure, Identify, Participant, Subject, event::Body},
    time::UnixMs,
    token::KeyRing,
    topics::Stream,
};

const ALL: &str = "SELECT count() FROM clicks";

fn settings(resume_behind_stored: bool) -> LoopSettings {
    LoopSettings {
        block_records_max: 300,
        linger: Duration::from_millis(20),
        resume_behind_stored,
        ..LoopSettings::default()
    }
}

fn append(dir: &Path, records: impl Iterator<Item = Bytes>) {
    let config = JournalConfig { dir: dir.to_owned(), segment_bytes: 1 << 20, quota: Quota::bytes(1 << 30) };
    let mut writer = Writer::open(config).unwrap();
    for record in records {
        writer.append(&record).unwrap();
    }
}

fn source(dir: &Path, stream: Stream) -> JournalSource {
    JournalSource::new(JournalSettings {
        dir: dir.to_owned(),
        checkpoint: dir.with_extension("checkpoint"),
        partition: Partition { stream, number: 0 },
        grace: Duration::from_secs(3600),
        accept_loss: false,
    })
}

async fn work_until(world: &World, dir: &Path, settings: LoopSettings, clicks: u64) {
    let stop = Stop::default();
    let (store, stops, source) = (world.store.clone(), stop.clone(), source(dir, Stream::Clicks));
    let task = tokio::spawn(async move { work(source, &store, settings, keys(), stops).await });
    world.until(ALL, clicks).await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_commit_a_partition_stands_still_until_it_may_go_on_behind_what_is_stored() {
    let world = World::new().await;
    let dir = world.dir.path().join("clicks-0");
    // Two incarnations.
    append(&dir, (0..1000).map(click));
    append(&dir, (1000..2000).map(click));
    work_until(&world, &dir, settings(false), 2000).await;

    fs::remove_file(dir.with_extension("checkpoint")).unwrap();
    append(&dir, (2000..2500).map(click));
    let clock = MachineClock::default();
    let refused = PartitionLoop::new(
        source(&dir, Stream::Clicks),
        &world.store,
        &clock,
        settings(false),
        keys(),
        |_| {},
    );
    let refused = refused.run().await.unwrap_err();
    assert!(matches!(refused, LoopError::StoredAlready { next: 0, stored_end: 1000, .. }), "{refused:?}");
    assert!(refused.to_string().contains("--resume-behind-stored"), "{refused}");
    assert_eq!(world.count(ALL).await, 2000);

    work_until(&world, &dir, settings(true), 2500).await;
    assert_eq!(world.count("SELECT uniqExact(id) FROM clicks").await, 2500);
    assert_eq!(world.count("SELECT count() FROM rejects").await, 0);
    world.check_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_key_that_is_missing_here_waits_for_the_key() {
    let world = World::new().await;
    let dir = world.dir.path().join("conversions");
    append(&dir, (0..5).map(lead));
    let clock = MachineClock::default();
    let other = Arc::new(KeyRing::new(2, &[(2, [2; 32])]).unwrap());
    let from = || source(&dir, Stream::Conversions);
    let refused = PartitionLoop::new(from(), &world.store, &clock, settings(false), other, |_| {});
    let refused = refused.run().await.unwrap_err();
    assert!(matches!(refused, LoopError::UnknownKey(_)), "{refused:?}");
    assert_eq!(world.count("SELECT count() FROM leads").await, 0);

    let stop = Stop::default();
    let (store, stops, again) = (world.store.clone(), stop.clone(), from());
    let task = tokio::spawn(async move { work(again, &store, settings(false), keys(), stops).await });
    world.until("SELECT count() FROM leads WHERE evidence = 'token'", 5).await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_without_end() {
    let world = World::new().await;
    let dir = world.dir.path().join("conversions");
    let joined = |number: u64| {
        let keys = vec![Bytes::from_static(&[7; 16])];
        let participant = Participant { referrer: format!("r{number}"), keys, prefix: 0 };
        event(&format!("joined {number}"), AT, Body::Participant(participant))
    };
    append(&dir, (0..1003).map(joined));
    let stop = Stop::default();
    let (store, stops, source) = (world.store.clone(), stop.clone(), source(&dir, Stream::Conversions));
    let task = tokio::spawn(async move { work(source, &store, settings(false), keys(), stops).await });
    world.until("SELECT count() FROM rejects WHERE reason = 'person_too_large'", 3).await;
    assert_eq!(world.count("SELECT count() FROM participants").await, 1000);
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_linked_without_end() {
    let world = World::new().await;
    let dir = world.dir.path().join("conversions");
    let subject = |numbers: [u8; 2]| {
        let keys = numbers.iter().map(|number| Bytes::from(vec![*number; 16])).collect();
        Some(Subject { keys, ..Subject::default() })
    };
    let linked = |key: &str, numbers| {
        event(key, AT, Body::Identify(Identify { subject: subject(numbers), ..Identify::default() }))
    };
    append(&dir, (0..150).map(|number| linked(&format!("{number}"), [number, number + 1])));
    let stop = Stop::default();
    let (store, stops, from) = (world.store.clone(), stop.clone(), source(&dir, Stream::Conversions));
    let task = tokio::spawn(async move { work(from, &store, settings(false), keys(), stops).await });
    world.until("SELECT count() FROM identifies", 150).await;

    // 150 links lead to the end of the chain from its other end, 75 from the middle.
    append(&dir, [linked("end", [0, 200])].into_iter());
    world.until("SELECT count() FROM rejects WHERE reason = 'person_too_large'", 1).await;
    append(&dir, [linked("middle", [75, 201])].into_iter());
    world.until("SELECT count() FROM identifies", 151).await;
    assert_eq!(world.count("SELECT count() FROM rejects").await, 1);

    let forgotten = Erasure { subject: subject([0, 0]), requested_by: "privacy desk".into() };
    append(&dir, [event("forgotten", AT, Body::Erasure(forgotten))].into_iter());
    // All of the chain.
    world.until("SELECT uniqExact(key) FROM subject_keys WHERE kind = 'erased' AND live", 152).await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rewards_of_a_partition_that_is_gone_are_looked_after_by_the_first() {
    let world = World::new().await;
    let line = "INSERT INTO rewards (program, lead_id, reward_id, sign, state, amount_minor, currency, due_at, \
                received_at, incarnation, partition) SELECT 'demo', generateUUIDv4(), generateUUIDv4(), 1, \
                'accrued', 500, 'EUR', fromUnixTimestamp64Milli(1770000000000), now64(3), generateUUIDv4(), 7";
    world.client.query(line).execute().await.unwrap();
    let (due, hour) = (UnixMs(1_770_000_000_000), 60 * 60 * 1000);
    let count = async |partition, at| world.store.rewards_due(partition, at, 10).await.unwrap().len();
    assert_eq!(count(7, due).await, 1);
    assert_eq!(count(0, due.plus_ms(hour - 1)).await, 0);
    assert_eq!(count(0, due.plus_ms(hour)).await, 1);
    assert_eq!(count(1, due.plus_ms(hour)).await, 0);
}
