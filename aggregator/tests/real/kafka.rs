//! From a real broker to the tables: two members, kills, a topic deleted and created again.

use crate::{
    events::{click, keys, lead, qualification},
    rewards,
    world::World,
};
use bytes::Bytes;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    producer::{BaseProducer, BaseRecord, Producer},
};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use uuid::Uuid;
use whence_aggregator::{
    clickhouse::ClickHouseStore,
    kafka::{GroupSettings, run},
    partition::LoopSettings,
    work::Stop,
};
use whence_kafka::Heard;
use whence_schemas::topics::Stream;

fn brokers() -> String {
    std::env::var("WHENCE_TEST_KAFKA_BROKERS")
        .expect("WHENCE_TEST_KAFKA_BROKERS names a broker: use `make test`, or deploy/kafka/kafka up")
}

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers());
    config
}

pub async fn create(topic: &str, partitions: i32) {
    let admin: AdminClient<_> = client().create().unwrap();
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        match admin.create_topics([&topic], &AdminOptions::new()).await.unwrap().remove(0) {
            Ok(_) => return,
            // A topic of that name is still being deleted.
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn produce(topic: &str, records: impl Iterator<Item = (Vec<u8>, Bytes)>) {
    let producer: BaseProducer = client()
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    for (key, payload) in records {
        producer.send(BaseRecord::to(topic).key(&key).payload(payload.as_ref())).map_err(|(e, _)| e).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn keyed(number: u64) -> (Vec<u8>, Bytes) {
    (crate::events::click_id(number).0.as_bytes().to_vec(), click(number))
}

pub struct Member {
    stop: Stop,
    task: JoinHandle<()>,
}

/// A member of this name, which it keeps.
fn join_as(
    name: &str,
    heard: &Heard,
    store: &ClickHouseStore,
    group: &str,
    topics: &[(Stream, String)],
) -> Member {
    let settings = GroupSettings {
        group: group.into(),
        member: name.into(),
        topics: topics.into(),
        session_timeout: Duration::from_secs(3),
        heard: heard.clone(),
        ..GroupSettings::new(&brokers())
    };
    start(400, store, settings)
}

fn join(store: &ClickHouseStore, group: &str, topics: &[(Stream, String)]) -> Member {
    join_with(400, store, group, topics)
}

/// A member whose blocks have so many records at most.
pub fn join_with(
    block_records_max: usize,
    store: &ClickHouseStore,
    group: &str,
    topics: &[(Stream, String)],
) -> Member {
    let settings = GroupSettings {
        group: group.into(),
        topics: topics.into(),
        session_timeout: Duration::from_secs(6),
        ..GroupSettings::new(&brokers())
    };
    start(block_records_max, store, settings)
}

fn start(block_records_max: usize, store: &ClickHouseStore, settings: GroupSettings) -> Member {
    let loops = LoopSettings {
        block_records_max,
        linger: Duration::from_millis(50),
        sweep_every: Duration::from_millis(200),
        ..LoopSettings::default()
    };
    let (stop, store) = (Stop::default(), store.clone());
    let stops = stop.clone();
    let task = tokio::spawn(async move { run(settings, store, None, loops, keys(), stops).await.unwrap() });
    Member { stop, task }
}

impl Member {
    pub async fn leave(self) {
        self.stop.after_block.cancel();
        self.task.await.unwrap();
    }

    /// Drops every block in flight where it is.
    pub async fn die(self) {
        self.stop.at_once.cancel();
        self.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_that_come_and_go_store_every_record_once() {
    let world = World::new().await;
    let unique = Uuid::now_v7().simple().to_string();
    let topics = [Stream::Clicks, Stream::Conversions].map(|s| (s, format!("{}-{unique}", s.topic())));
    create(&topics[0].1, 4).await;
    create(&topics[1].1, 2).await;
    produce(&topics[0].1, (0..12_000).map(|n| keyed(n % 11_000)));
    produce(&topics[0].1, [(b"k".to_vec(), Bytes::from_static(b"\xff"))].into_iter());
    let conversions = (0..400).flat_map(|p| [lead(p), qualification(p), qualification(p)]);
    produce(&topics[1].1, conversions.map(|record| (b"demo".to_vec(), record)));

    let steady = join(&world.store, &unique, &topics);
    for _ in 0..4 {
        let member = join(&world.store, &unique, &topics);
        let seen = world.count("SELECT count() FROM clicks").await;
        let deadline = Instant::now() + Duration::from_secs(240);
        while world.count("SELECT count() FROM clicks").await < (seen + 500).min(11_000)
            && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        member.die().await;
    }
    world.until("SELECT uniqExact(id) FROM clicks", 11_000).await;
    world.until("SELECT count() FROM rejects WHERE reason = 'duplicate'", 1400).await;
    world.until("SELECT toUInt64(sum(sign)) FROM qualifications WHERE referrer != ''", 400).await;
    world.until("SELECT count() FROM rejects WHERE reason = 'malformed'", 1).await;
    world.check_consistent().await;
    steady.leave().await;
}

/// As during a restart whose first half is slow. `run` has returned no error: [`Member::leave`] looks.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_name_another_one_has_taken_says_so_and_joins_again() {
    let world = World::new().await;
    let unique = Uuid::now_v7().simple().to_string();
    let topics = [(Stream::Clicks, format!("whence.clicks-{unique}"))];
    create(&topics[0].1, 2).await;
    produce(&topics[0].1, (0..500).map(keyed));
    let heard = [Heard::default(), Heard::default()];
    let first = join_as("one", &heard[0], &world.store, &unique, &topics);
    world.until("SELECT count() FROM clicks", 500).await;
    let second = join_as("one", &heard[1], &world.store, &unique, &topics);
    let told = "another process has taken the place of the member one";
    until("the first one is told", || heard[0].work().is_some_and(|work| work.text.starts_with(told))).await;
    produce(&topics[0].1, (500..1000).map(keyed));
    // Both stay: they take the place from each other, ever more seldom, and lose nothing.
    world.until("SELECT count() FROM clicks", 1000).await;
    second.leave().await;
    produce(&topics[0].1, (1000..1500).map(keyed));
    world.until("SELECT count() FROM clicks", 1500).await;
    until("all is well", || heard[0].last().is_none()).await;
    world.check_consistent().await;
    first.leave().await;
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(240);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_given_more_partitions_is_refused_by_name() {
    let world = World::new().await;
    let unique = Uuid::now_v7().simple().to_string();
    let topics = [(Stream::Clicks, format!("whence.clicks-{unique}"))];
    create(&topics[0].1, 2).await;
    produce(&topics[0].1, (0..500).map(keyed));
    let member = join(&world.store, &unique, &topics);
    world.until("SELECT count() FROM clicks", 500).await;
    member.leave().await;

    let admin: AdminClient<_> = client().create().unwrap();
    let more = [NewPartitions::new(&topics[0].1, 3)];
    admin.create_partitions(&more, &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    produce(&topics[0].1, (500..1000).map(keyed));
    let heard = Heard::default();
    let member = join_as("", &heard, &world.store, &unique, &topics);
    let said = format!(
        "the topic {} had 2 partitions when its records were last committed and has 3 now",
        topics[0].1
    );
    until("it is told", || heard.work().is_some_and(|work| work.text.starts_with(&said) && !work.may_heal))
        .await;
    assert_eq!(world.count("SELECT count() FROM clicks").await, 500, "nothing is taken");
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_anew_is_read_from_its_beginning_and_its_old_offsets_mean_nothing() {
    let world = World::new().await;
    let unique = Uuid::now_v7().simple().to_string();
    let topics = [(Stream::Clicks, format!("whence.clicks-{unique}"))];
    create(&topics[0].1, 1).await;
    produce(&topics[0].1, (0..1000).map(keyed));
    let member = join(&world.store, &unique, &topics);
    world.until("SELECT count() FROM clicks", 1000).await;
    member.leave().await;

    let admin: AdminClient<_> = client().create().unwrap();
    admin.delete_topics(&[&topics[0].1], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    create(&topics[0].1, 1).await;
    produce(&topics[0].1, (500..1500).map(keyed));
    let member = join(&world.store, &unique, &topics);
    world.until("SELECT count() FROM clicks", 1500).await;
    world.until("SELECT count() FROM rejects WHERE reason = 'duplicate'", 500).await;
    assert_eq!(world.count("SELECT uniqExact(incarnation) FROM clicks").await, 2);
    world.check_consistent().await;
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_that_come_and_go_pay_every_reward_once_and_within_caps_and_budget() {
    let world = World::new().await;
    let unique = Uuid::now_v7().simple().to_string();
    let topics = [(Stream::Conversions, format!("whence.conversions-{unique}"))];
    create(&topics[0].1, 3).await;
    let send = |records: Vec<Bytes>| {
        produce(&topics[0].1, records.into_iter().map(|record| (b"demo".to_vec(), record)));
    };
    let earned =
        (0..200).flat_map(|p| [rewards::qualification(p), rewards::lead(p), rewards::qualification(p)]);
    send(earned.collect());
    let steady = join_with(19, &world.store, &unique, &topics);
    for _ in 0..3 {
        let member = join_with(31, &world.store, &unique, &topics);
        let seen = world.count("SELECT count() FROM rewards").await;
        let deadline = Instant::now() + Duration::from_secs(8);
        while world.count("SELECT count() FROM rewards").await <= seen && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        member.die().await;
    }
    // Of each of four referrers: four fixed rewards pass, the fifth is held, the others are beyond the cap.
    world.until("SELECT count() FROM payouts", 16).await;
    world.until("SELECT count() FROM rewards WHERE reason = 'referrer_cap'", 180).await;
    world.until("SELECT count() FROM rewards WHERE reason = 'budget'", 180).await;

    let paid = (0..8).flat_map(|p| ["a", "b"].map(|key| rewards::decision(p, key, "issue", "pay-1")));
    send(paid.chain((0..2).map(|p| rewards::refund(p, 0))).collect());
    let member = join_with(19, &world.store, &unique, &topics);
    world.until("SELECT toUInt64(sum(issued)) FROM reward_balance", 6 * 500).await;
    world.until("SELECT toUInt64(sum(clawed_back)) FROM reward_balance", 2 * 500).await;
    world.until("SELECT toUInt64(sum(approved)) FROM reward_balance", 8 * 500).await;
    world.until("SELECT toUInt64(sum(held)) FROM reward_balance", 4 * 500 + 4 * 199).await;
    world.until("SELECT toUInt64(sum(accrued)) FROM reward_balance", 14 * 199).await;
    world.check_consistent().await;
    member.die().await;
    steady.leave().await;
}
