//! Refunds name their payment, and what ties two names together arrives, too.

use super::{deliver, gists, node, payload};
use crate::node::good_token;
use serde_json::json;
use whence_schemas::event::event::Body;

#[tokio::test]
async fn a_refund_takes_back_its_part_of_its_payment() {
    let node = node().await;
    let token = good_token();
    for (provider, topic, body) in [
        ("stripe", "x-none: 1", include_str!("payloads/stripe_checkout.json")),
        ("stripe", "x-none: 1", include_str!("payloads/stripe_refund.json")),
        ("shopify", "x-shopify-topic: orders/paid", include_str!("payloads/shopify_order.json")),
        ("shopify", "x-shopify-topic: refunds/create", include_str!("payloads/shopify_refund.json")),
    ] {
        let answer = deliver(&node, provider, &[topic], &payload(body, &token)).await;
        assert_eq!((answer.status, answer.json()["unusable"].as_u64()), (200, Some(0)), "{}", answer.text);
    }
    let (mut paid, mut taken_back) = (Vec::new(), Vec::new());
    for event in node.events() {
        match event.body.unwrap() {
            Body::Qualification(_) => paid.push(event.id),
            Body::Disqualification(d) => taken_back.push((d.qualification_id, d.value_minor, d.currency)),
            _ => {}
        }
    }
    let expected: Vec<_> =
        paid.into_iter().zip([1500, 1250]).map(|(id, minor)| (id, minor, "EUR".into())).collect();
    assert_eq!(taken_back, expected);
}

#[tokio::test]
async fn a_deal_is_tied_to_its_contact() {
    let node = node().await;
    let body = json!([{
        "eventId": 9, "subscriptionId": 8, "portalId": 1, "occurredAt": 1_799_999_990_000i64,
        "subscriptionType": "deal.associationChange", "attemptNumber": 0, "associationType": "DEAL_TO_CONTACT",
        "fromObjectId": 456, "toObjectId": 123, "associationRemoved": false,
    }]);
    assert_eq!(deliver(&node, "hubspot", &[], &body.to_string()).await.status, 200);
    assert_eq!(gists(&node), ["identify keys 2"]);
}

#[tokio::test]
async fn a_part_of_nothing_in_particular_is_refused_with_a_reason() {
    let node = node().await;
    let body = include_str!("payloads/stripe_refund.json").replace("\"pi_3PgQ2wB7WZ01zgkW1\"", "null");
    let answer = deliver(&node, "stripe", &[], &body).await;
    assert_eq!((answer.status, answer.json()["unusable"].as_u64()), (200, Some(1)));
    assert_eq!(gists(&node), ["dead letter no_qualification"]);
}
