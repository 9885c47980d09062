//! What a 202 promises, and what is answered when it cannot be promised.

use super::node::{Node, lead};
use serde_json::json;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

#[tokio::test]
async fn what_was_accepted_can_be_read_from_the_journal_at_once() {
    let node = Node::start().await;
    for n in 1..=20 {
        let answer = node.post("/v1/events", lead(json!({"id": format!("e{n}")}))).await;
        assert_eq!(answer.status, 202);
        assert_eq!(node.events().len(), n);
    }
}

#[tokio::test]
async fn the_callers_retry_is_the_same_event() {
    let node = Node::start().await;
    let first = node.post("/v1/events", lead(json!({}))).await.json();
    let again = node.post("/v1/events", lead(json!({}))).await.json();
    let other = node.post("/v1/events", lead(json!({"id": "lead-2"}))).await.json();
    let source = node.post("/v1/events", lead(json!({"source": "shop"}))).await.json();
    assert_eq!(first["id"], again["id"]);
    assert_ne!(first["id"], other["id"]);
    assert_ne!(first["id"], source["id"]);
    let events = node.events();
    assert_eq!(events[0].id, events[1].id, "whoever consumes them deduplicates by id");
}

#[tokio::test]
async fn a_failing_sync_is_a_503_and_nothing_is_acknowledged() {
    let node = Node::start().await;
    assert!(node.health.readiness().ready);
    node.disk.syncs_to_fail.store(1, Ordering::Relaxed);
    let batch = json!([lead(json!({"id": "a"})), lead(json!({"id": "b"})), lead(json!({"email": "x"}))]);
    let answer = node.post("/v1/events", batch).await;
    assert_eq!(answer.status, 207, "two to be sent again, one not: {}", answer.text);
    let json = answer.json();
    assert_eq!(json["accepted"], 0);
    let words: Vec<_> = (0..3).map(|n| json["results"][n]["status"].as_str().unwrap()).collect();
    assert_eq!(words, ["retry", "retry", "rejected"]);
    let readiness = node.health.readiness();
    assert!(!readiness.ready);
    assert_eq!(readiness.components[0].reason.as_deref(), Some("the journal failed: io"));

    node.disk.syncs_to_fail.store(1, Ordering::Relaxed);
    let single = accepted_or_refused(&node, 1).await;
    assert_eq!(single.problem(), (503, "journal_unavailable".into(), String::new()));
    assert_eq!(single.headers["retry-after"], "1");

    accepted_or_refused(&node, 0).await;
    assert!(node.health.readiness().ready, "what is taken shows that the journal is well");
    assert!(!node.events().is_empty());
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_a_503_in_time() {
    let node = Node::start_with(|s| s.api_commit_timeout = Duration::from_millis(50)).await;
    node.disk.stalls.store(true, Ordering::Relaxed);
    let answer = node.post("/v1/events", lead(json!({}))).await;
    node.disk.stalls.store(false, Ordering::Relaxed);
    assert_eq!(answer.problem(), (503, "journal_unavailable".into(), String::new()));
    assert!(!node.health.readiness().ready);
    let again = async { while node.post("/v1/events", lead(json!({}))).await.status != 202 {} };
    tokio::time::timeout(Duration::from_secs(120), again).await.expect("the disk answers again");
    assert!(node.health.readiness().ready);
    let ids: std::collections::BTreeSet<_> = node.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 1, "however often it was sent");
}

/// Sends until the journal is open again after the failure before: until the disk has been asked.
async fn accepted_or_refused(node: &Node, fails: u32) -> super::node::Answer {
    let asked = async {
        loop {
            let answer = node.post("/v1/events", lead(json!({"id": "c"}))).await;
            let is_asked = if fails > 0 {
                node.disk.syncs_to_fail.load(Ordering::Relaxed) == 0
            } else {
                answer.status == 202
            };
            if is_asked {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asked).await.expect("the journal is reopened")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_event_of_many_callers_is_there() {
    let node = Arc::new(Node::start().await);
    let callers: Vec<_> = (0..32)
        .map(|n| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.post("/v1/events", lead(json!({"id": format!("c{n}")}))).await })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for caller in callers {
        let answer = caller.await.unwrap();
        assert_eq!(answer.status, 202);
        acknowledged.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    let stored =
        node.events().into_iter().map(|event| uuid::Uuid::from_slice(&event.id).unwrap().to_string());
    let mut stored: Vec<_> = stored.collect();
    acknowledged.sort_unstable();
    stored.sort_unstable();
    assert_eq!(stored, acknowledged);
}

#[tokio::test]
async fn a_stop_answers_what_is_in_hand_and_no_more() {
    let node = Node::start().await;
    assert_eq!(node.post("/v1/events", lead(json!({}))).await.status, 202);
    node.stop().await;
    assert_eq!(node.events().len(), 1);
}
