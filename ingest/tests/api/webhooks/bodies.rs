//! Who has proved nothing can keep nobody else from being heard.

use super::{deliver, name_secrets, node, payload, put};
use crate::node::{Node, lead};
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const CHECKOUT: &str = include_str!("payloads/stripe_checkout.json");
/// Long before the node gives a body up that does not arrive.
const SOON: Duration = Duration::from_secs(5);

/// The head of a delivery whose body would be large, and its first byte.
fn begun(path: &str, header: &str) -> String {
    let line = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{line}content-length: 1048576\r\n\r\n{{")
}

async fn begin(node: &Node, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The status of the answer, which must come before the rest of the body.
async fn status(stream: &mut TcpStream) -> String {
    let mut line = [0; 12];
    timeout(SOON, stream.read_exact(&mut line)).await.expect("answered without the body").unwrap();
    String::from_utf8(line[9..].to_vec()).unwrap()
}

#[tokio::test]
async fn who_carries_no_proof_is_answered_before_the_body() {
    let node = node().await;
    put(&node, "nowhere", json!({"provider": "stripe", "secrets": ["main"]})).await;
    name_secrets(&node, "nowhere", &["elsewhere"]).await;
    let rules = json!([{"gives": "lead", "fields": {"email": "/who"}}]);
    put(&node, "crm", json!({"provider": "generic", "secrets": ["main"], "rules": rules})).await;
    put(&node, "std", json!({"provider": "standard_webhooks", "secrets": ["main"], "rules": rules})).await;
    for source in ["stripe", "hubspot", "intercom", "shopify", "salesforce", "crm", "std"] {
        let mut stream = begin(&node, &begun(&format!("/v1/webhooks/demo/{source}"), "")).await;
        assert_eq!(status(&mut stream).await, "401", "{source}");
    }
    let mut stream = begin(&node, &begun("/v1/webhooks/demo/nowhere", "stripe-signature: t=1,v1=00")).await;
    assert_eq!(status(&mut stream).await, "503", "it could not be proved here");
}

#[tokio::test]
async fn bodies_that_are_only_announced_take_no_room() {
    let node = node().await;
    let mut held = Vec::new();
    for source in ["stripe"; 80] {
        let request = begun(&format!("/v1/webhooks/demo/{source}"), "stripe-signature: t=1,v1=00");
        held.push(begin(&node, &request).await);
    }
    for _ in 0..3 {
        let taken = node.post("/v1/events", lead(json!({}))).await;
        assert_eq!(taken.status, 202, "{}", taken.text);
        let taken = deliver(&node, "stripe", &[], &payload(CHECKOUT, "x")).await;
        assert_eq!(taken.status, 200, "{}", taken.text);
    }
}

#[tokio::test]
async fn bodies_that_arrive_and_never_end_are_bounded_and_bother_no_caller_with_a_key() {
    let node = node().await;
    let head = begun("/v1/webhooks/demo/stripe", "stripe-signature: t=1,v1=00");
    let nearly_all = format!("{head}{}", " ".repeat((1 << 20) - 2));
    let mut held = Vec::new();
    let full = async {
        loop {
            let mut stream = begin(&node, &nearly_all).await;
            let mut byte = [0];
            // Answered at once, or waiting for the last byte.
            match timeout(Duration::from_millis(50), stream.peek(&mut byte)).await {
                Ok(_) => return status(&mut stream).await,
                Err(_) => held.push(stream),
            }
        }
    };
    assert_eq!(timeout(4 * SOON, full).await.expect("the room ends"), "503");
    assert!(held.len() >= 15, "{} bodies", held.len());
    let taken = node.post("/v1/events", lead(json!({}))).await;
    assert_eq!(taken.status, 202, "{}", taken.text);
}
