//! Endpoints for webhooks: made, replaced, listed, disabled, and checked when they are saved.

use super::node::{NOW, Node};
use serde_json::{Value, json};

const PATH: &str = "/v1/programs/demo/endpoints/shop";

async fn put(node: &Node, path: &str, body: &Value) -> super::node::Answer {
    node.send("PUT", path, body.to_string()).await
}

#[tokio::test]
async fn an_endpoint_is_created_replaced_listed_and_disabled() {
    let node = Node::start().await;
    let body = json!({"url": "https://shop.example/whence", "secrets": ["shop-1"]});
    let created = put(&node, PATH, &body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let expected = json!({
        "program": "demo", "id": "shop", "url": "https://shop.example/whence", "types": [],
        "secrets": ["shop-1"], "since": NOW.rfc3339(), "disabled": false,
        "created": NOW.rfc3339(), "changed": NOW.rfc3339(), "version": 7,
    });
    assert_eq!(created.json(), expected);

    node.clock_ms.store(NOW.0 + 1000, std::sync::atomic::Ordering::Relaxed);
    let body = json!({"url": "https://shop.example/new", "secrets": ["shop-2", "shop-1"], "types": ["reward.approved"]});
    let replaced = put(&node, PATH, &body).await;
    assert_eq!(
        (replaced.status, &replaced.json()["since"]),
        (200, &json!(NOW.rfc3339())),
        "it began when it was made"
    );
    let shown = node.send("GET", PATH, "").await.json();
    assert_eq!((&shown["secrets"], &shown["types"]), (&body["secrets"], &body["types"]));

    let earlier =
        json!({"url": "https://b.example/", "secrets": ["shop-1"], "since": "2026-01-01T00:00:00Z"});
    let other = put(&node, "/v1/programs/demo/endpoints/b", &earlier).await;
    assert_eq!(other.json()["since"], "2026-01-01T00:00:00.000Z");
    let moved = put(&node, PATH, &earlier).await;
    assert_eq!(moved.problem(), (409, "conflict".into(), "since".into()));

    let page = node.send("GET", "/v1/programs/demo/endpoints?limit=1", "").await.json();
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&json!("b"), &json!("b")));
    let rest = node.send("GET", "/v1/programs/demo/endpoints?after=b", "").await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert_eq!(node.send("GET", "/v1/programs/other/endpoints", "").await.json(), json!({"items": []}));

    let off = node.send("POST", &format!("{PATH}/disable"), "").await.json();
    assert_eq!((&off["disabled"], &off["url"]), (&json!(true), &body["url"]));
    assert_eq!(node.send("POST", &format!("{PATH}/enable"), "").await.json()["disabled"], false);
    assert_eq!(node.send("POST", "/v1/programs/demo/endpoints/x/disable", "").await.status, 404);
}

#[tokio::test]
async fn everything_that_is_wrong_with_an_endpoint_is_said_at_once() {
    let node = Node::start().await;
    let body = json!({
        "url": "http://shop.example/", "types": ["lead.credited", "lead.lost", "lead.credited"],
        "secrets": ["whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="], "since": 1_800_000_000, "colour": "red",
    });
    let answer = put(&node, PATH, &body).await;
    assert_eq!(answer.problem().0, 422);
    let json = answer.json();
    let mut fields: Vec<_> =
        json["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["colour", "secrets[0]", "since", "types[1]", "types[2]", "url"]);
    assert!(!answer.text.contains("c2Vjcm"), "a secret given by mistake is not repeated: {}", answer.text);
    assert_eq!(node.send("GET", PATH, "").await.status, 404);
    let missing = put(&node, "/v1/programs/none/endpoints/a", &body).await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn endpoints_need_the_scope_of_their_program() {
    let node = Node::start().await;
    let key = json!({"program": "other", "scopes": ["registry:write"]});
    let key = node.post("/v1/keys", key).await.json()["key"].as_str().unwrap().to_owned();
    let key = format!("authorization: Bearer {key}");
    let body = json!({"url": "https://shop.example/", "secrets": ["own"]}).to_string();
    for path in [PATH.to_owned(), PATH.replace("demo", "other")] {
        let answer = node.send_as("PUT", &path, &[&key], body.clone()).await;
        assert_eq!(answer.status, if path == PATH { 403 } else { 201 }, "{}", answer.text);
    }
    assert_eq!(node.send_as("POST", &format!("{PATH}/disable"), &[&key], "").await.status, 403);
}
