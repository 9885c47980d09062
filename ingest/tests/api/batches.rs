//! Many events in one request.

use super::node::{Node, lead, problem, qualification, ring, token};
use serde_json::{Value, json};

fn words(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|result| result["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_bad_line_in_the_middle_is_refused_alone() {
    let node = Node::start().await;
    let body = format!("{}\n\n{{oops\n{}\r\n", lead(json!({"id": "a"})), qualification(json!({"id": "b"})),);
    let key = format!("authorization: Bearer {}", node.admin);
    let answer =
        node.send_as("POST", "/v1/events", &[&key, "content-type: application/x-ndjson"], body).await;
    assert_eq!(answer.status, 207);
    assert_eq!(answer.headers["content-type"], "application/json");
    let json = answer.json();
    assert_eq!(words(&json), ["accepted", "rejected", "accepted"]);
    assert_eq!(json["accepted"], 2);
    assert_eq!(json["results"][1]["index"], 1);
    let error = problem(&json["results"][1]["error"], None);
    assert_eq!(error, (400, "json_malformed".into(), String::new()));
    assert!(json["results"][0]["id"].is_string());
    assert_eq!(node.events().len(), 2);
}

#[tokio::test]
async fn each_event_has_its_outcome() {
    let node = Node::start().await;
    let waits = token(&ring(9, &[9]), "abc", "email", 0);
    let batch = json!([
        lead(json!({"id": "a"})),
        lead(json!({"id": "b", "wclid": waits})),
        lead(json!({"id": "c", "email": "x"})),
        7,
    ]);
    let answer = node.post("/v1/events", batch).await;
    assert_eq!(answer.status, 207);
    assert!(answer.headers.contains_key("retry-after"), "one is to be sent again");
    let json = answer.json();
    assert_eq!(words(&json), ["accepted", "retry", "rejected", "rejected"]);
    let errors: Vec<_> = (1..4).map(|n| problem(&json["results"][n]["error"], None)).collect();
    assert_eq!(
        errors,
        [
            (503, "token_unknown_key".into(), "wclid".into()),
            (422, "invalid".into(), "email".into()),
            (422, "wrong_type".into(), "$".into()),
        ]
    );
    assert_eq!(node.events().len(), 1);
}

#[tokio::test]
async fn a_batch_of_which_nothing_was_taken_is_a_problem_with_the_outcomes() {
    let node = Node::start().await;
    let batch = json!([lead(json!({"email": "x"})), lead(json!({"code": "nope"}))]);
    let answer = node.post("/v1/events", batch).await;
    assert_eq!(answer.problem().0, 422);
    assert_eq!(words(&answer.json()), ["rejected", "rejected"]);
    let waits = token(&ring(9, &[9]), "abc", "email", 0);
    let answer = node.post("/v1/events", json!([lead(json!({"wclid": waits}))])).await;
    assert_eq!(answer.problem().0, 503);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(words(&answer.json()), ["retry"]);
}

#[tokio::test]
async fn a_thousand_events_are_taken_in_order() {
    let node = Node::start().await;
    let events: Vec<Value> = (0..1000)
        .map(|n| match n % 2 {
            0 => lead(json!({"id": format!("e{n}"), "lead": format!("l{n}"), "code": "abc"})),
            _ => qualification(json!({"id": format!("e{n}"), "lead": format!("l{n}")})),
        })
        .collect();
    let answer = node.post("/v1/events", events.into()).await;
    assert_eq!(answer.status, 202);
    let json = answer.json();
    assert_eq!(json["accepted"], 1000);
    let ids: Vec<_> = json["results"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect();
    let stored: Vec<_> =
        node.events().iter().map(|event| uuid::Uuid::from_slice(&event.id).unwrap().to_string()).collect();
    assert_eq!(stored, ids);
}

#[tokio::test]
async fn an_idempotency_key_is_for_one_event() {
    let node = Node::start().await;
    let key = format!("authorization: Bearer {}", node.admin);
    let send = async |header: &str, body: Value| {
        node.send_as("POST", "/v1/events", &[&key, header], body.to_string()).await
    };
    let by_header = send("idempotency-key: \"k1\"", lead(json!({"id": null}))).await;
    let by_field = node.post("/v1/events", lead(json!({"id": "k1"}))).await;
    assert_eq!((by_header.status, by_field.status), (202, 202));
    assert_eq!(by_header.json()["id"], by_field.json()["id"]);
    let contradicts = send("Idempotency-Key: k2", lead(json!({"id": "k1"}))).await;
    assert_eq!(contradicts.problem(), (422, "invalid".into(), "id".into()));
    let batch = send("Idempotency-Key: k1", json!([lead(json!({}))])).await;
    assert_eq!(batch.problem().0, 422);
}

#[tokio::test]
async fn a_batch_has_a_path_of_its_own_where_one_alone_is_a_list_of_one() {
    let node = Node::start().await;
    let path = "/v1/events/batch";
    for body in [lead(json!({"id": "a"})), json!([lead(json!({"id": "a"}))])] {
        let answer = node.post(path, body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(words(&answer.json()), ["accepted"]);
    }
    let answer = node.post(path, json!([lead(json!({"id": "b"})), lead(json!({"email": "x"}))])).await;
    assert_eq!((answer.status, words(&answer.json())), (207, vec!["accepted", "rejected"]));
    let key = format!("authorization: Bearer {}", node.admin);
    let body = lead(json!({})).to_string();
    let answer = node.send_as("POST", path, &[&key, "idempotency-key: k"], body).await;
    assert_eq!(answer.problem().0, 422);
    assert_eq!(node.post(path, json!([])).await.problem().0, 400);
}
