//! A commit whose answer is lost, against a real broker: the writer finds out what became of it, and the
//! caller hears the truth.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use whence_schemas::event::{AttributionRule, Program, Referrer};

use super::transaction::Mishap;
use super::*;
use crate::{Effect, wall_clock};
use whence_ship::topics::{TopicPlan, ensure_topics};

async fn registry() -> KafkaRegistry {
    let brokers = std::env::var("WHENCE_TEST_KAFKA_BROKERS")
        .expect("WHENCE_TEST_KAFKA_BROKERS names a broker for tests; `make test` starts one");
    let prefix = format!("test-{}.", Uuid::now_v7().simple());
    let cluster = Cluster { brokers, prefix, ..Cluster::default() };
    let timeout = Duration::from_secs(60);
    let plan = TopicPlan {
        clicks_partitions: 1,
        conversions_partitions: 1,
        replication: Some(1),
        retention: Duration::from_secs(3600),
    };
    ensure_topics(&cluster, &plan, timeout).await.unwrap();
    let config = KafkaRegistryConfig { write_max: timeout, ..KafkaRegistryConfig::new(cluster) };
    let shutdown = CancellationToken::new();
    KafkaRegistry::start(&config, RegistryState::default(), wall_clock(), shutdown).unwrap()
}

fn program() -> Change {
    Change::PutProgram(Program {
        id: "demo".into(),
        destination_hosts: vec!["example.com".into()],
        rule: Some(AttributionRule { model: 1, window_ms: 86_400_000, ..AttributionRule::default() }),
        consent: 1,
        name: "demo".into(),
        ..Program::default()
    })
}

fn referrer(id: &str) -> Change {
    let referrer = Referrer { program: "demo".into(), id: id.into(), name: id.into(), disabled: false };
    Change::CreateReferrer(referrer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_neither_refused_as_its_own_conflict_nor_written_twice() {
    let registry = registry().await;
    registry.write(vec![program()]).await.unwrap();
    for (round, mishap) in
        [Mishap::AfterCommit, Mishap::BeforeCommit, Mishap::AfterCommit].into_iter().enumerate()
    {
        registry.writer.lock().await.mishap = Some(mishap);
        let outcomes = registry.write(vec![referrer(&format!("r-{round}"))]).await.unwrap();
        let Ok(written) = &outcomes[0] else { panic!("{mishap:?}: {outcomes:?}") };
        assert_eq!(
            (written.entry.version, written.effect),
            (round as u64 + 2, Effect::Created),
            "{mishap:?}"
        );
        assert_eq!(registry.shared().read().version(), round as u64 + 2, "the state shows it");
        let again = registry.write(vec![referrer(&format!("r-{round}"))]).await.unwrap();
        let Ok(again) = &again[0] else { panic!("{mishap:?}: {again:?}") };
        assert_eq!((again.entry.version, again.effect), (round as u64 + 2, Effect::Unchanged), "{mishap:?}");
    }
}
