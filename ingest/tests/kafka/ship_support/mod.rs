//! What the shipper's tests share: topics of their own on a real broker, journals to fill, and a reader
//! of what arrived.

mod broker;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use whence_ingest::ship::{self, JournalSource, ShipConfig, ShipHandle, ShipReport};
use whence_journal::{Checkpoint, JournalConfig, Quota, Stored, Writer};
use whence_kafka::Cluster;
use whence_runtime::health::Health;
use whence_runtime::telemetry::{BuildInfo, Metrics};
use whence_schemas::event::{self, Click, Event};
use whence_schemas::ids::{ClickId, EventId};
use whence_schemas::time::UnixMs;
use whence_schemas::topics::Stream;

pub use broker::Broker;

/// Longer than anything here takes on a loaded machine: the broker is a JVM that has just started.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// The broker the tests run against. Without it they fail: a skipped test proves nothing.
pub fn brokers() -> String {
    std::env::var("WHENCE_TEST_KAFKA_BROKERS")
        .expect("WHENCE_TEST_KAFKA_BROKERS names a broker for tests; `make test` starts one")
}

/// A cluster whose topic names no other test uses.
pub fn cluster_at(brokers: &str) -> Cluster {
    let prefix = format!("test-{}.", uuid::Uuid::now_v7().simple());
    Cluster { brokers: brokers.into(), prefix, ..Cluster::default() }
}

/// Makes the topics of both streams, with these properties.
pub async fn make_topics(cluster: &Cluster, partitions: i32, properties: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = cluster.client(&[], &[]).create().unwrap();
    let names = Stream::ALL.map(|stream| cluster.topic(stream.topic()));
    let topics = names.each_ref().map(|name| {
        properties
            .iter()
            .fold(NewTopic::new(name, partitions, TopicReplication::Fixed(1)), |new, (key, value)| {
                new.set(key, value)
            })
    });
    let options = AdminOptions::new().request_timeout(Some(DEADLINE)).operation_timeout(Some(DEADLINE));
    for result in admin.create_topics(&topics, &options).await.unwrap() {
        result.unwrap();
    }
}

/// A journal that is written to.
pub struct Source {
    pub dir: PathBuf,
    pub stream: Stream,
    writer: Option<Writer>,
    segment_bytes: u64,
}

impl Source {
    pub fn open(root: &TempDir, name: &str, stream: Stream) -> Source {
        Source::with_segments(root, name, stream, 1 << 20)
    }

    pub fn with_segments(root: &TempDir, name: &str, stream: Stream, segment_bytes: u64) -> Source {
        let mut source = Source { dir: root.path().join(name), stream, writer: None, segment_bytes };
        source.reopen();
        source
    }

    /// A new incarnation, as after a restart.
    pub fn reopen(&mut self) {
        self.close();
        let config = JournalConfig {
            dir: self.dir.clone(),
            segment_bytes: self.segment_bytes,
            quota: Quota::bytes(1 << 30),
        };
        self.writer = Some(Writer::open(config).unwrap());
    }

    pub fn close(&mut self) {
        self.writer = None;
    }

    pub fn append(&mut self, record: &[u8]) {
        self.writer.as_mut().expect("the journal is open").append(record).unwrap();
    }

    pub fn journal(&self) -> JournalSource {
        JournalSource { dir: self.dir.clone(), stream: self.stream }
    }

    pub fn checkpoint(&self) -> Option<Checkpoint> {
        match Checkpoint::load(&self.dir.join("shipper.checkpoint")).unwrap() {
            Stored::Intact(checkpoint) => Some(checkpoint),
            Stored::Absent => None,
            Stored::Damaged => panic!("the checkpoint is damaged"),
        }
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        segments(&self.dir)
    }
}

pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
    segments.sort();
    segments
}

/// A click with `number` in it, 16 + 100 bytes and a little.
pub fn click(number: u64) -> Vec<u8> {
    let mut random = [1; 10];
    random[1..9].copy_from_slice(&number.to_be_bytes());
    let id = ClickId::mint(UnixMs(1_750_000_000_000), &random, true);
    let click = Click {
        id: id.0.as_bytes().to_vec().into(),
        program: "demo".into(),
        destination: format!("https://example.com/{number:080}"),
        registry_version: number,
        ..Click::default()
    };
    event::encode(&click).to_vec()
}

/// An event of a program with `number` in it.
pub fn conversion(program: &str, number: u64) -> Vec<u8> {
    let id = EventId::of(&program.parse().unwrap(), "test", &number.to_string());
    let event = Event {
        id: id.0.as_bytes().to_vec().into(),
        program: program.into(),
        registry_version: number,
        received_at_ms: 1_750_000_000_000,
        ..Event::default()
    };
    event::encode(&event).to_vec()
}

/// A shipper and what stops it.
pub struct Shipping {
    handle: ShipHandle,
    shutdown: CancellationToken,
}

impl Shipping {
    pub fn start(config: ShipConfig, journals: &[&Source]) -> Shipping {
        metrics();
        let shutdown = CancellationToken::new();
        let journals = journals.iter().map(|source| source.journal()).collect();
        let handle = ship::start(config, journals, &Health::new(), shutdown.clone()).unwrap();
        Shipping { handle, shutdown }
    }

    pub fn handle(&self) -> &ShipHandle {
        &self.handle
    }

    /// Stops it in order and says how it ended.
    pub async fn stop(self) -> ShipReport {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.handle.finished())
            .await
            .expect("it ends")
            .expect("it did not panic")
    }
}

/// Settings for tests: quick checkpoints, a drain that outlasts a slow broker.
pub fn config(cluster: &Cluster) -> ShipConfig {
    ShipConfig {
        checkpoint_every: Duration::from_millis(50),
        drain_max: DEADLINE / 2,
        ..ShipConfig::new(cluster.clone())
    }
}

/// A record as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrived {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
}

/// The first offset that partition 0 of a stream's topic still has, and the next it will give.
pub fn ends(cluster: &Cluster, stream: Stream) -> (i64, i64) {
    let consumer: BaseConsumer = cluster.client(&[], &[("group.id", "test")]).create().unwrap();
    consumer.fetch_watermarks(&cluster.topic(stream.topic()), 0, DEADLINE).unwrap()
}

/// Everything in the topic of a stream, in the order of partitions and offsets.
pub fn arrived(cluster: &Cluster, stream: Stream) -> Vec<Arrived> {
    let topic = cluster.topic(stream.topic());
    let client = cluster.client(
        &[],
        &[
            ("group.id", "test"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
        ],
    );
    let consumer: BaseConsumer = client.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(&topic), DEADLINE).unwrap();
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|p| p.id()).collect();
    assert!(!partitions.is_empty(), "{topic} exists");
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment.add_partition_offset(&topic, *partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut ended = std::collections::BTreeSet::new();
    let mut arrived = Vec::new();
    let deadline = Instant::now() + DEADLINE;
    while ended.len() < partitions.len() {
        assert!(Instant::now() < deadline, "the topic can be read in time");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => arrived.push(Arrived {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                payload: message.payload().unwrap().to_vec(),
            }),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => eprintln!("reading {topic}: {error}"),
            None => {}
        }
    }
    arrived.sort();
    arrived
}

/// The numbers in clicks, in the order they arrived in each partition, without repetitions.
pub fn first_numbers(arrived: &[Arrived], number: impl Fn(&[u8]) -> u64) -> Vec<Vec<u64>> {
    let mut partitions: Vec<Vec<u64>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for record in arrived {
        let partition = usize::try_from(record.partition).unwrap();
        partitions.resize(partitions.len().max(partition + 1), Vec::new());
        let number = number(&record.payload);
        if seen.insert(number) {
            partitions[partition].push(number);
        }
    }
    partitions
}

pub fn click_number(record: &[u8]) -> u64 {
    event::decode::<Click>(record).unwrap().registry_version
}

pub fn event_number(record: &[u8]) -> u64 {
    event::decode::<Event>(record).unwrap().registry_version
}

/// Waits for a condition, without guessing how long it takes.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The process's metrics.
pub fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    let build = BuildInfo { version: "0", revision: "test", role: "test" };
    METRICS.get_or_init(|| Metrics::install(build).unwrap())
}

/// A counter or gauge of one journal; 0 if it was never touched.
pub fn metric(name: &str, source: &Source) -> f64 {
    let journal = source.dir.file_name().unwrap().to_str().unwrap();
    let label = format!("journal=\"{journal}\"");
    let text = metrics().render();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(&label));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}
