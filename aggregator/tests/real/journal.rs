//! From a journal to the tables, with crashes.

use crate::{
    events::{click, keys, lead, qualification},
    world::World,
};
use std::{path::Path, time::Duration};
use whence_aggregator::{
    filter::FilterSettings,
    journal::{JournalSettings, JournalSource},
    partition::LoopSettings,
    position::Partition,
    work::{Stop, work},
};
use whence_journal::{Checkpoint, JournalConfig, Quota, Stored, Writer, disk_usage, retire};
use whence_schemas::topics::Stream;

fn writer(dir: &Path) -> Writer {
    Writer::open(JournalConfig { dir: dir.to_owned(), segment_bytes: 1 << 20, quota: Quota::bytes(1 << 30) })
        .unwrap()
}

fn settings() -> LoopSettings {
    LoopSettings { block_records_max: 500, linger: Duration::from_millis(20), ..LoopSettings::default() }
}

fn source(dir: &Path, stream: Stream) -> JournalSource {
    JournalSource::new(JournalSettings {
        dir: dir.to_owned(),
        checkpoint: dir.with_extension("checkpoint"),
        partition: Partition { stream, number: 0 },
        grace: Duration::ZERO,
        accept_loss: false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_the_aggregator_dies_and_the_journal_is_opened_anew() {
    let world = World::new().await;
    let dir = world.dir.path().join("clicks-0");
    let mut offset = 0;
    for life in 0..6 {
        {
            let mut writer = writer(&dir);
            for number in 0..1000 {
                writer.append(&click(life * 1000 + number)).unwrap();
                // What was sent in an earlier life comes again now and then.
                if life > 0 && number % 50 == 0 {
                    writer.append(&click((life - 1) * 1000 + number)).unwrap();
                }
            }
            offset += 1000;
        }
        let stop = Stop::default();
        let (store, stops) = (world.store.clone(), stop.clone());
        let source = source(&dir, Stream::Clicks);
        let task = tokio::spawn(async move { work(source, &store, settings(), keys(), stops).await });
        // Each life but the last is killed somewhere in the middle.
        let wanted = if life == 5 { offset } else { life * 1000 + 1 };
        let deadline = std::time::Instant::now() + Duration::from_secs(240);
        while world.count("SELECT count() FROM clicks").await < wanted {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        stop.at_once.cancel();
        task.await.unwrap();
    }
    let stop = Stop::default();
    let (store, stops) = (world.store.clone(), stop.clone());
    let last = source(&dir, Stream::Clicks);
    let task = tokio::spawn(async move { work(last, &store, settings(), keys(), stops).await });
    world.until("SELECT count() FROM rejects WHERE reason = 'duplicate'", 100).await;
    assert_eq!(world.count("SELECT count() FROM clicks").await, 6000);
    assert_eq!(world.count("SELECT uniqExact(id) FROM clicks").await, 6000);
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_opening_of_the_journal_left_can_go_although_nothing_comes() {
    let world = World::new().await;
    let dir = world.dir.path().join("clicks-0");
    writer(&dir).append(&click(1)).unwrap();
    let mut second = writer(&dir);
    let stop = Stop::default();
    let (store, stops) = (world.store.clone(), stop.clone());
    let source = source(&dir, Stream::Clicks);
    let task = tokio::spawn(async move { work(source, &store, settings(), keys(), stops).await });
    world.until("SELECT count() FROM clicks", 1).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(240);
    while disk_usage(&dir).unwrap().segments > 1 {
        assert!(std::time::Instant::now() < deadline, "the first click is still on the disk");
        if let Stored::Intact(checkpoint) = Checkpoint::load(&dir.with_extension("checkpoint")).unwrap() {
            retire(&dir, checkpoint.position, Duration::ZERO).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    second.append(&click(2)).unwrap();
    world.until("SELECT count() FROM clicks", 2).await;
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_filters_at_half_false_positives_nothing_is_lost() {
    let world = World::new().await;
    let dir = world.dir.path().join("clicks-0");
    let mut writer = writer(&dir);
    for number in 0..5000 {
        writer.append(&click(number % 4000)).unwrap();
    }
    let mut settings = settings();
    settings.dedup.filter =
        FilterSettings { false_positive_rate: 0.5, first_capacity: 16, bytes_max: 1 << 10 };
    settings.dedup.recent_blocks = 0;
    let stop = Stop::default();
    let (store, stops, source) = (world.store.clone(), stop.clone(), source(&dir, Stream::Clicks));
    let task = tokio::spawn(async move { work(source, &store, settings, keys(), stops).await });
    world.until("SELECT count() FROM rejects WHERE reason = 'duplicate'", 1000).await;
    assert_eq!(world.count("SELECT uniqExact(id) FROM clicks").await, 4000);
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn qualifications_find_their_leads_whichever_comes_first_and_bad_records_become_rejects() {
    let world = World::new().await;
    let dir = world.dir.path().join("conversions");
    let mut writer = writer(&dir);
    let mut append = |record: bytes::Bytes| _ = writer.append(&record).unwrap();
    for person in 0..300 {
        match person % 3 {
            0 => [lead(person), qualification(person)].into_iter().for_each(&mut append),
            1 => append(qualification(person)),
            _ => {
                [qualification(person), qualification(person), lead(person)].into_iter().for_each(&mut append)
            }
        }
    }
    (0..300).filter(|person| person % 6 == 1).map(lead).for_each(&mut append);
    writer.append(b"\xff not protobuf").unwrap();
    writer.append(&click(1)).unwrap();

    let stop = Stop::default();
    let (store, stops, source) = (world.store.clone(), stop.clone(), source(&dir, Stream::Conversions));
    let task = tokio::spawn(async move { work(source, &store, settings(), keys(), stops).await });
    world.until("SELECT count() FROM rejects WHERE reason = 'malformed'", 2).await;
    assert_eq!(world.count("SELECT count() FROM rejects WHERE reason = 'duplicate'").await, 100);
    assert_eq!(
        world
            .count("SELECT count() FROM leads WHERE evidence = 'token' AND click_id != toUUIDOrZero('')")
            .await,
        250
    );
    assert_eq!(world.count("SELECT toUInt64(sum(sign)) FROM qualifications").await, 300);
    let matched =
        "SELECT toUInt64(sum(sign)) FROM qualifications WHERE referrer != '' AND evidence = 'token'";
    assert_eq!(world.count(matched).await, 250);
    assert_eq!(world.count("SELECT count() FROM unmatched WHERE kind = 'qualification'").await, 50);
    assert_eq!(
        world.count("SELECT toUInt64(sum(qualification_events)) FROM funnel WHERE referrer != ''").await,
        250
    );
    assert_eq!(
        world.count("SELECT toUInt64(sum(value_minor)) FROM funnel_quarter_hourly WHERE referrer != '' AND currency = 'EUR'").await,
        250 * 1999
    );
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}
