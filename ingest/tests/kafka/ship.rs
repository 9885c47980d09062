//! The shipper against a real broker: what arrives, in which order, and what the checkpoint says.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::ship_support::*;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use whence_ingest::ship::{Connection, ShipConfig};
use whence_ingest::topics::{TopicPlan, TopicReport, ensure_topics};
use whence_kafka::Cluster;
use whence_schemas::topics::Stream;

#[tokio::test]
async fn every_record_arrives_once_under_its_key_and_the_checkpoint_is_the_end() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 3, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut clicks = [0, 1].map(|n| Source::open(&root, &format!("once-clicks-{n}"), Stream::Clicks));
    let mut conversions = Source::open(&root, "once-conversions", Stream::Conversions);
    let shipping = Shipping::start(config(&cluster), &[&clicks[0], &clicks[1], &conversions]);
    for number in 0..3000 {
        clicks[number as usize % 2].append(&click(number));
        conversions.append(&conversion(["alpha", "beta", "gamma"][number as usize % 3], number));
    }
    let report = shipping.stop().await;
    assert!(report.is_drained, "{report:?}");

    let arrived_clicks = arrived(&cluster, Stream::Clicks);
    assert_eq!(arrived_clicks.len(), 3000);
    for record in &arrived_clicks {
        assert_eq!(record.payload, click(click_number(&record.payload)), "the record is as it was appended");
        assert_eq!(record.key.as_deref(), Some(&record.payload[2..18]), "the key is the click id");
    }
    let mut of_program: BTreeMap<Vec<u8>, (i32, Vec<u64>)> = BTreeMap::new();
    for record in arrived(&cluster, Stream::Conversions) {
        let (partition, numbers) =
            of_program.entry(record.key.unwrap()).or_insert((record.partition, Vec::new()));
        assert_eq!(*partition, record.partition, "a program has one partition");
        numbers.push(event_number(&record.payload));
    }
    assert_eq!(of_program.keys().collect::<Vec<_>>(), [b"alpha".as_slice(), b"beta", b"gamma"]);
    for (_, numbers) in of_program.values() {
        assert!(numbers.is_sorted() && numbers.len() == 1000, "a program's events are in order and complete");
    }
    for source in clicks.iter().chain([&conversions]) {
        let shipped_to = report.journals.iter().find(|journal| journal.dir == source.dir).unwrap().shipped_to;
        assert_eq!(source.checkpoint().map(|checkpoint| checkpoint.position), shipped_to);
        assert_eq!(metric("whence_ship_resent_records_total", source), 0.0);
        assert_eq!(metric("whence_ship_in_flight_records", source), 0.0);
        assert_eq!(metric("whence_ship_lag_bytes", source), 0.0);
    }
    assert_eq!(metric("whence_ship_acknowledged_records_total", &conversions), 3000.0);
}

#[tokio::test]
async fn a_restart_goes_on_behind_the_checkpoint_and_into_later_incarnations() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 2, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::open(&root, "restart-clicks", Stream::Clicks);
    for round in 0..3u64 {
        let shipping = Shipping::start(config(&cluster), &[&clicks]);
        for number in 0..500 {
            clicks.append(&click(round * 1000 + number));
        }
        clicks.reopen();
        for number in 500..1000 {
            clicks.append(&click(round * 1000 + number));
        }
        assert!(shipping.stop().await.is_drained);
    }
    let mut numbers: Vec<u64> =
        arrived(&cluster, Stream::Clicks).iter().map(|r| click_number(&r.payload)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..3000).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_an_earlier_opening_of_the_journal_left_goes_although_nothing_comes() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 1, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::open(&root, "idle-clicks", Stream::Clicks);
    clicks.append(&click(1));
    clicks.reopen();
    let settings = ShipConfig { segment_grace: Duration::ZERO, ..config(&cluster) };
    let shipping = Shipping::start(settings, &[&clicks]);
    eventually("the first click is off the disk", || clicks.segments().len() == 1).await;
    clicks.append(&click(2));
    assert!(shipping.stop().await.is_drained);
    let numbers: Vec<u64> =
        arrived(&cluster, Stream::Clicks).iter().map(|r| click_number(&r.payload)).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn without_a_checkpoint_everything_is_sent_again_and_nothing_is_missing() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 2, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::open(&root, "damaged-clicks", Stream::Clicks);
    (0..100).for_each(|number| clicks.append(&click(number)));
    assert!(Shipping::start(config(&cluster), &[&clicks]).stop().await.is_drained);
    std::fs::write(clicks.dir.join("shipper.checkpoint"), b"damaged").unwrap();
    (100..200).for_each(|number| clicks.append(&click(number)));
    assert!(Shipping::start(config(&cluster), &[&clicks]).stop().await.is_drained);
    let arrived = arrived(&cluster, Stream::Clicks);
    assert_eq!(arrived.len(), 300, "the first hundred twice");
    assert_eq!(first_numbers(&arrived, click_number).concat().len(), 200);
    assert_eq!(metric("whence_ship_damaged_checkpoints_total", &clicks), 1.0);
}

#[tokio::test]
async fn a_corrupt_record_is_counted_and_passed_over() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 1, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::open(&root, "corrupt-clicks", Stream::Clicks);
    (0..100).for_each(|number| clicks.append(&click(number)));
    clicks.close();
    let file = std::fs::OpenOptions::new().write(true).open(&clicks.segments()[0]).unwrap();
    // Behind the header page, across two of the records at most.
    file.write_all_at(&[0xff; 32], 4096 + 5000).unwrap();
    let report = Shipping::start(config(&cluster), &[&clicks]).stop().await;
    assert!(report.is_drained);
    let corrupt = metric("whence_ship_corrupt_records_total", &clicks);
    assert!((1.0..=2.0).contains(&corrupt), "{corrupt}");
    assert_eq!(arrived(&cluster, Stream::Clicks).len() as f64 + corrupt, 100.0);
    assert_eq!(report.journals[0].shipped_to.unwrap().offset, 100);
}

#[tokio::test]
async fn records_removed_before_they_were_shipped_are_counted_as_lost() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 1, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::with_segments(&root, "removed-clicks", Stream::Clicks, 32 << 10);
    clicks.append(&click(0));
    assert!(Shipping::start(config(&cluster), &[&clicks]).stop().await.is_drained);
    (1..1000).for_each(|number| clicks.append(&click(number)));
    for segment in &clicks.segments()[..2] {
        std::fs::remove_file(segment).unwrap();
    }
    assert!(Shipping::start(config(&cluster), &[&clicks]).stop().await.is_drained);
    let arrived = arrived(&cluster, Stream::Clicks);
    let lost = metric("whence_ship_lost_records_total", &clicks);
    assert_eq!(arrived.len() as f64 + lost, 1000.0, "every record is there or counted");
    assert!(lost > 0.0);
    assert_eq!(metric("whence_ship_lost_ranges_total", &clicks), 1.0);
}

#[tokio::test]
async fn a_checkpoint_of_another_journal_removes_nothing_and_ships_all() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 1, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut older = Source::with_segments(&root, "older-clicks", Stream::Clicks, 32 << 10);
    (0..1000).for_each(|number| older.append(&click(number)));
    let mut newer = Source::open(&root, "newer-clicks", Stream::Clicks);
    newer.append(&click(1000));
    assert!(Shipping::start(config(&cluster), &[&newer]).stop().await.is_drained);
    std::fs::copy(newer.dir.join("shipper.checkpoint"), older.dir.join("shipper.checkpoint")).unwrap();
    let config = ShipConfig { segment_grace: Duration::ZERO, ..config(&cluster) };
    assert!(Shipping::start(config, &[&older]).stop().await.is_drained);
    assert_eq!(arrived(&cluster, Stream::Clicks).len(), 1001);
}

#[tokio::test]
async fn segments_go_only_after_acknowledgement_and_grace() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 1, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut kept = Source::with_segments(&root, "kept-clicks", Stream::Clicks, 32 << 10);
    let mut retired = Source::with_segments(&root, "retired-clicks", Stream::Clicks, 32 << 10);
    for number in 0..2000 {
        kept.append(&click(number));
        retired.append(&click(number));
    }
    let before = kept.segments().len();
    assert!(before > 3 && retired.segments().len() == before);
    let with_grace = Shipping::start(config(&cluster), &[&kept]);
    let without = ShipConfig { segment_grace: Duration::ZERO, ..config(&cluster) };
    let without = Shipping::start(without, &[&retired]);
    eventually("all but the newest segment goes", || retired.segments().len() == 1).await;
    assert_eq!(kept.segments().len(), before, "acknowledged, but younger than the grace period");
    assert!(with_grace.stop().await.is_drained);
    assert!(without.stop().await.is_drained);
    assert_eq!(arrived(&cluster, Stream::Clicks).len(), 4000);
}

/// The broker rejects the whole batch for one record's sake: its neighbours must not go with it.
#[tokio::test]
async fn a_record_that_kafka_refuses_is_kept_aside_and_holds_up_nothing() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 1, &[("max.message.bytes", "3000")]).await;
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::open(&root, "refused-clicks", Stream::Clicks);
    for number in 0..40 {
        clicks.append(&click(number));
    }
    clicks.append(&incompressible(5000));
    for number in 40..60 {
        clicks.append(&click(number));
    }
    let shipping = Shipping::start(config(&cluster), &[&clicks]);
    eventually("the refusal is counted", || metric("whence_ship_refused_total", &clicks) > 0.0).await;
    for number in 60..80 {
        clicks.append(&click(number));
    }
    let report = shipping.stop().await;
    assert!(report.is_drained, "{report:?}");
    assert_eq!(report.journals[0].shipped_to.unwrap().offset, 81);
    let arrived = arrived(&cluster, Stream::Clicks);
    let mut numbers = first_numbers(&arrived, click_number).concat();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..80).collect::<Vec<u64>>());
    assert_eq!(metric("whence_ship_refused_total", &clicks), 1.0);
    let kept: Vec<_> = std::fs::read_dir(clicks.dir.join("refused")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(std::fs::read(kept[0].as_ref().unwrap().path()).unwrap(), incompressible(5000));
}

fn incompressible(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.push((state >> 32) as u8);
    }
    bytes
}

/// A missing topic is something an operator sets right: nothing is lost by it.
#[tokio::test]
async fn a_topic_that_comes_later_gets_everything() {
    let cluster = cluster_at(&brokers());
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::open(&root, "early-clicks", Stream::Clicks);
    (0..500).for_each(|number| clicks.append(&click(number)));
    let shipping = Shipping::start(config(&cluster), &[&clicks]);
    eventually("the broker answers", || shipping.handle().status().connection == Connection::Up).await;
    make_topics(&cluster, 1, &[]).await;
    assert!(shipping.stop().await.is_drained);
    let numbers = first_numbers(&arrived(&cluster, Stream::Clicks), click_number).concat();
    assert_eq!(numbers, (0..500).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_shutdown_without_kafka_ends_in_time_and_keeps_everything() {
    // Nothing listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = Cluster { brokers: format!("127.0.0.1:{port}"), ..Cluster::default() };
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::open(&root, "away-clicks", Stream::Clicks);
    (0..500).for_each(|number| clicks.append(&click(number)));
    let config = ShipConfig { drain_max: Duration::from_millis(200), ..config(&nobody) };
    let shipping = Shipping::start(config, &[&clicks]);
    eventually("it notices", || shipping.handle().status().connection == Connection::Away).await;
    let report = shipping.stop().await;
    assert!(!report.is_drained);
    assert_eq!(report.journals[0].shipped_to, None);
    assert!(report.journals[0].lag_bytes.unwrap() >= 500 * 100);
    assert_eq!(clicks.checkpoint(), None);

    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 1, &[]).await;
    let shipping = Shipping::start(crate::ship_support::config(&cluster), &[&clicks]);
    assert!(shipping.stop().await.is_drained, "the next process ships what was left");
    assert_eq!(arrived(&cluster, Stream::Clicks).len(), 500);
}

#[tokio::test]
async fn what_a_topic_holds_is_gone_when_its_time_is_over_however_little_comes() {
    let cluster = cluster_at(&brokers());
    let plan = TopicPlan {
        clicks_partitions: 1,
        conversions_partitions: 1,
        replication: Some(1),
        retention: Duration::from_secs(3),
    };
    ensure_topics(&cluster, &plan, DEADLINE).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let mut conversions = Source::open(&root, "aged", Stream::Conversions);
    let shipping = Shipping::start(config(&cluster), &[&conversions]);
    conversions.append(&conversion("alpha", 1));
    assert!(shipping.stop().await.is_drained);
    // The record was there, and nothing comes after it that would close its segment.
    eventually("the only record is removed", || {
        let (first, next) = ends(&cluster, Stream::Conversions);
        assert_eq!(next, 1);
        first == 1
    })
    .await;
    assert!(arrived(&cluster, Stream::Conversions).is_empty());
}

#[tokio::test]
async fn topics_are_made_once_and_never_changed() {
    let cluster = cluster_at(&brokers());
    let plan = TopicPlan {
        clicks_partitions: 3,
        conversions_partitions: 2,
        replication: Some(1),
        retention: Duration::from_secs(86_400),
    };
    let made = ensure_topics(&cluster, &plan, DEADLINE).await.unwrap();
    assert_eq!(made.iter().map(|topic| topic.partitions).collect::<Vec<_>>(), [3, 2, 2, 1, 1]);
    assert!(made.iter().all(|topic| topic.is_new && topic.copies == 1));
    let found = ensure_topics(&cluster, &plan, DEADLINE).await.unwrap();
    assert!(found.iter().all(|topic| !topic.is_new && topic.differences.is_empty()), "{found:?}");
    let told = |found: &[TopicReport]| -> Vec<Vec<String>> {
        found.iter().map(|topic| topic.differences.iter().map(ToString::to_string).collect()).collect()
    };
    let shorter = TopicPlan { retention: Duration::from_secs(43_200), ..plan.clone() };
    let found = ensure_topics(&cluster, &shorter, DEADLINE).await.unwrap();
    let longer = vec![
        "retention.ms is 86400000 (1.0 days), 43200000 (0.5 days) is planned".to_owned(),
        "segment.ms is 86400000 (1.0 days), 43200000 (0.5 days) is planned".to_owned(),
    ];
    assert_eq!(told(&found), [longer.clone(), longer.clone(), longer, vec![], vec![]]);
    let other = TopicPlan { clicks_partitions: 5, replication: Some(3), ..plan };
    let found = ensure_topics(&cluster, &other, DEADLINE).await.unwrap();
    assert_eq!(
        told(&found)[0],
        [
            "partitions is 3, 5 is planned",
            "copies is 1, 3 is planned",
            "min.insync.replicas is 1, 2 is planned"
        ]
    );
    assert_eq!(found[0].partitions, 3);
}

#[tokio::test]
async fn more_copies_than_brokers_are_refused_in_words() {
    let cluster = cluster_at(&brokers());
    let plan = TopicPlan {
        clicks_partitions: 1,
        conversions_partitions: 1,
        replication: Some(9),
        retention: Duration::from_secs(3600),
    };
    let error = ensure_topics(&cluster, &plan, DEADLINE).await.unwrap_err();
    assert_eq!(error.to_string(), "topic-replication is 9, and there are 1 brokers");
}

/// Of each codec that a topic can ask for: without one of them in the build, its clicks would stop for good.
#[tokio::test]
async fn a_topic_of_any_compression_takes_and_gives_clicks() {
    for compression in ["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"] {
        let cluster = cluster_at(&brokers());
        make_topics(&cluster, 1, &[("compression.type", compression)]).await;
        let root = tempfile::tempdir().unwrap();
        let mut clicks = Source::open(&root, "codec", Stream::Clicks);
        (0..500).for_each(|number| clicks.append(&click(number)));
        let shipping = Shipping::start(config(&cluster), &[&clicks]);
        assert!(shipping.stop().await.is_drained, "{compression}");
        let numbers = first_numbers(&arrived(&cluster, Stream::Clicks), click_number).concat();
        assert_eq!(numbers, (0..500).collect::<Vec<u64>>(), "{compression}");
    }
}

#[tokio::test]
async fn the_operator_chooses_the_codec_and_no_promise() {
    let mut cluster = cluster_at(&brokers());
    make_topics(&cluster, 1, &[]).await;
    // Given past the check of settings: what is whence's own holds all the same.
    for (name, value) in [("compression.type", "zstd"), ("acks", "0"), ("enable.idempotence", "false")] {
        cluster.properties.insert(name.to_owned(), value.to_owned());
    }
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::open(&root, "own", Stream::Clicks);
    (0..100).for_each(|number| clicks.append(&click(number)));
    let shipping = Shipping::start(config(&cluster), &[&clicks]);
    assert!(shipping.stop().await.is_drained);
    let client =
        cluster.client(&[("compression.type", "lz4")], &[("acks", "all"), ("enable.idempotence", "true")]);
    assert_eq!(
        ["acks", "enable.idempotence", "compression.type"].map(|name| client.get(name)),
        [Some("all"), Some("true"), Some("zstd")]
    );
    assert_eq!(arrived(&cluster, Stream::Clicks).len(), 100);
}

#[tokio::test]
async fn a_topic_that_was_given_more_partitions_gets_nothing_more_and_one_made_anew_does() {
    let cluster = cluster_at(&brokers());
    make_topics(&cluster, 2, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut clicks = Source::open(&root, "repartitioned", Stream::Clicks);
    (0..100).for_each(|number| clicks.append(&click(number)));
    let shipping = Shipping::start(config(&cluster), &[&clicks]);
    eventually("they are there", || arrived(&cluster, Stream::Clicks).len() == 100).await;

    // While it ships: as soon as its statistics show it.
    let admin: AdminClient<DefaultClientContext> = cluster.client(&[], &[]).create().unwrap();
    let topic = cluster.topic(Stream::Clicks.topic());
    let more = [NewPartitions::new(&topic, 3)];
    admin.create_partitions(&more, &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    assert!(shipping.stop().await.is_drained);

    // And at the next start, before a record is sent.
    (100..200).for_each(|number| clicks.append(&click(number)));
    let hurried = ShipConfig { drain_max: Duration::from_millis(100), ..config(&cluster) };
    let shipping = Shipping::start(hurried.clone(), &[&clicks]);
    eventually("it is told", || shipping.handle().status().trouble.is_some()).await;
    let trouble = shipping.handle().status().trouble.unwrap();
    let said = format!("the topic {topic} had 2 partitions when records first went there and has 3 now");
    assert!(trouble.text.starts_with(&said) && !trouble.may_heal, "{trouble:?}");
    assert!(!shipping.stop().await.is_drained);
    assert_eq!(arrived(&cluster, Stream::Clicks).len(), 100);

    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let new_topic = || NewTopic::new(&topic, 3, TopicReplication::Fixed(1));
    let deadline = Instant::now() + DEADLINE;
    // A topic of that name is still being deleted.
    while admin.create_topics(&[new_topic()], &AdminOptions::new()).await.unwrap().remove(0).is_err() {
        assert!(Instant::now() < deadline);
    }
    let shipping = Shipping::start(config(&cluster), &[&clicks]);
    assert!(shipping.stop().await.is_drained);
    assert_eq!(arrived(&cluster, Stream::Clicks).len(), 100);
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_told_by_its_name() {
    let cluster = cluster_at(&brokers());
    let root = tempfile::tempdir().unwrap();
    let clicks = Source::open(&root, "nowhere", Stream::Clicks);
    let hurried = ShipConfig { drain_max: Duration::from_millis(100), ..config(&cluster) };
    let shipping = Shipping::start(hurried, &[&clicks]);
    let topic = cluster.topic(Stream::Clicks.topic());
    let said = format!("the topic {topic} does not exist: run `whence topics`");
    eventually("it is told", || {
        shipping.handle().status().trouble.is_some_and(|trouble| trouble.text == said && trouble.may_heal)
    })
    .await;
    shipping.stop().await;
}
