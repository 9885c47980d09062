//! Refunds name their payment, and what ties two names together arrives, too.

#![expect(clippy::needless_pass_by_value, reason = "payloads are written where they are used")]

use super::{deliver, gists, node, payload};
use crate::node::good_token;
use bytes::Bytes;
use serde_json::{Value, json};
use whence_schemas::{event::event::Body, ids::EventId};

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
            Body::Qualification(q) => paid.push((event.id, q.payments)),
            Body::Disqualification(d) => taken_back.push(d),
            _ => {}
        }
    }
    assert_eq!(paid.len(), 2);
    let shares_a_name = paid[0].1.iter().any(|name| taken_back[0].payments.contains(name));
    assert!(shares_a_name, "of Stripe the names of the payment tell");
    assert_eq!(taken_back[1].qualification_id, paid[1].0, "of Shopify the order does");
    let amounts: Vec<_> = taken_back.iter().map(|d| (d.value_minor, d.currency.as_str())).collect();
    assert_eq!(amounts, [(1500, "EUR"), (1250, "EUR")]);
}

/// An event of Stripe about this object.
fn stripe(kind: &str, object: Value) -> String {
    let id = format!("evt_{kind}_{}", object["id"].as_str().unwrap());
    json!({"id": id, "object": "event", "type": kind, "created": 1_799_999_990, "livemode": true,
        "data": {"object": object}})
    .to_string()
}

/// The name of a payment of the source, as events carry it.
fn payment(source: &str, name: &str) -> Bytes {
    let id = EventId::of_kind(&"demo".parse().unwrap(), source, false, "payment", name);
    Bytes::copy_from_slice(id.0.as_bytes())
}

#[tokio::test]
async fn every_object_of_a_payment_says_all_the_names_that_it_knows() {
    let line = json!({"payment": {"type": "payment_intent", "payment_intent": "pi_1"}});
    for (kind, object, names) in [
        (
            "checkout.session.completed",
            json!({"id": "cs_1", "mode": "payment", "payment_status": "paid", "amount_total": 2000,
                "currency": "eur", "customer": "cus_1", "payment_intent": "pi_1", "invoice": "in_1"}),
            &["cs_1", "in_1", "pi_1"][..],
        ),
        (
            "invoice.paid",
            json!({"id": "in_1", "status": "paid", "amount_paid": 2000, "currency": "eur", "customer": "cus_1",
                "payment_intent": "pi_1", "charge": "ch_1"}),
            &["ch_1", "in_1", "pi_1"],
        ),
        // From 2025-03-31.basil on an invoice knows its payments only where they are expanded.
        (
            "invoice.paid",
            json!({"id": "in_1", "status": "paid", "amount_paid": 2000, "currency": "eur", "customer": "cus_1"}),
            &["in_1"],
        ),
        (
            "invoice.paid",
            json!({"id": "in_1", "status": "paid", "amount_paid": 2000, "currency": "eur", "customer": "cus_1",
                "payments": {"data": [line]}}),
            &["in_1", "pi_1"],
        ),
        (
            "invoice_payment.paid",
            json!({"id": "inpay_1", "invoice": "in_1", "status": "paid",
                "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}),
            &["in_1", "pi_1"],
        ),
        (
            "charge.refunded",
            json!({"id": "ch_1", "amount_refunded": 500, "currency": "eur", "payment_intent": "pi_1"}),
            &["ch_1", "pi_1"],
        ),
        (
            "charge.dispute.created",
            json!({"id": "dp_1", "charge": "ch_1", "payment_intent": "pi_1", "amount": 2000, "currency": "eur",
                "status": "needs_response"}),
            &["ch_1", "pi_1"],
        ),
        (
            "refund.failed",
            json!({"id": "re_1", "charge": "ch_1", "payment_intent": "pi_1", "amount": 500, "currency": "eur",
                "status": "failed"}),
            &["ch_1", "pi_1"],
        ),
    ] {
        let node = node().await;
        let answer = deliver(&node, "stripe", &[], &stripe(kind, object)).await;
        assert_eq!((answer.status, answer.json()["unusable"].as_u64()), (200, Some(0)), "{}", answer.text);
        let of_event = node.events().into_iter().find_map(|event| match event.body.unwrap() {
            Body::Qualification(q) => Some(q.payments),
            Body::Disqualification(d) => Some(d.payments),
            Body::Reinstatement(r) => Some(r.payments),
            Body::Identify(identify) => Some(identify.payments),
            _ => None,
        });
        let mut expected: Vec<Bytes> = names.iter().map(|name| payment("stripe", name)).collect();
        let mut found = of_event.unwrap();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{kind}");
    }
}

#[tokio::test]
async fn what_is_won_or_has_failed_gives_again_what_was_taken() {
    let dispute = |status: &str| {
        json!({"id": "dp_1", "charge": "ch_1", "payment_intent": "pi_1", "amount": 2000, "currency": "eur",
            "status": status})
    };
    let refund = |status: &str| {
        json!({"id": "re_1", "charge": "ch_1", "payment_intent": "pi_1", "amount": 500, "currency": "eur",
            "status": status})
    };
    let shop = |status: &str| {
        json!({"id": 7, "order_id": 9, "type": "chargeback", "amount": "20.00", "currency": "EUR",
            "status": status, "initiated_at": "2027-01-15T07:59:00Z", "finalized_on": "2027-01-15T07:59:30Z"})
        .to_string()
    };
    let nothing = &["dead letter unmapped"][..];
    for (provider, topic, body, expected) in [
        (
            "stripe",
            "",
            stripe("charge.dispute.closed", dispute("won")),
            &["reinstatement dispute_won 0  of one"][..],
        ),
        (
            "stripe",
            "",
            stripe("charge.dispute.funds_reinstated", dispute("won")),
            &["reinstatement dispute_won 0  of one"],
        ),
        ("stripe", "", stripe("charge.dispute.closed", dispute("lost")), nothing),
        ("stripe", "", stripe("charge.dispute.closed", dispute("warning_closed")), nothing),
        (
            "stripe",
            "",
            stripe("refund.failed", refund("failed")),
            &["reinstatement refund_failed 500 EUR of a payment"],
        ),
        (
            "stripe",
            "",
            stripe("refund.updated", refund("canceled")),
            &["reinstatement refund_failed 500 EUR of a payment"],
        ),
        (
            "stripe",
            "",
            stripe("charge.refund.updated", refund("failed")),
            &["reinstatement refund_failed 500 EUR of a payment"],
        ),
        ("stripe", "", stripe("refund.updated", refund("succeeded")), nothing),
        (
            "shopify",
            "disputes/create",
            shop("needs_response"),
            &["disqualification chargeback 2000 EUR of one"],
        ),
        ("shopify", "disputes/update", shop("won"), &["reinstatement dispute_won 0  of one"]),
        // An inquiry that has become a chargeback is told as an update.
        ("shopify", "disputes/update", shop("lost"), &["disqualification chargeback 2000 EUR of one"]),
        ("shopify", "disputes/update", shop("charge_refunded"), nothing),
    ] {
        let node = node().await;
        let topic = format!("x-shopify-topic: {topic}");
        let answer = deliver(&node, provider, &[&topic], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(gists(&node), expected, "{provider} {body}");
    }
}

#[tokio::test]
async fn the_dispute_that_is_won_is_the_one_that_was_opened() {
    let node = node().await;
    let object = json!({"id": "dp_1", "charge": "ch_1", "amount": 2000, "currency": "eur", "status": "needs_response"});
    let won = json!({"id": "dp_1", "charge": "ch_1", "amount": 2000, "currency": "eur", "status": "won"});
    for body in [
        stripe("charge.dispute.created", object),
        stripe("charge.dispute.closed", won.clone()),
        stripe("charge.dispute.funds_reinstated", won),
    ] {
        assert_eq!(deliver(&node, "stripe", &[], &body).await.status, 200);
    }
    let events = node.events();
    let undone = |at: usize| match events[at].body.clone().unwrap() {
        Body::Reinstatement(again) => again.disqualification_id,
        _ => panic!("no reinstatement"),
    };
    assert_eq!((undone(1), undone(2)), (events[0].id.clone(), events[0].id.clone()));
    assert_eq!(events[1].id, events[2].id, "told twice, it is one reinstatement");
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
    let body = include_str!("payloads/stripe_refund.json");
    let body = body.replace("\"pi_3PgQ2wB7WZ01zgkW1\"", "null").replace("\"ch_3PgQ2wB7WZ01zgkW1\"", "null");
    let answer = deliver(&node, "stripe", &[], &body).await;
    assert_eq!((answer.status, answer.json()["unusable"].as_u64()), (200, Some(1)));
    assert_eq!(gists(&node), ["dead letter no_qualification"]);
}
