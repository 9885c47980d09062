//! What is refused before an event is looked at.

use super::node::{Node, lead, small_body};
use serde_json::json;

#[tokio::test]
async fn malformed_json_is_a_400_that_says_where() {
    let node = Node::start().await;
    for body in ["", "{", "{\"a\":}", "[{},", "nonsense", "42"] {
        let answer = node.send("POST", "/v1/events", body).await;
        assert_eq!(answer.problem(), (400, "json_malformed".into(), String::new()), "{body}");
    }
    let answer = node.send("POST", "/v1/events", "{\"a\":}").await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("line 1 column 6"), "{}", answer.text);
    let not_utf8 = node.send("POST", "/v1/events", b"{\"id\":\"\xff\"}".to_vec()).await;
    assert_eq!(not_utf8.status, 400);
    let deep = node.send("POST", "/v1/events", "[".repeat(100_000)).await;
    assert_eq!(deep.status, 400);
    assert_eq!(node.events(), []);
}

#[tokio::test]
async fn an_oversized_body_is_a_413_whether_declared_or_not() {
    let node = Node::start_with(small_body).await;
    let declared = node.send("POST", "/v1/events", vec![b' '; 4097]).await;
    assert_eq!(declared.problem(), (413, "too_large".into(), String::new()));
    let chunked = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n1001\r\n{}\r\n0\r\n\r\n",
        node.admin,
        " ".repeat(4097),
    );
    assert_eq!(node.send_raw(chunked.as_bytes()).await.status, 413);
    let fits = lead(json!({})).to_string();
    let fits = format!("{fits}{}", " ".repeat(4096 - fits.len()));
    assert_eq!(node.send("POST", "/v1/events", fits).await.status, 202);
}

#[tokio::test]
async fn too_many_events_are_a_413_and_none_is_taken() {
    let node = Node::start_with(|settings| settings.api_events_max = 3).await;
    let lines = format!("{}\n", lead(json!({}))).repeat(4);
    let answer = node.send("POST", "/v1/events", lines).await;
    assert_eq!(answer.problem(), (413, "too_large".into(), String::new()));
    assert_eq!(node.events(), []);
}

#[tokio::test]
async fn bodies_in_memory_are_bounded() {
    let node = Node::start_with(|settings| {
        small_body(settings);
        settings.api_bodies_bytes_max = whence_runtime::settings::ByteSize::kib(2);
    })
    .await;
    let answer = node.send("POST", "/v1/events", vec![b' '; 4000]).await;
    assert_eq!(answer.problem(), (503, "busy".into(), String::new()));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(node.post("/v1/events", lead(json!({}))).await.status, 202, "a small one has room");
}

#[tokio::test]
async fn paths_and_methods_that_are_none_say_so() {
    let node = Node::start().await;
    for path in ["/", "/v1", "/v2/events", "/v1/events/1", "/v1/programs/demo/nothing"] {
        assert_eq!(node.send("GET", path, "").await.problem().0, 404, "{path}");
    }
    let answer = node.send("GET", "/v1/events", "").await;
    assert_eq!(answer.problem(), (405, "method_not_allowed".into(), String::new()));
    assert_eq!(answer.headers["allow"], "POST");
    assert_eq!(node.send("DELETE", "/v1/programs/demo", "").await.headers["allow"], "GET, PATCH, PUT, HEAD");
    for short in ["/v1/programs/none/leads", "/v1/programs/none/qualifications"] {
        assert_eq!(node.post(short, json!({})).await.problem().0, 404, "{short}");
    }
}

#[tokio::test]
async fn the_content_type_is_no_obstacle() {
    let node = Node::start().await;
    let key = format!("authorization: Bearer {}", node.admin);
    for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded", "x"] {
        let header = format!("content-type: {content_type}");
        let body = lead(json!({})).to_string();
        let answer = node.send_as("POST", "/v1/events", &[&key, &header], body).await;
        assert_eq!(answer.status, 202, "{content_type}: {}", answer.text);
    }
}
