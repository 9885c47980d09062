//! Bodies that are proved and make no sense all the same: nothing panics, and amounts are never made up.

use super::{node, put};
use crate::node::{NOW, Node};
use hyper::HeaderMap;
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use serde_json::json;
use std::borrow::Cow;
use whence_ingest::{
    registry::Registry,
    webhooks::{Delivery, Provider, Translation, translate},
};
use whence_schemas::event::WebhookSource;

const PAYLOADS: [(&str, &str); 7] = [
    ("stripe", include_str!("payloads/stripe_checkout.json")),
    ("stripe", include_str!("payloads/stripe_refund.json")),
    ("hubspot", include_str!("payloads/hubspot_batch.json")),
    ("salesforce", include_str!("payloads/salesforce_outbound.xml")),
    ("intercom", include_str!("payloads/intercom_user.json")),
    ("shopify", include_str!("payloads/shopify_order.json")),
    ("shopify", include_str!("payloads/shopify_refund.json")),
];

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })
}

fn source(node: &Node, id: &str) -> WebhookSource {
    node.registry.shared().read().source("demo", id).unwrap().clone()
}

/// What a body becomes, however little sense it makes.
fn becomes(source: &WebhookSource, body: &[u8]) -> Vec<Translation> {
    let mut headers = HeaderMap::new();
    headers.insert("x-shopify-topic", "orders/paid".parse().unwrap());
    let delivery = Delivery {
        method: "POST",
        uri: Cow::Borrowed(""),
        query: std::str::from_utf8(body).ok(),
        headers: &headers,
        body,
        now: NOW,
    };
    let provider = Provider::of(&source.provider).unwrap();
    let _ = provider.verify(&delivery, source, &[b"secret"]);
    let events = provider.events(&delivery, source).unwrap_or_default();
    events.iter().map(|event| translate(source, event, NOW)).collect()
}

#[tokio::test]
async fn no_body_panics() {
    let node = node().await;
    let sources: Vec<(WebhookSource, &str)> =
        PAYLOADS.into_iter().map(|(id, body)| (source(&node, id), body)).collect();
    let postback = source(&node, "postback");
    let strategy = (0..PAYLOADS.len(), any::<Index>(), 0usize..30, ".{0,6}");
    let run = |(which, at, cut, put): (usize, Index, usize, String)| {
        let (source, body) = &sources[which];
        let mut bytes = body.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes.splice(at..(at + cut).min(body.len()), put.bytes());
        becomes(source, &bytes);
        becomes(&postback, format!("subid={put}&status=sale&tid={cut}&payout={put}&currency=EUR").as_bytes());
        Ok(())
    };
    runner().run(&strategy, run).unwrap();
}

#[tokio::test]
async fn an_amount_is_what_was_sent_or_nothing() {
    let node = node().await;
    let rule = json!({"gives": "qualification", "name": "sale", "fields": {"email": "/who",
        "amount": "/amount", "currency": "/currency", "occurred_at": "/at"}});
    put(&node, "crm", json!({"provider": "generic", "secrets": ["main"], "rules": [rule]})).await;
    let crm = source(&node, "crm");
    let currencies = [("EUR", 100), ("jpy", 1), ("KWD", 1000)];
    let strategy = (".{0,8}|[0-9]{1,6}[.][0-9é]{0,5}|[0-9]{1,9}", 0..currencies.len(), ".{0,12}");
    let run = |(amount, which, at): (String, usize, String)| {
        let (currency, units) = currencies[which];
        let body = json!({"who": "a@shop.example", "amount": amount, "currency": currency, "at": at});
        let Translation { events, unusable, .. } = becomes(&crm, body.to_string().as_bytes()).remove(0);
        match (events.first().and_then(|one| one.event.get("value")), unusable.as_slice()) {
            (Some(value), []) => {
                let minor = value["minor"].as_i64().unwrap();
                let sent: f64 = amount.trim().parse().unwrap();
                prop_assert!((minor as f64 - sent * f64::from(units)).abs() < 1e-3, "{amount} {value}");
            }
            (None, [(0, why)]) if why.starts_with("amount_") => {
                let is_plain = !amount.trim().is_empty() && amount.trim().bytes().all(|b| b.is_ascii_digit());
                prop_assert!(!is_plain, "{amount}");
                prop_assert_eq!(*why == "amount_missing", amount.trim().is_empty(), "{}", amount);
            }
            (None, [(0, "occurred_at_unreadable" | "occurred_at_in_future")]) => {
                prop_assert!(!at.trim().is_empty(), "{at:?}");
            }
            other => prop_assert!(false, "{amount:?} {other:?}"),
        }
        Ok(())
    };
    runner().run(&strategy, run).unwrap();
}
