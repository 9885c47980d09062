//! One realistic payload of each provider, signed, through its built-in rules into the journal.

use super::{deliver, gists, node, payload, put};
use crate::node::{NOW, good_token};
use base64::Engine;
use serde_json::json;
use std::collections::BTreeSet;
use whence_schemas::event::{Mode, event::Body};

#[tokio::test]
async fn a_checkout_is_a_lead_and_a_payment_with_ids_of_their_own() {
    let node = node().await;
    let body = payload(include_str!("payloads/stripe_checkout.json"), &good_token());
    let answer = deliver(&node, "stripe", &[], &body).await;
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (200, Some(2)), "{}", answer.text);
    assert_eq!(
        gists(&node),
        ["lead \"customer-1\" keys 3 by [\"ann\"]", "qualification payment 4900 EUR keys 3"]
    );
    let events = node.events();
    assert_ne!(events[0].id, events[1].id);
    for event in &events {
        assert_eq!((event.source.as_str(), event.mode()), ("stripe", Mode::Live));
        assert_eq!(event.occurred_at_ms, 1_799_999_990_000, "Stripe's time, in milliseconds");
        assert_eq!(event.received_at_ms, NOW.0);
    }
    // Stripe sends it again until it is answered.
    assert_eq!(deliver(&node, "stripe", &[], &body).await.status, 200);
    let ids: BTreeSet<_> = node.events().into_iter().map(|event| event.id).collect();
    assert_eq!((node.events().len(), ids.len()), (4, 2), "the same events again");
}

#[tokio::test]
async fn stripes_test_mode_makes_test_events() {
    let node = node().await;
    let body = payload(include_str!("payloads/stripe_checkout.json"), &good_token());
    let body = body.replace("\"livemode\": true", "\"livemode\": false");
    assert_eq!(deliver(&node, "stripe", &[], &body).await.status, 200);
    assert!(node.events().iter().all(|event| event.mode() == Mode::Test));
}

#[tokio::test]
async fn a_batch_of_hubspot_is_taken_event_by_event() {
    let node = node().await;
    let body = payload(include_str!("payloads/hubspot_batch.json"), &good_token());
    let answer = deliver(&node, "hubspot", &[], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json(), json!({"accepted": 4, "unmapped": 1, "unusable": 0}));
    assert_eq!(
        gists(&node),
        [
            "lead \"\" keys 1 by []",
            "lead \"\" keys 1 by [\"ann\"]",
            "qualification customer 0  keys 1",
            "qualification closed_won 0  keys 1",
            "dead letter unmapped",
        ]
    );
    let events = node.events();
    let keys = |at: usize| match events[at].body.as_ref().unwrap() {
        Body::Lead(lead) => lead.subject.clone().unwrap().keys,
        Body::Qualification(q) => q.subject.clone().unwrap().keys,
        _ => panic!("neither lead nor qualification"),
    };
    assert_ne!(events[0].id, events[1].id, "that there is a contact costs no click its lead");
    let record = |at: usize| match events[at].body.as_ref().unwrap() {
        Body::Lead(lead) => lead.record.clone(),
        _ => panic!("not a lead"),
    };
    assert!(!record(0).is_empty() && record(0) == record(1), "both tell of one contact");
    assert_eq!((keys(0), keys(0)), (keys(1), keys(2)), "the contact is found again");
    assert_ne!(keys(0), keys(3), "a deal is somebody else until it is tied to a contact");
    // A retry differs in the count of attempts only.
    let again = body.replace("\"attemptNumber\": 0", "\"attemptNumber\": 1");
    assert_eq!(deliver(&node, "hubspot", &[], &again).await.status, 200);
    let ids: BTreeSet<_> = node.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn an_outbound_message_of_salesforce_is_acknowledged_as_salesforce_expects() {
    let node = node().await;
    let body = payload(include_str!("payloads/salesforce_outbound.xml"), &good_token());
    let answer = deliver(&node, "salesforce", &[], &body).await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "text/xml; charset=utf-8"));
    assert!(answer.text.contains("<Ack>true</Ack>"), "{}", answer.text);
    assert_eq!(
        gists(&node),
        [
            "lead \"\" keys 2 by [\"ann\"]",
            "qualification qualified 0  keys 2",
            "qualification closed_won 150000 EUR keys 1",
        ],
        "the phone number without a country code is left out, the lead is not"
    );
}

#[tokio::test]
async fn a_flow_of_salesforce_sends_json() {
    let node = node().await;
    let body = json!({
        "type": "Opportunity", "id": "f-1",
        "sObject": {"Id": "006", "AccountId": "001", "StageName": "Closed Won", "Amount": 19.99,
            "CurrencyIsoCode": "EUR"},
    });
    let answer = deliver(&node, "salesforce", &[], &body.to_string()).await;
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (200, Some(1)), "{}", answer.text);
    assert_eq!(gists(&node), ["qualification closed_won 1999 EUR keys 1"]);
}

#[tokio::test]
async fn messages_of_another_organization_and_with_entities_are_refused() {
    let node = node().await;
    let body = include_str!("payloads/salesforce_outbound.xml");
    let foreign = body.replace("00D5g000004abcdEAA", "00D5g000004zzzzEAA");
    assert_eq!(deliver(&node, "salesforce", &[], &foreign).await.problem().1, "unproved");
    let entities = body.replace(
        "<soapenv:Envelope",
        "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><soapenv:Envelope",
    );
    assert_eq!(deliver(&node, "salesforce", &[], &entities).await.problem().1, "json_malformed");
    assert_eq!(gists(&node), ["dead letter organization_wrong", "dead letter unreadable"]);
}

#[tokio::test]
async fn a_contact_of_intercom_is_a_lead_and_a_ping_is_nothing() {
    let node = node().await;
    let ping = r#"{"type":"notification_event","topic":"ping","id":null,"data":{"item":{"type":"ping"}}}"#;
    let answer = deliver(&node, "intercom", &[], ping).await;
    assert_eq!((answer.status, gists(&node).len()), (200, 0), "{}", answer.text);
    let body = payload(include_str!("payloads/intercom_user.json"), &good_token());
    assert_eq!(deliver(&node, "intercom", &[], &body).await.status, 200);
    assert_eq!(gists(&node), ["lead \"customer-7\" keys 3 by [\"ann\"]"]);
}

#[tokio::test]
async fn an_order_of_shopify_counts_once_under_whatever_delivery_id() {
    let node = node().await;
    let body = payload(include_str!("payloads/shopify_order.json"), &good_token());
    for id in ["x-shopify-webhook-id: a", "x-shopify-webhook-id: b"] {
        let answer = deliver(&node, "shopify", &["x-shopify-topic: orders/paid", id], &body).await;
        assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (200, Some(2)), "{}", answer.text);
    }
    let expected =
        ["lead \"\" keys 3 by [\"ann\"]", "qualification purchase 4900 JPY keys 3"].map(str::to_owned);
    assert_eq!(gists(&node), [expected.clone(), expected].concat());
    let ids: BTreeSet<_> = node.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 2, "the delivery's id is not signed, so it makes no event another one");
}

#[tokio::test]
async fn any_json_is_taken_with_a_mapping_of_ones_own() {
    let node = node().await;
    let mapping = json!({
        "provider": "generic", "secrets": ["main"], "event_at": "/kind", "id_at": "/meta/id",
        "rules": [{
            "events": ["deal"],
            "when": [{"at": "/tags", "is": "contains", "values": ["vip"]},
                {"at": "/total", "is": "at_least", "values": ["100"]}],
            "gives": "qualification", "name": "vip",
            "fields": {"email": "/who", "amount": "/total", "currency": {"constant": "USD"}},
        }],
    });
    put(&node, "zapier", mapping).await;
    let body = json!([
        {"kind": "deal", "meta": {"id": 1}, "who": "a@shop.example", "tags": ["vip"], "total": 100.5},
        {"kind": "deal", "meta": {"id": 2}, "who": "a@shop.example", "tags": ["vip"], "total": 99},
        {"kind": "deal", "meta": {"id": 3}, "who": "a@shop.example", "tags": [], "total": 100},
        {"kind": "talk", "meta": {"id": 4}, "who": "a@shop.example", "tags": ["vip"], "total": 100},
    ]);
    let answer = deliver(&node, "zapier", &[], &body.to_string()).await;
    assert_eq!(answer.json(), json!({"accepted": 1, "unmapped": 3, "unusable": 0}));
    assert_eq!(gists(&node)[0], "qualification vip 10050 USD keys 1");
    // Without an id the bearer's own key names the event, and without that the body itself.
    put(
        &node,
        "make",
        json!({
            "provider": "generic", "secrets": ["main"],
            "rules": [{"gives": "lead", "fields": {"email": "/who"}}],
        }),
    )
    .await;
    for (headers, body) in [
        (&["idempotency-key: k1"][..], r#"{"who":"a@shop.example"}"#),
        (&["idempotency-key: k1"], r#"{"who":"b@shop.example"}"#),
        (&[], r#"{"who":"a@shop.example"}"#),
        (&[], r#"{"who":"a@shop.example"}"#),
        (&[], r#"{"who":"b@shop.example"}"#),
    ] {
        assert_eq!(deliver(&node, "make", headers, body).await.status, 200);
    }
    let made: Vec<_> = node.events().into_iter().filter(|event| event.source == "make").collect();
    let ids: BTreeSet<_> = made.iter().map(|event| event.id.clone()).collect();
    assert_eq!((made.len(), ids.len()), (5, 3));
}

#[tokio::test]
async fn a_signed_body_is_one_event_under_whatever_unsigned_headers() {
    let node = node().await;
    let rules = json!([{"gives": "lead", "fields": {"email": "/who"}}]);
    let generic = json!({"provider": "generic", "secrets": ["main"], "rules": rules,
        "signature_header": "x-signature"});
    put(&node, "crm", generic).await;
    let salesforce = json!({"provider": "salesforce", "secrets": ["main"], "rules": rules,
        "signature_header": "x-signature", "organization": super::ORGANIZATION});
    put(&node, "flow", salesforce).await;
    let body = r#"{"who":"a@shop.example"}"#;
    let signature = format!("x-signature: {}", super::hex(&super::sha256(&[body.as_bytes()])));
    for source in ["crm", "flow"] {
        for key in ["k1", "k2"] {
            let key = format!("idempotency-key: {key}");
            let headers = [signature.as_str(), "authorization: Bearer whatever", &key];
            let answer = node.send_as("POST", &format!("/v1/webhooks/demo/{source}"), &headers, body).await;
            assert_eq!(answer.status, 200, "{source}: {}", answer.text);
        }
    }
    let ids: BTreeSet<_> = node.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 2, "one of each source");
}

#[tokio::test]
async fn an_entry_of_a_list_is_no_other_delivery() {
    let node = node().await;
    let rules = json!([{"gives": "lead", "fields": {"email": "/who"}}]);
    put(&node, "crm", json!({"provider": "generic", "secrets": ["main"], "rules": rules})).await;
    let list = r#"[{"who":"a@shop.example"},{"who":"b@shop.example"}]"#;
    for (key, body) in [("k", list), ("k-1", r#"{"who":"c@shop.example"}"#), ("k", list)] {
        let key = format!("idempotency-key: {key}");
        assert_eq!(deliver(&node, "crm", &[&key], body).await.status, 200);
    }
    let ids: BTreeSet<_> = node.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn an_order_of_shopify_is_paid_where_its_signed_body_says_so() {
    let node = node().await;
    let order = payload(include_str!("payloads/shopify_order.json"), &good_token());
    for status in ["pending", "authorized", "partially_paid", "refunded", "voided"] {
        let body =
            order.replace(r#""financial_status": "paid""#, &format!(r#""financial_status": "{status}""#));
        let answer = deliver(&node, "shopify", &["x-shopify-topic: orders/paid"], &body).await;
        assert_eq!(answer.json(), json!({"accepted": 0, "unmapped": 1, "unusable": 0}), "{status}");
    }
}

#[tokio::test]
async fn whoever_signs_as_standard_webhooks_say_is_taken() {
    let node = node().await;
    let mapping = json!({
        "provider": "standard_webhooks", "secrets": ["main"],
        "rules": [{"events": ["user.upgraded"], "gives": "qualification", "name": "upgrade",
            "fields": {"lead": "/data/user", "occurred_at": "/timestamp"}}],
    });
    put(&node, "svix", mapping).await;
    let body = r#"{"type":"user.upgraded","timestamp":"2027-01-15T07:59:00Z","data":{"user":"u-1"}}"#;
    let at = (NOW.0 / 1000).to_string();
    // The secret is the Base64 behind whsec_, not its text.
    let key = b"secret of the tests";
    let signature =
        super::STANDARD.encode(super::mac(key, &[b"msg_1.", at.as_bytes(), b".", body.as_bytes()]));
    for prefix in ["webhook", "svix"] {
        let headers = [
            format!("{prefix}-id: msg_1"),
            format!("{prefix}-timestamp: {at}"),
            format!("{prefix}-signature: v1a,xyz v1,AAAA v1,{signature}"),
        ];
        let lines: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = node.send_as("POST", "/v1/webhooks/demo/svix", &lines, body).await;
        assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (200, Some(1)), "{}", answer.text);
    }
    let events = node.events();
    assert_eq!((events.len(), events[0].id == events[1].id), (2, true), "webhook-id makes it one");
}
