//! A Kafka backlog to ClickHouse, beside ClickHouse's own Kafka engine on the same events.
//!
//! ```text
//! cargo build --release -p whence-clickhouse-embedded --bins
//! cargo bench -p whence-aggregator --bench backlog            # 2,000,000 events, 3 rounds
//! BACKLOG_EVENTS=200000 BACKLOG_ROUNDS=1 cargo bench …        # a quick look
//! ```
//!
//! 3% of the events are leads, 1% qualifications, 2% of the clicks are repeated. The aggregator
//! deduplicates, joins and keeps rollups, with every setting at its default; the Kafka engine inserts
//! the clicks as JSON into a plain MergeTree and does none of that. Each round measures both, one after
//! the other, with an engine of its own; a broker is started for the run. CPU is user and system time
//! of the aggregator's and the engine's processes, not the broker's.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a benchmark's output is its result; a failed step ends it

#[path = "../tests/real/events.rs"]
mod events;
mod shared;

use bytes::Bytes;
use clickhouse::Client;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use shared::{cpu_seconds, machine, with_tables};
use std::{
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use uuid::Uuid;
use whence_aggregator::{
    clickhouse::{ClickHouseStore, StoreSettings},
    kafka::{GroupSettings, run},
    partition::LoopSettings,
    work::Stop,
};
use whence_clickhouse_embedded::testing::EngineProcess;
use whence_schemas::topics::Stream;

const KAFKA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kafka/kafka");

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The run's broker; stopped when dropped.
struct Broker {
    dir: TempDir,
    address: String,
}

impl Broker {
    fn start() -> Broker {
        let dir = TempDir::new().unwrap();
        let output = Command::new(KAFKA)
            .args(["up", "--port", "0", "--controller-port", "0", "--data"])
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Broker { dir, address: String::from_utf8(output.stdout).unwrap().trim().to_owned() }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new(KAFKA).arg("down").arg("--data").arg(self.dir.path()).output();
    }
}

fn producer(broker: &Broker) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.address).set("acks", "all").set("linger.ms", "20");
    config.set("compression.type", "lz4").set("batch.size", "1000000").create().unwrap()
}

fn send(producer: &BaseProducer, topic: &str, key: &[u8], payload: &[u8]) {
    let mut record = BaseRecord::to(topic).key(key).payload(payload);
    while let Err((error, back)) = producer.send(record) {
        assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
        producer.poll(Duration::from_millis(10));
        record = back;
    }
}

/// A click as the Kafka engine reads it.
fn json(number: u64) -> String {
    let id = events::click_id(number);
    let referrer = number % 7;
    format!(
        r#"{{"program":"demo","ts":{},"id":"{}","referrer":"r{referrer}","link":"go.example/r{referrer}","channel":"email","destination":"https://shop.example/\n\n?it's","registry_version":1,"verdict":"human","reason":"browser","visitor":{number},"address":0,"prefix":0}}"#,
        id.at().0,
        id.0.hyphenated()
    )
}

struct Topics {
    clicks: String,
    conversions: String,
    json: String,
}

struct Counts {
    clicks: u64,
    records: u64,
}

async fn fill(broker: &Broker, events: u64) -> (Topics, Counts) {
    let topics = Topics { clicks: "clicks".into(), conversions: "conversions".into(), json: "json".into() };
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &broker.address).create().unwrap();
    let new = |name| NewTopic::new(name, 2, TopicReplication::Fixed(1));
    let created = admin
        .create_topics(
            [&new(&topics.clicks), &new(&topics.conversions), &new(&topics.json)],
            &AdminOptions::new(),
        )
        .await
        .unwrap();
    created.into_iter().for_each(|topic| drop(topic.unwrap()));
    let producer = producer(broker);
    let (leads, qualifications) = (events * 3 / 100, events / 100);
    let (mut records, clicks) = (0, events - leads - qualifications);
    for at in 0..clicks {
        // Every 50th click repeats one of the last 100,000.
        let number = if at % 50 == 49 { at - at * 7919 % at.min(100_000) } else { at };
        let number = if number % 50 == 49 { number - 1 } else { number };
        send(&producer, &topics.clicks, events::click_id(number).0.as_bytes(), &events::click(number));
        send(&producer, &topics.json, events::click_id(number).0.as_bytes(), json(number).as_bytes());
        records += 1;
        if at % 32 == 0 && at / 32 < leads {
            let person = at / 32;
            let mut conversion = |record: Bytes| {
                send(&producer, &topics.conversions, b"demo", &record);
                records += 1;
            };
            conversion(events::lead(person));
            if person % 3 == 0 {
                conversion(events::qualification(person));
            }
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    (topics, Counts { clicks, records })
}

struct Figure {
    events_per_second: f64,
    cpu_us: f64,
}

async fn until(client: &Client, sql: &str, wanted: u64) {
    let deadline = Instant::now() + Duration::from_secs(600);
    loop {
        let found = client.query(sql).fetch_one::<u64>().await.unwrap();
        if found >= wanted {
            assert_eq!(found, wanted, "{sql}");
            return;
        }
        assert!(Instant::now() < deadline, "{found} of {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn aggregator(broker: &Broker, topics: &Topics, counts: &Counts) -> Figure {
    let dir = TempDir::new().unwrap();
    let engine = EngineProcess::start(dir.path()).unwrap();
    let client = with_tables(&engine).await;
    let settings = GroupSettings {
        group: Uuid::now_v7().to_string(),
        topics: vec![
            (Stream::Clicks, topics.clicks.clone()),
            (Stream::Conversions, topics.conversions.clone()),
        ],
        ..GroupSettings::new(&broker.address)
    };
    // As the program has it.
    let looks = StoreSettings { hot_clicks_max: 1_800_000, ..StoreSettings::default() };
    let store = ClickHouseStore::new(client.clone(), looks);
    let (stop, own) = (Stop::default(), std::process::id());
    let (start, cpu) = (Instant::now(), cpu_seconds(own) + cpu_seconds(engine.id()));
    let member =
        tokio::spawn(run(settings, store, None, LoopSettings::default(), events::keys(), stop.clone()));
    let stored = "SELECT toUInt64(sum(n)) FROM (SELECT count() AS n FROM clicks UNION ALL SELECT count() FROM leads \
         UNION ALL SELECT count() FROM rejects UNION ALL SELECT count() FROM qualifications WHERE revision = 0)";
    until(&client, stored, counts.records).await;
    let figure = Figure {
        events_per_second: counts.records as f64 / start.elapsed().as_secs_f64(),
        cpu_us: (cpu_seconds(own) + cpu_seconds(engine.id()) - cpu) * 1e6 / counts.records as f64,
    };
    stop.after_block.cancel();
    member.await.unwrap().unwrap();
    for sql in [
        "SELECT toUInt64(sum(abs(missing)) + sum(abs(extra))) FROM reconciliation",
        "SELECT toUInt64(count() - uniqExact(id)) FROM clicks",
        "SELECT assumeNotNull(toUInt64(abs((SELECT sum(clicks + other_clicks) FROM funnel_daily) - (SELECT count() FROM clicks))))",
    ] {
        assert_eq!(client.query(sql).fetch_one::<u64>().await.unwrap(), 0, "{sql}");
    }
    figure
}

async fn kafka_engine(broker: &Broker, topics: &Topics, counts: &Counts) -> Figure {
    let dir = TempDir::new().unwrap();
    let grants = ["--grant", "KAFKA ON *.*", "--grant", "TABLE ENGINE ON Kafka"];
    let engine = EngineProcess::start_with(dir.path(), &grants).unwrap();
    let client = Client::default().with_url(engine.url());
    let columns = "program LowCardinality(String), ts DateTime64(3, 'UTC'), id UUID, referrer String, link String, \
         channel LowCardinality(String), destination String, registry_version UInt64, verdict LowCardinality(String), \
         reason LowCardinality(String), visitor UInt64, address UInt64, prefix UInt64";
    let run = async |sql: String| client.query(&sql.replace('?', "??")).execute().await.unwrap();
    run(format!("CREATE TABLE raw ({columns}) ENGINE = MergeTree ORDER BY (program, ts)")).await;
    let (address, topic, group) = (&broker.address, &topics.json, Uuid::now_v7());
    let kafka_columns = columns.replace("ts DateTime64(3, 'UTC')", "ts Int64");
    run(format!(
        "CREATE TABLE queue ({kafka_columns}) ENGINE = Kafka SETTINGS kafka_broker_list = '{address}', \
         kafka_topic_list = '{topic}', kafka_group_name = '{group}', kafka_format = 'JSONEachRow', \
         kafka_num_consumers = 2, kafka_thread_per_consumer = 1"
    ))
    .await;
    let (start, cpu) = (Instant::now(), cpu_seconds(engine.id()));
    run("CREATE MATERIALIZED VIEW feed TO raw AS SELECT * REPLACE (fromUnixTimestamp64Milli(ts, 'UTC') AS ts) FROM queue"
        .into())
    .await;
    until(&client, "SELECT count() FROM raw", counts.clicks).await;
    Figure {
        events_per_second: counts.clicks as f64 / start.elapsed().as_secs_f64(),
        cpu_us: (cpu_seconds(engine.id()) - cpu) * 1e6 / counts.clicks as f64,
    }
}

fn median(figures: &[Figure], of: fn(&Figure) -> f64) -> f64 {
    let mut values: Vec<f64> = figures.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let (events, rounds) = (number("BACKLOG_EVENTS", 2_000_000), number("BACKLOG_ROUNDS", 3));
    println!("machine: {}", machine());
    println!(
        "command: BACKLOG_EVENTS={events} BACKLOG_ROUNDS={rounds} cargo bench -p whence-aggregator --bench backlog"
    );
    let broker = Broker::start();
    let (topics, counts) = fill(&broker, events).await;
    println!(
        "sample: {} records ({} clicks, the rest leads and qualifications), medians of {rounds} rounds",
        counts.records, counts.clicks
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        ours.push(aggregator(&broker, &topics, &counts).await);
        theirs.push(kafka_engine(&broker, &topics, &counts).await);
        for (name, figure) in [("aggregator", ours.last().unwrap()), ("kafka engine", theirs.last().unwrap())]
        {
            println!(
                "round {round} {name:<13} {:>9.0} events/s {:>6.2} µs CPU an event",
                figure.events_per_second, figure.cpu_us
            );
        }
    }
    let rate = median(&ours, |f| f.events_per_second) / median(&theirs, |f| f.events_per_second);
    let cpu = median(&ours, |f| f.cpu_us) / median(&theirs, |f| f.cpu_us);
    println!("ratio aggregator / kafka engine: {rate:.2} of its events/s, {cpu:.2} of its CPU an event");
}
