//! The registry on a real broker: writers that compete, followers, snapshots, and Kafka away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::ship_support::{Broker, DEADLINE, brokers, cluster_at};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio_util::sync::CancellationToken;
use whence_ingest::registry::kafka::{Following, KafkaRegistry, KafkaRegistryConfig};
use whence_ingest::registry::{Change, ChangeError, Registry, RegistryError, RegistryState, wall_clock};
use whence_ingest::topics::{TopicPlan, ensure_topics};
use whence_kafka::Cluster;
use whence_schemas::event::{AttributionRule, Link, Program, Referrer};
use whence_schemas::topics::REGISTRY;

async fn with_topic(brokers: &str) -> Cluster {
    let cluster = cluster_at(brokers);
    make_topic(&cluster).await;
    cluster
}

async fn make_topic(cluster: &Cluster) {
    let plan = TopicPlan {
        clicks_partitions: 1,
        conversions_partitions: 1,
        replication: Some(1),
        retention: Duration::from_secs(3600),
    };
    ensure_topics(cluster, &plan, DEADLINE).await.unwrap();
}

/// A process's registry, until dropped.
struct Node {
    registry: KafkaRegistry,
    shutdown: CancellationToken,
}

impl Node {
    fn start(cluster: &Cluster) -> Node {
        Node::restored(cluster, RegistryState::default())
    }

    fn restored(cluster: &Cluster, state: RegistryState) -> Node {
        let config = KafkaRegistryConfig { write_max: DEADLINE, ..KafkaRegistryConfig::new(cluster.clone()) };
        Node::with(&config, state)
    }

    fn with(config: &KafkaRegistryConfig, state: RegistryState) -> Node {
        let shutdown = CancellationToken::new();
        let registry = KafkaRegistry::start(config, state, wall_clock(), shutdown.clone()).unwrap();
        Node { registry, shutdown }
    }

    async fn write(&self, change: Change) -> Result<u64, ChangeError> {
        let mut outcomes = self.registry.write(vec![change]).await.unwrap();
        outcomes.pop().unwrap().map(|written| written.entry.version)
    }

    async fn is(&self, wanted: Following) {
        let mut following = self.registry.following();
        let waited = tokio::time::timeout(DEADLINE, following.wait_for(|now| *now == wanted)).await;
        let found = *self.registry.following().borrow();
        waited.unwrap_or_else(|_| panic!("it is {found:?}, not {wanted:?}")).unwrap();
    }

    async fn has_version(&self, wanted: u64) {
        let mut versions = self.registry.shared().versions();
        let waited = tokio::time::timeout(DEADLINE, versions.wait_for(|version| *version >= wanted)).await;
        waited.expect("the version comes").unwrap();
    }

    fn state(&self) -> RegistryState {
        self.registry.shared().read().clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn program(id: &str) -> Change {
    Change::PutProgram(Program {
        id: id.into(),
        name: id.into(),
        destination_hosts: vec!["example.com".into()],
        channels: vec!["email".into()],
        rule: Some(AttributionRule { model: 1, window_ms: 86_400_000, ..AttributionRule::default() }),
        consent: 1,
        ..Program::default()
    })
}

fn referrer(id: &str) -> Change {
    Change::CreateReferrer(Referrer {
        program: "demo".into(),
        id: id.into(),
        name: id.into(),
        ..Referrer::default()
    })
}

fn link(code: &str, referrer: &str) -> Change {
    link_to(code, referrer, "https://example.com/")
}

fn link_to(code: &str, referrer: &str, destination: &str) -> Change {
    Change::CreateLink(Link {
        host: "go.example.com".into(),
        code: code.into(),
        program: "demo".into(),
        referrer: referrer.into(),
        channel: "email".into(),
        destination: destination.into(),
        ..Link::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_take_a_code_at_once_one_is_told_that_it_is_taken() {
    let cluster = with_topic(&brokers()).await;
    let nodes = [Node::start(&cluster), Node::start(&cluster)];
    nodes[0].write(program("demo")).await.unwrap();
    nodes[1].write(referrer("ann")).await.unwrap();
    for round in 0..40 {
        let code = format!("code-{round}");
        let at = |path| link_to(&code, "ann", &format!("https://example.com/{path}"));
        let (first, second) = tokio::join!(nodes[0].write(at("a")), nodes[1].write(at("b")));
        let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
        let version = won.unwrap_or_else(|error| panic!("round {round}: one must win, {error}"));
        assert!(matches!(lost, Err(ChangeError::Exists { .. })), "round {round}: {lost:?}");
        assert_eq!(version, round + 3, "a refused change takes no version");
        for node in &nodes {
            node.has_version(version).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_lose_no_write_and_every_node_sees_the_same() {
    const NODES: usize = 3;
    const WRITES: usize = 15;
    let cluster = with_topic(&brokers()).await;
    let nodes: Vec<Arc<Node>> = (0..NODES).map(|_| Arc::new(Node::start(&cluster))).collect();
    nodes[0].write(program("demo")).await.unwrap();
    let tasks: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            let node = Arc::clone(node);
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for number in 0..WRITES {
                    versions.push(node.write(referrer(&format!("r-{index}-{number}"))).await.unwrap());
                }
                versions
            })
        })
        .collect();
    let mut versions = BTreeSet::new();
    for task in tasks {
        versions.extend(task.await.unwrap());
    }
    let newest = (NODES * WRITES + 1) as u64;
    assert!(versions.into_iter().eq(2..=newest), "each write has a version of its own, without gaps");
    // A newcomer reads it all from the topic.
    let newcomer = Node::start(&cluster);
    newcomer.is(Following::Current).await;
    let expected = newcomer.state().entries_after(0, usize::MAX);
    assert_eq!(expected.len(), NODES * WRITES + 1);
    for node in &nodes {
        node.has_version(newest).await;
        assert_eq!(node.state().entries_after(0, usize::MAX), expected);
    }
}

/// A refusal must not come from a state that another writer has left behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_wrote_the_other_builds_upon_at_once() {
    let cluster = with_topic(&brokers()).await;
    let nodes = [Node::start(&cluster), Node::start(&cluster)];
    nodes[0].write(program("demo")).await.unwrap();
    for round in 0..10 {
        let (here, there) = (&nodes[round % 2], &nodes[(round + 1) % 2]);
        let name = format!("ann-{round}");
        here.write(referrer(&name)).await.unwrap();
        let shown = here.state().referrer("demo", &name).cloned();
        assert!(shown.is_some(), "a process reads its own write");
        let code = format!("code-{round}");
        let version = there.write(link(&code, &name)).await.unwrap();
        assert_eq!(here.write(link(&code, &name)).await.unwrap(), version, "the same is there already");
        let other = here.write(link_to(&code, &name, "https://example.com/other")).await;
        assert!(matches!(other, Err(ChangeError::Exists { .. })), "{other:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_transaction_with_one_outcome_for_each_change() {
    let cluster = with_topic(&brokers()).await;
    let node = Node::start(&cluster);
    let changes =
        vec![program("demo"), referrer("ann"), link("a", "ann"), link("b", "nobody"), link("c", "ann")];
    let outcomes = node.registry.write(changes).await.unwrap();
    let versions: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().ok().map(|written| written.entry.version)).collect();
    assert_eq!(versions, [Some(1), Some(2), Some(3), None, Some(4)]);
    let too_many = vec![program("demo"); whence_ingest::registry::CHANGES_MAX + 1];
    assert!(matches!(node.registry.write(too_many).await, Err(RegistryError::TooMany(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_the_topic_is_taken_up_and_one_of_another_is_not() {
    let cluster = with_topic(&brokers()).await;
    let node = Node::start(&cluster);
    node.write(program("demo")).await.unwrap();
    node.write(referrer("ann")).await.unwrap();
    let snapshot = node.state();
    node.write(referrer("bob")).await.unwrap();

    let restored = Node::restored(&cluster, snapshot.clone());
    restored.is(Following::Current).await;
    assert_eq!(restored.state().version(), 3);

    let other = with_topic(&brokers()).await;
    let bystander = Node::restored(&other, snapshot.clone());
    let stranger = Node::restored(&other, snapshot.clone());
    let refused = stranger.registry.write(vec![program("demo")]).await;
    assert!(matches!(refused, Err(RegistryError::NotReady(_))), "{refused:?}");
    for node in [stranger, bystander] {
        // The one by its own write, the other because the topic stays short.
        node.is(Following::Diverged).await;
        assert_eq!(node.state().version(), 2, "it serves what it had");
    }

    // A topic of that name that has come further than the snapshot.
    let node = Node::start(&other);
    for id in ["demo", "other", "third", "fourth"] {
        node.write(program(id)).await.unwrap();
    }
    Node::restored(&other, snapshot).is(Following::Diverged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_comes_later_is_followed() {
    let cluster = cluster_at(&brokers());
    let node = Node::start(&cluster);
    let admin: AdminClient<DefaultClientContext> = cluster.client(&[], &[]).create().unwrap();
    make_topic(&cluster).await;
    node.is(Following::Current).await;
    assert_eq!(node.write(program("demo")).await, Ok(1));
    admin.delete_topics(&[&cluster.topic(REGISTRY)], &AdminOptions::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_reads_go_on_and_writes_say_to_retry() {
    let broker = Broker::start();
    let cluster = with_topic(&broker.address).await;
    let node = Node::start(&cluster);
    node.write(program("demo")).await.unwrap();
    let snapshot = node.state();

    broker.kill();
    node.is(Following::Away).await;
    let refused = node.registry.write(vec![referrer("ann")]).await;
    assert!(matches!(refused, Err(RegistryError::NotReady(_))), "{refused:?}");
    assert!(node.state().program("demo").is_some());
    // Another process starts meanwhile.
    let config = KafkaRegistryConfig {
        write_max: Duration::from_millis(500),
        ..KafkaRegistryConfig::new(cluster.clone())
    };
    let newcomer = Node::with(&config, snapshot);
    assert!(newcomer.state().program("demo").is_some(), "it serves from its snapshot");
    let refused = newcomer.registry.write(vec![referrer("ann")]).await;
    assert!(matches!(refused, Err(RegistryError::NotReady(_) | RegistryError::Store(_))), "{refused:?}");

    broker.start_again();
    node.is(Following::Current).await;
    newcomer.is(Following::Current).await;
    let version = node.write(referrer("bob")).await.unwrap();
    newcomer.has_version(version).await;
    let state = newcomer.state();
    assert!(state.referrer("demo", "bob").is_some());
    assert!(state.referrer("demo", "ann").is_none(), "what was refused was not written");
}
