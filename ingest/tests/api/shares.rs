//! What one network may send that proves nothing. Networks are /24s of 127.0.0.0/8.

use crate::{
    node::{Answer, Node},
    webhooks,
};
use serde_json::json;
use std::net::SocketAddr;
use tokio::net::TcpSocket;
use whence_runtime::{
    http::forwarded::ForwardedHeader,
    settings,
    shares::{Callers, ShareSettings},
};

fn callers(pairs: &[(&str, &str)]) -> Callers {
    let proxies = vec!["127.9.0.0/16".parse().unwrap()];
    settings::from_pairs::<ShareSettings>(pairs).unwrap().callers(proxies, ForwardedHeader::XForwardedFor)
}

/// Asks from the network `127.NETWORK.0.0/24`.
async fn ask(node: &Node, network: u8, path: &str, headers: &[&str]) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, network, 0, 1], 0))).unwrap();
    let stream = socket.connect(node.address).await.unwrap();
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{lines}\r\n");
    node.send_on(stream, request.as_bytes()).await
}

fn key(key: &str) -> String {
    format!("authorization: Bearer {key}")
}

#[tokio::test]
async fn wrong_keys_beyond_a_networks_share_are_told_to_wait_and_right_ones_are_never_refused() {
    let node = Node::start_for(|_| {}, callers(&[("share-wrong-keys", "5")])).await;
    let right = key(&node.admin);
    let mut statuses = Vec::new();
    for n in 0..20 {
        let guess = key(&format!("whk_0123456789abcdef_{n:064}"));
        let answer = ask(&node, 1, "/v1/programs", &[&guess]).await;
        if answer.status == 429 {
            assert_eq!(answer.json()["code"], "too_many_requests");
            assert!(answer.headers["retry-after"].parse::<u32>().unwrap() > 0);
        }
        statuses.push(answer.status);
        assert_eq!(
            ask(&node, 1, "/v1/programs", &[&right]).await.status,
            200,
            "a right key after {n} guesses"
        );
    }
    assert_eq!(statuses, [vec![401; 5], vec![429; 15]].concat());
    assert_eq!(ask(&node, 2, "/v1/programs", &[&key("guess")]).await.status, 401, "its share is its own");
    assert_eq!(ask(&node, 1, "/v1/programs", &[]).await.status, 401, "no key is no wrong key");
}

#[tokio::test]
async fn requests_that_prove_nothing_are_one_share_whatever_they_ask_for() {
    let node = Node::start_for(|_| {}, callers(&[("share-unproved-requests", "5")])).await;
    let paths = ["/", "/v1/programs", "/v1/openapi.json", "/v1/webhooks/demo/none", "/v1/postback/demo"];
    for path in paths {
        let status = ask(&node, 1, path, &[]).await.status;
        assert!([200, 401, 404, 405].contains(&status), "{path}: {status}");
    }
    for path in paths {
        assert_eq!(ask(&node, 1, path, &[]).await.status, 429, "{path}");
    }
    assert_eq!(ask(&node, 1, "/v1/programs", &[&key(&node.admin)]).await.status, 200);
    assert_eq!(ask(&node, 2, "/", &[]).await.status, 404);
}

#[tokio::test]
async fn behind_a_configured_proxy_the_forwarded_address_has_the_share() {
    let node = Node::start_for(|_| {}, callers(&[("share-unproved-requests", "1")])).await;
    let from = |address: &str| format!("x-forwarded-for: {address}");
    assert_eq!(ask(&node, 9, "/", &[&from("203.0.113.1")]).await.status, 404);
    assert_eq!(ask(&node, 9, "/", &[&from("203.0.113.2")]).await.status, 429);
    assert_eq!(ask(&node, 9, "/", &[&from("198.51.100.1")]).await.status, 404);
}

#[tokio::test]
async fn unproved_deliveries_beyond_the_share_leave_no_letter_and_proved_ones_are_taken() {
    let node = webhooks::node_for(callers(&[("share-unproved-requests", "3")])).await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let answer = node.send_as("POST", "/v1/webhooks/demo/stripe", &[], r#"{"id":"evt"}"#).await;
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [vec![401; 3], vec![429; 7]].concat());
    assert_eq!(node.events().len(), 3);
    let body = json!({
        "id": "evt_1", "object": "event", "type": "customer.updated", "livemode": true, "created": 1_799_999_990,
        "data": {"object": {"id": "cus_1", "object": "customer"}},
    });
    assert_eq!(webhooks::deliver(&node, "stripe", &[], &body.to_string()).await.status, 200);
}
