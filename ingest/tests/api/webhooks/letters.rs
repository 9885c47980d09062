//! What is kept of deliveries that became no event: a reason, ids and fixed words.

use super::{deliver, gists, node, payload, put};
use crate::node::{NOW, Node, good_token};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use whence_ingest::api::problem::Code;
use whence_runtime::telemetry::{BuildInfo, Metrics};
use whence_schemas::{event::event::Body, reject::RejectReason};

/// The dead letters, as their reason and what they keep.
fn letters(node: &Node) -> Vec<(String, Value)> {
    let bodies = node.events().into_iter().filter_map(|event| event.body);
    bodies
        .filter_map(|body| match body {
            Body::DeadLetter(letter) => Some((letter.reason, serde_json::from_str(&letter.detail).unwrap())),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn what_proves_nothing_leaves_its_size_and_nothing_else() {
    let node = node().await;
    let body = r#"{"id":"evt_secret","type":"secret"}"#;
    let answer = node.send_as("POST", "/v1/webhooks/demo/stripe", &[], body).await;
    assert_eq!(answer.problem(), (401, "unproved".into(), String::new()));
    let expected = json!({
        "source": "stripe", "provider": "stripe", "reason": "unsigned", "body_bytes": body.len(),
    });
    assert_eq!(letters(&node), [("unsigned".to_owned(), expected)]);
}

#[tokio::test]
async fn what_is_not_mapped_leaves_the_providers_ids() {
    let node = node().await;
    let body = json!({
        "id": "evt_1", "object": "event", "type": "customer.updated", "livemode": true, "created": 1_799_999_990,
        "data": {"object": {"id": "cus_1", "object": "customer", "email": "ann.secret@shop.example",
            "name": "Ann Secret", "metadata": {"wclid": "secret"}}},
    });
    let answer = deliver(&node, "stripe", &[], &body.to_string()).await;
    assert_eq!((answer.status, answer.json()["unmapped"].as_u64()), (200, Some(1)));
    let kept = json!({
        "/id": "evt_1", "/type": "customer.updated", "/livemode": true, "/created": 1_799_999_990,
        "/data/object/id": "cus_1", "/data/object/object": "customer",
    });
    let found = letters(&node);
    assert_eq!((found.len(), found[0].0.as_str()), (1, "unmapped"));
    assert_eq!((&found[0].1["kept"], &found[0].1["event"]), (&kept, &json!("customer.updated")));
    // Retried, it is the same letter.
    assert_eq!(deliver(&node, "stripe", &[], &body.to_string()).await.status, 200);
    let events = node.events();
    assert_eq!(events[0].id, events[1].id);
}

#[tokio::test]
async fn a_letter_keeps_what_is_on_its_providers_list_and_nothing_else() {
    let node = node().await;
    let rule = json!({"events": ["never"], "gives": "lead", "fields": {"email": "/who"}});
    for (id, provider) in [("svix", "standard_webhooks"), ("crm", "generic")] {
        put(&node, id, json!({"provider": provider, "secrets": ["main"], "rules": [rule]})).await;
    }
    // Each says the same of a person in its own way, under an event that no rule is about.
    for (source, headers, body, kept) in [
        (
            "hubspot",
            &[][..],
            json!([{"eventId": 104, "subscriptionId": 2002, "portalId": 62515, "occurredAt": 1_799_999_990_000_i64,
                "subscriptionType": "contact.propertyChange", "attemptNumber": 0, "objectId": 123,
                "propertyName": "firstname", "propertyValue": "Ann Secret", "changeSource": "FORM"}]),
            json!({"/eventId": 104, "/subscriptionId": 2002, "/portalId": 62515,
                "/occurredAt": 1_799_999_990_000_i64, "/subscriptionType": "contact.propertyChange",
                "/attemptNumber": 0, "/objectId": 123, "/propertyName": "firstname"}),
        ),
        (
            "salesforce",
            &[],
            json!({"type": "Case", "id": "f-1", "sObject": {"Id": "500", "Status": "New",
                "SuppliedEmail": "ann.secret@shop.example", "Subject": "a secret"}}),
            json!({"/sObject/Id": "500", "/sObject/Status": "New"}),
        ),
        (
            "intercom",
            &[],
            json!({"type": "notification_event", "topic": "contact.archived", "id": "notif_1", "app_id": "a86",
                "created_at": 1_799_999_990, "delivery_attempts": 1, "data": {"item": {"type": "contact",
                    "id": "5ba6", "email": "ann.secret@shop.example", "name": "Ann Secret"}}}),
            json!({"/topic": "contact.archived", "/id": "notif_1", "/app_id": "a86", "/created_at": 1_799_999_990,
                "/delivery_attempts": 1, "/data/item/type": "contact", "/data/item/id": "5ba6"}),
        ),
        (
            "shopify",
            &["x-shopify-topic: orders/edited"],
            json!({"id": 820, "created_at": "2027-01-15T07:59:00-00:00", "currency": "JPY", "test": false,
                "email": "ann.secret@shop.example", "note": "a secret", "customer": {"first_name": "Ann"}}),
            json!({"/id": 820, "/created_at": "2027-01-15T07:59:00-00:00", "/currency": "JPY", "/test": false}),
        ),
        (
            "svix",
            &[],
            json!({"type": "person.moved", "timestamp": "2027-01-15T07:59:00Z",
                "data": {"id": "p-1", "to": "secret street", "email": "ann.secret@shop.example"}}),
            json!({"/type": "person.moved", "/timestamp": "2027-01-15T07:59:00Z", "/data/id": "p-1"}),
        ),
        (
            "crm",
            &[],
            json!({"event": "ann.secret@shop.example", "id": "secret", "who": "Ann Secret"}),
            json!({}),
        ),
    ] {
        let answer = deliver(&node, source, headers, &body.to_string()).await;
        assert_eq!((answer.status, answer.json()["unmapped"].as_u64()), (200, Some(1)), "{source}");
        let (_, letter) = letters(&node).pop().unwrap();
        assert_eq!(letter["kept"], kept, "{source}");
        let text = letter.to_string();
        assert!(!text.contains("ecret") && !text.contains("shop.example"), "{text}");
    }
}

#[tokio::test]
async fn what_is_mapped_and_cannot_be_used_says_why() {
    let node = node().await;
    let rule = |fields: Value| json!({"gives": "qualification", "name": "sale", "fields": fields});
    let value = json!({"email": "/who", "amount": "/total", "currency": "/currency"});
    put(&node, "crm", json!({"provider": "generic", "secrets": ["main"], "rules": [rule(value)]})).await;
    for (body, why) in [
        (json!({"total": 1, "currency": "EUR"}), "no_subject"),
        (json!({"who": "not an address", "total": 1, "currency": "EUR"}), "no_subject"),
        (json!({"who": "a@shop.example", "total": "1,50", "currency": "EUR"}), "amount_with_separators"),
        (json!({"who": "a@shop.example", "total": 1.005, "currency": "EUR"}), "amount_too_precise"),
        (json!({"who": "a@shop.example", "total": -1, "currency": "EUR"}), "amount_negative"),
        (json!({"who": "a@shop.example", "total": 1e20, "currency": "EUR"}), "amount_too_large"),
        (json!({"who": "a@shop.example", "total": "a lot", "currency": "EUR"}), "amount_unreadable"),
        (json!({"who": "a@shop.example", "total": {"amount": 1}, "currency": "EUR"}), "amount_unreadable"),
        (json!({"who": "a@shop.example", "total": " ", "currency": "EUR"}), "amount_missing"),
        (json!({"who": "a@shop.example", "total": null, "currency": "EUR"}), "amount_missing"),
        (json!({"who": "a@shop.example", "currency": "EUR"}), "amount_missing"),
        (json!({"who": "a@shop.example", "total": 1}), "currency_missing"),
        (json!({"who": "a@shop.example", "total": 0}), "currency_missing"),
        (json!({"who": "a@shop.example", "total": 1, "currency": "Taler"}), "currency_unknown"),
    ] {
        let answer = deliver(&node, "crm", &[], &body.to_string()).await;
        assert_eq!((answer.status, answer.json()["unusable"].as_u64()), (200, Some(1)), "{body}");
        assert_eq!(letters(&node).last().unwrap().0, why, "{body}");
    }
    assert_eq!(letters(&node).len(), gists(&node).len());
}

#[tokio::test]
async fn raw_bodies_and_aliases_reach_no_file() {
    let node = node().await;
    let token = good_token();
    for (provider, headers, body) in [
        ("stripe", &[][..], include_str!("payloads/stripe_checkout.json")),
        ("hubspot", &[], include_str!("payloads/hubspot_batch.json")),
        ("salesforce", &[], include_str!("payloads/salesforce_outbound.xml")),
        ("intercom", &[], include_str!("payloads/intercom_user.json")),
        ("shopify", &["x-shopify-topic: orders/paid"], include_str!("payloads/shopify_order.json")),
        ("shopify", &["x-shopify-topic: orders/edited"], include_str!("payloads/shopify_order.json")),
    ] {
        let body = payload(body, &token);
        assert_eq!(deliver(&node, provider, headers, &body).await.status, 200, "{provider}");
        // And once more without a proof.
        node.send_as("POST", &format!("/v1/webhooks/demo/{provider}"), headers, body).await;
    }
    for record in node.records() {
        let text = String::from_utf8_lossy(&record).to_lowercase();
        for raw in ["secret", "shop.example", "gift", "123 456"] {
            assert!(!text.contains(raw), "{raw} in {text}");
        }
    }
}

#[tokio::test]
async fn who_floods_a_node_with_nonsense_fills_no_disk_and_everything_is_counted() {
    let build = BuildInfo { version: "1", revision: "r", role: "test" };
    let (metrics, recorder) = Metrics::detached(build).unwrap();
    let recording = metrics::set_default_local_recorder(&recorder);
    let node = node().await;
    for _ in 0..30 {
        let answer = node.send_as("POST", "/v1/webhooks/demo/stripe", &[], "{}").await;
        assert_eq!(answer.status, 401);
    }
    assert_eq!(letters(&node).len(), 10);
    node.clock_ms.store(NOW.0 + 1000, Ordering::Relaxed);
    deliver(&node, "stripe", &[], "no json").await;
    deliver(&node, "hubspot", &[], "[]").await;
    assert_eq!(letters(&node).last().unwrap().0, "unreadable");
    node.stop().await;
    drop(recording);
    let text = metrics.render();
    for line in [
        r#"whence_webhook_deliveries_total{provider="stripe",outcome="unsigned"} 30"#,
        r#"whence_webhook_deliveries_total{provider="stripe",outcome="unreadable"} 1"#,
        r#"whence_webhook_deliveries_total{provider="hubspot",outcome="accepted"} 1"#,
        r#"whence_webhook_dead_letters_dropped_total{why="too_many"} 20"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn what_was_proved_and_cannot_be_used_leaves_a_letter_however_much_junk_there_is() {
    let node = node().await;
    let rule = json!({"gives": "lead", "fields": {"email": "/who"}});
    put(&node, "crm", json!({"provider": "generic", "secrets": ["main"], "rules": [rule]})).await;
    for _ in 0..12 {
        node.send_as("POST", "/v1/webhooks/demo/crm", &[], "{}").await;
    }
    for index in 0..12 {
        let body = json!({"who": "nobody", "index": index}).to_string();
        assert_eq!(deliver(&node, "crm", &[], &body).await.status, 200);
    }
    let kept = letters(&node);
    let proved = kept.iter().filter(|(reason, _)| reason == "no_subject").count();
    assert_eq!((kept.len() - proved, proved), (10, 12));
}

#[tokio::test]
async fn what_was_proved_is_asked_for_again_while_its_letter_cannot_be_kept() {
    let node = node().await;
    let sale = "subid=x&status=sale&tid=1&payout=1,5&currency=EUR";
    let postback = format!("/v1/postback/demo?{sale}&token={}", super::SECRET.replace('=', "%3D"));
    let body = r#"{"id":"evt_1","type":"customer.updated"}"#;
    for (is_postback, usually) in [(false, 200), (true, 422)] {
        let call = async || match is_postback {
            true => node.send_as("GET", &postback, &[], "").await.status,
            false => deliver(&node, "stripe", &[], body).await.status,
        };
        node.disk.syncs_to_fail.store(1, Ordering::Relaxed);
        assert_eq!(call().await, 503);
        let kept = async {
            // The journal is reopened after a failed sync.
            while call().await != usually {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(120), kept).await.unwrap();
    }
    let reasons: Vec<String> = letters(&node).into_iter().map(|(reason, _)| reason).collect();
    assert!(
        reasons.contains(&"unmapped".to_owned()) && reasons.contains(&"amount_with_separators".to_owned())
    );
}

#[tokio::test]
async fn a_letter_of_a_source_on_trial_is_another_one() {
    let node = node().await;
    for is_test in [true, false] {
        put(&node, "stripe", json!({"provider": "stripe", "secrets": ["main"], "test": is_test})).await;
        let body = r#"{"id":"evt_1","type":"customer.updated"}"#;
        assert_eq!(deliver(&node, "stripe", &[], body).await.status, 200);
    }
    let events = node.events();
    assert_eq!(events.len(), 2);
    assert_ne!(events[0].id, events[1].id);
}

/// What the API says of an event that a provider sent is what stands in `rejects`.
#[test]
fn every_code_that_an_event_can_be_refused_with_is_a_reason() {
    // Of requests and records, never of one event.
    const OTHERS: [&str; 16] = [
        "json_malformed",
        "body_broken",
        "body_slow",
        "unauthorized",
        "unproved",
        "not_found",
        "method_not_allowed",
        "conflict",
        "precondition_failed",
        "unsupported_encoding",
        "unsupported_media_type",
        "invalid_parameter",
        "registry_full",
        "host_unproved",
        "too_many_requests",
        // A delivery is taken all the same.
        "conflicting_body",
    ];
    for code in Code::ALL.iter().filter(|code| !code.is_retriable()) {
        let is_known = RejectReason::of_dead_letter(code.tag()) != RejectReason::DeadLetter;
        assert_eq!(is_known, !OTHERS.contains(&code.tag()), "{}", code.tag());
    }
}
