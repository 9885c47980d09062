//! What a provider is answered, and what it may rely on.

use super::{SECRET, deliver, gists, name_secrets, node, payload, put};
use crate::node::{Node, good_token};
use serde_json::json;
use std::sync::atomic::Ordering;
use whence_runtime::settings::ByteSize;

const CHECKOUT: &str = include_str!("payloads/stripe_checkout.json");

#[tokio::test]
async fn a_delivery_is_answered_only_when_it_is_on_the_disk_and_its_retry_is_not_poisoned() {
    let node = node().await;
    let body = payload(CHECKOUT, &good_token());
    node.disk.syncs_to_fail.store(1, Ordering::Relaxed);
    let refused = deliver(&node, "stripe", &[], &body).await;
    assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (503, true));
    let taken = async {
        loop {
            // The journal is reopened after a failed sync.
            if deliver(&node, "stripe", &[], &body).await.status == 200 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), taken).await.unwrap();
    assert!(gists(&node).contains(&"qualification payment 4900 EUR keys 3".to_owned()));
}

#[tokio::test]
async fn unknown_sources_and_other_methods_are_refused() {
    let node = node().await;
    for (method, path, status) in [
        ("POST", "/v1/webhooks/demo/none", 404),
        ("POST", "/v1/webhooks/none/stripe", 404),
        ("POST", "/v1/webhooks/other/stripe", 404),
        ("POST", "/v1/webhooks/demo/postback", 404),
        ("GET", "/v1/webhooks/demo/stripe", 405),
        ("POST", "/v1/postback/demo", 405),
        ("GET", "/v1/postback/other", 404),
    ] {
        let answer = node.send_as(method, path, &[&format!("authorization: Bearer {SECRET}")], "{}").await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
    node.send("POST", "/v1/programs/demo/sources/stripe/disable", "").await;
    assert_eq!(deliver(&node, "stripe", &[], &payload(CHECKOUT, "x")).await.status, 404);
    assert_eq!(gists(&node), [""; 0]);
    node.is_current.store(false, Ordering::Relaxed);
    let answer = node.send_as("POST", "/v1/webhooks/demo/none", &[], "{}").await;
    assert_eq!(answer.status, 503, "it may be there for all that is known here");
}

#[tokio::test]
async fn bodies_and_events_are_bounded() {
    let node = Node::start_with(|settings| {
        settings.api_body_bytes_max = ByteSize::kib(16);
    })
    .await;
    put(
        &node,
        "crm",
        json!({"provider": "generic", "secrets": ["main"],
        "rules": [{"gives": "lead", "fields": {"email": "/who"}}]}),
    )
    .await;
    let answer = deliver(&node, "crm", &[], &"x".repeat(16 * 1024 + 1)).await;
    assert_eq!(answer.problem().0, 413);
    let many = format!("[{}{{}}]", "{},".repeat(1000));
    assert_eq!(deliver(&node, "crm", &[], &many).await.problem().0, 413);
}

#[tokio::test]
async fn a_source_whose_secret_this_process_was_not_given_asks_for_another_try() {
    let node = node().await;
    name_secrets(&node, "stripe", &["elsewhere"]).await;
    let answer = deliver(&node, "stripe", &[], &payload(CHECKOUT, "x")).await;
    assert_eq!(answer.problem(), (503, "secret_missing".into(), String::new()));
    name_secrets(&node, "stripe", &["elsewhere", "main"]).await;
    assert_eq!(deliver(&node, "stripe", &[], &payload(CHECKOUT, "x")).await.status, 200);
    name_secrets(&node, "stripe", &["other"]).await;
    assert_eq!(deliver(&node, "stripe", &[], &payload(CHECKOUT, "x")).await.status, 401);
}

#[tokio::test]
async fn a_signature_of_a_secret_that_this_process_lacks_asks_for_another_try() {
    let node = node().await;
    // Where a secret is being replaced, some processes have the new one and others not yet.
    name_secrets(&node, "stripe", &["elsewhere", "other"]).await;
    let answer = deliver(&node, "stripe", &[], &payload(CHECKOUT, "x")).await;
    assert_eq!(answer.problem(), (503, "secret_missing".into(), String::new()));
    let answer = node.send_as("POST", "/v1/webhooks/demo/stripe", &[], "{}").await;
    assert_eq!(answer.status, 401, "no secret proves what is not signed");
    assert_eq!(gists(&node), ["dead letter unsigned"]);
}
