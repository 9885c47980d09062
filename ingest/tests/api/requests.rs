//! What is refused before an event is looked at.

use super::node::{Node, lead, small_body};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use std::io::Write as _;

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

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_body_is_taken_compressed_and_with_a_byte_order_mark_and_other_encodings_are_refused_by_name() {
    let node = Node::start_with(small_body).await;
    let key = format!("authorization: Bearer {}", node.admin);
    let send = async |encoding: &str, body: Vec<u8>| {
        let encoding = format!("content-encoding: {encoding}");
        node.send_as("POST", "/v1/events", &[&key, &encoding], body).await
    };
    let event = lead(json!({})).to_string();
    assert_eq!(send("gzip", gzip(event.as_bytes())).await.status, 202);
    let event = lead(json!({"id": "2"})).to_string();
    assert_eq!(send("identity", format!("\u{feff}{event}").into_bytes()).await.status, 202);
    assert_eq!(node.events().len(), 2);
    // Small as it comes and too large as it is; cut; not what it says.
    let bomb = gzip(&vec![b' '; 1 << 20]);
    assert!(bomb.len() < 4096);
    assert_eq!(send("gzip", bomb).await.problem(), (413, "too_large".into(), String::new()));
    let whole = gzip(event.as_bytes());
    assert_eq!(send("gzip", whole[..whole.len() - 9].to_vec()).await.problem().1, "body_broken");
    assert_eq!(send("gzip", event.clone().into_bytes()).await.problem().1, "body_broken");
    let refused = send("br", event.into_bytes()).await;
    assert_eq!(refused.problem(), (415, "unsupported_encoding".into(), String::new()));
    assert!(refused.text.contains("\\\"br\\\" is not taken"), "{}", refused.text);
    assert_eq!(refused.headers["accept-encoding"], "gzip");
    assert_eq!(node.events().len(), 2);
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused_by_its_name() {
    let node = Node::start().await;
    let event = lead(json!({})).to_string();
    let twice = event.replacen('{', "{\"lead\":\"another\",", 1);
    for (content_type, body) in [
        ("application/json", twice.clone()),
        ("application/json", format!("[{twice}]")),
        ("application/x-ndjson", twice.clone()),
    ] {
        let key = format!("authorization: Bearer {}", node.admin);
        let content_type = format!("content-type: {content_type}");
        let answer = node.send_as("POST", "/v1/events", &[&key, &content_type], body).await;
        assert_eq!(answer.problem().1, "json_malformed");
        assert!(answer.text.contains("the field \\\"lead\\\" is there twice"), "{}", answer.text);
    }
    let program = r#"{"destination_hosts": ["shop.example"], "destination_hosts": []}"#;
    assert_eq!(node.send("PUT", "/v1/programs/twice", program).await.problem().1, "json_malformed");
    assert_eq!(node.events(), []);
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
