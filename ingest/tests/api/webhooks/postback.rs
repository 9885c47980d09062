//! `GET /v1/postback/P?…` as affiliate networks call it.

use super::{SECRET, gist, gists, node};
use crate::node::{Answer, Node, good_token};
use std::collections::BTreeSet;
use whence_schemas::event::event::Body;

async fn call(node: &Node, query: &str) -> Answer {
    let token = SECRET.replace('=', "%3D");
    node.send_as("GET", &format!("/v1/postback/demo?{query}&token={token}"), &[], "").await
}

#[tokio::test]
async fn a_sale_is_a_lead_and_a_qualification_of_the_click() {
    let node = node().await;
    let subid = good_token();
    let lead = call(&node, &format!("subid={subid}&status=lead")).await;
    assert_eq!(lead.status, 200, "{}", lead.text);
    let sale = format!("subid={subid}&status=sale&tid=t-1&payout=12.5&currency=usd");
    for _ in 0..2 {
        assert_eq!(call(&node, &sale).await.status, 200);
    }
    let (lead, sale) = ("lead \"\" keys 1 by [\"ann\"]", "qualification sale 1250 USD keys 1");
    let again = "reinstatement sale 0  of a payment";
    assert_eq!(gists(&node), [lead, lead, sale, again, lead, sale, again]);
    let of_money = node.events().into_iter().filter(|event| gist(event) != again);
    let ids: BTreeSet<_> = of_money.map(|event| event.id).collect();
    assert_eq!(ids.len(), 2, "one lead of the click, one sale of the transaction");
    let records = node.records();
    let token_is_named = records.iter().any(|record| String::from_utf8_lossy(record).contains(SECRET));
    assert!(!token_is_named);
}

#[tokio::test]
async fn whatever_a_tracker_adds_to_the_token_it_is_one_click() {
    let node = node().await;
    let good = good_token();
    for named in [
        good.clone(),
        format!("{good}%3D"),
        format!("%20{good}%20"),
        format!("%22{good}%22"),
        format!("{good}%253D%253D"),
    ] {
        assert_eq!(call(&node, &format!("subid={named}&status=lead")).await.status, 200, "{named}");
    }
    assert_eq!(gists(&node), vec!["lead \"\" keys 1 by [\"ann\"]"; 5]);
    let ids: BTreeSet<_> = node.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 1, "told five times");
    assert_eq!(
        call(&node, &format!("subid={}x&status=lead", &good[..61])).await.status,
        200,
        "a damaged one is kept"
    );
    assert_eq!(gists(&node).pop().unwrap(), "lead \"\" keys 1 by [\"\"]");
}

#[tokio::test]
async fn a_rebill_counts_once_for_each_transaction_and_needs_one() {
    let node = node().await;
    let subid = good_token();
    let none = call(&node, &format!("subid={subid}&status=rebill&payout=5&currency=EUR")).await;
    assert_eq!(none.status, 400, "without a transaction it can't be told from its retry");
    for tid in ["t-1", "t-2", "t-2"] {
        let query = format!("subid={subid}&status=rebill&tid={tid}&payout=5&currency=EUR");
        assert_eq!(call(&node, &query).await.status, 200);
    }
    let rebills: Vec<_> = node.events().into_iter().filter(|event| event.source == "postback").collect();
    let rebills: Vec<_> = rebills.into_iter().filter(|event| gist(event).starts_with("qual")).collect();
    let ids: BTreeSet<_> = rebills.iter().map(|event| event.id.clone()).collect();
    assert_eq!((rebills.len(), ids.len()), (3, 2));
}

#[tokio::test]
async fn what_is_rejected_is_the_payment_it_names() {
    let node = node().await;
    for paid in ["status=sale&tid=t-1", "status=rebill&tid=t-2", "status=sale"] {
        let query = format!("subid=s&{paid}&payout=5&currency=EUR");
        assert_eq!(call(&node, &query).await.status, 200, "{paid}");
    }
    for rejected in ["status=rejected&tid=t-1", "status=rejected&tid=t-2", "status=rejected"] {
        assert_eq!(call(&node, &format!("subid=s&{rejected}")).await.status, 200, "{rejected}");
    }
    let (mut paid, mut taken_back) = (Vec::new(), Vec::new());
    for event in node.events() {
        match event.body.unwrap() {
            Body::Qualification(q) => paid.push(q.payments),
            Body::Disqualification(rejected) => taken_back.push(rejected.payments),
            _ => {}
        }
    }
    assert_eq!((paid.len(), taken_back), (3, paid));
}

/// A network tells all of it with one query: what comes last holds.
#[tokio::test]
async fn a_sale_that_is_rejected_can_be_a_sale_again_and_rejected_again() {
    let node = node().await;
    for status in ["sale", "rejected", "sale", "rejected"] {
        node.clock_ms.fetch_add(1000, std::sync::atomic::Ordering::Relaxed);
        let query = format!("subid=s&status={status}&tid=t-1&payout=5&currency=EUR");
        assert_eq!(call(&node, &query).await.status, 200, "{status}");
    }
    let events: Vec<_> = node.events().into_iter().filter(|event| !gist(event).starts_with("lead")).collect();
    let ids: BTreeSet<_> = events.iter().map(|event| event.id.clone()).collect();
    let gists: Vec<_> = events.iter().map(gist).collect();
    let (sale, again) = ("qualification sale 500 EUR keys 1", "reinstatement sale 0  of a payment");
    let rejected = "disqualification rejected 0  of a payment";
    assert_eq!(gists, [sale, again, rejected, sale, again, rejected]);
    assert_eq!(ids.len(), 5, "the sale is one, each word about it is its own");
}

#[tokio::test]
async fn what_cannot_be_used_is_said_and_an_unknown_click_is_kept() {
    let node = node().await;
    for (query, status) in [
        ("status=lead", 400),
        ("subid=x", 400),
        ("subid=x&status=sale&payout=1,5&currency=EUR", 422),
        ("subid=x&status=sale&payout=1&currency=Taler", 422),
        ("subid=not-ours&status=lead", 200),
        ("subid=not-ours&status=trash", 200),
    ] {
        assert_eq!(call(&node, query).await.status, status, "{query}");
    }
    assert!(gists(&node).contains(&"lead \"\" keys 1 by [\"\"]".to_owned()), "never dropped");
}

#[tokio::test]
async fn a_postback_needs_the_secret_and_never_repeats_it() {
    let node = node().await;
    let path = "/v1/postback/demo?subid=x&status=lead";
    for (path, headers) in [
        (path.to_owned(), None),
        (format!("{path}&token=wrong-but-confidential"), None),
        (format!("{path}&token={}", &SECRET[..10]), None),
        (path.to_owned(), Some("authorization: Bearer wrong-but-confidential")),
    ] {
        let headers: Vec<&str> = headers.into_iter().collect();
        let answer = node.send_as("GET", &path, &headers, "").await;
        assert_eq!(answer.problem().0, 401, "{path}");
        assert!(!answer.text.contains("confidential") && !answer.text.contains(&SECRET[..10]));
    }
    let bearer = format!("authorization: Bearer {SECRET}");
    assert_eq!(
        node.send_as("GET", path, &[&bearer], "").await.status,
        200,
        "a header is no part of an address"
    );
    let is_named = |record: &Vec<u8>| String::from_utf8_lossy(record).contains("confidential");
    assert!(!node.records().iter().any(is_named));
}
