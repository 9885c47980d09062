//! Amounts: what a rule names is what was sent or is refused, never 0 and never all.

use super::{SECRET, deliver, gists, node, payload, put};
use crate::node::{Node, good_token};
use serde_json::{Value, json};

const ORDER: &str = include_str!("payloads/shopify_order.json");
const REFUND: &str = include_str!("payloads/shopify_refund.json");

#[tokio::test]
async fn a_refund_of_nothing_is_understood_and_takes_nothing_back() {
    let node = node().await;
    let paid =
        deliver(&node, "shopify", &["x-shopify-topic: orders/paid"], &payload(ORDER, &good_token())).await;
    assert_eq!(paid.status, 200, "{}", paid.text);
    let before = gists(&node);
    let mut restock: Value = serde_json::from_str(REFUND).unwrap();
    for transactions in [
        json!([]),
        json!([{"kind": "refund", "status": "pending", "amount": "10.00", "currency": "JPY"}]),
        json!([{"kind": "refund", "status": "failure", "amount": "10.00", "currency": "JPY"}]),
    ] {
        restock["transactions"] = transactions;
        let answer =
            deliver(&node, "shopify", &["x-shopify-topic: refunds/create"], &restock.to_string()).await;
        let expected = json!({"accepted": 0, "unmapped": 0, "unusable": 0, "without_effect": 1});
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
    assert_eq!(gists(&node), before, "neither taken back nor a dead letter");
}

/// The dead letters and events after a delivery to a source of one's own with this rule.
async fn after(node: &Node, rule: Value, rest: Value, body: Value) -> Vec<String> {
    let mut source = json!({"provider": "generic", "secrets": ["main"], "rules": [rule]});
    source.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    put(node, "crm", source).await;
    let before = node.events().len();
    let answer = deliver(node, "crm", &[], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    gists(node)[before..].to_vec()
}

#[tokio::test]
async fn what_a_rule_names_and_is_not_there_never_takes_back_all() {
    let node = node().await;
    let rule = |fields: Value| json!({"gives": "disqualification", "name": "refund", "fields": fields});
    let partial =
        json!({"email": "/who", "qualification": "/sale", "amount": "/back", "currency": "/currency"});
    let whole = json!({"email": "/who", "qualification": "/sale"});
    let body = |patch: Value| {
        let mut body = json!({"who": "a@shop.example", "sale": "s1", "currency": "EUR", "back": "5.00"});
        body.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        body
    };
    for (fields, patch, outcome) in [
        (&partial, json!({}), &["disqualification refund 500 EUR of one"][..]),
        (&partial, json!({"back": null}), &["dead letter amount_missing"]),
        (&partial, json!({"back": ""}), &["dead letter amount_missing"]),
        (&partial, json!({"back": []}), &["dead letter amount_unreadable"]),
        (&partial, json!({"back": "all"}), &["dead letter amount_unreadable"]),
        (&partial, json!({"back": true}), &["dead letter amount_unreadable"]),
        (&partial, json!({"back": "-5.00"}), &["dead letter amount_negative"]),
        (&partial, json!({"back": "5,00"}), &["dead letter amount_with_separators"]),
        (&partial, json!({"back": 5.005}), &["dead letter amount_too_precise"]),
        (&partial, json!({"back": 0}), &[]),
        (&partial, json!({"back": 1e-9}), &[]),
        (&partial, json!({"back": "0.00", "currency": null}), &[]),
        (&partial, json!({"currency": null}), &["dead letter currency_missing"]),
        (&partial, json!({"currency": {"code": "EUR"}}), &["dead letter currency_unknown"]),
        (&partial, json!({"sale": null}), &["dead letter no_qualification"]),
        (&whole, json!({}), &["disqualification refund 0  of one"]),
        (&whole, json!({"sale": null}), &["dead letter no_qualification"]),
        (&whole, json!({"sale": {"id": "s1"}}), &["dead letter no_qualification"]),
    ] {
        assert_eq!(
            after(&node, rule(fields.clone()), json!({}), body(patch.clone())).await,
            outcome,
            "{patch}"
        );
    }
    let all = rule(json!({"email": "/who"}));
    let taken = after(&node, all, json!({}), body(json!({}))).await;
    assert_eq!(taken, ["disqualification refund 0  of all"], "a rule that names neither means all");
}

#[tokio::test]
async fn an_amount_without_a_currency_is_in_the_sources_own_or_refused() {
    let node = node().await;
    let rule = |fields: Value| json!({"gives": "qualification", "name": "sale", "fields": fields});
    let named = rule(json!({"email": "/who", "amount": "/total", "currency": "/currency"}));
    let body = json!({"who": "a@shop.example", "total": "1250.5"});
    let none = json!({});
    assert_eq!(after(&node, named.clone(), none, body.clone()).await, ["dead letter currency_missing"]);
    let euro = json!({"default_currency": "EUR"});
    assert_eq!(
        after(&node, named.clone(), euro.clone(), body.clone()).await,
        ["qualification sale 125050 EUR keys 1"]
    );
    let in_dollars = json!({"who": "a@shop.example", "total": "1250.5", "currency": "usd"});
    assert_eq!(after(&node, named, euro.clone(), in_dollars).await, ["qualification sale 125050 USD keys 1"]);
    let unnamed = rule(json!({"email": "/who", "amount": "/total"}));
    assert_eq!(
        after(&node, unnamed.clone(), euro, body).await,
        ["qualification sale 125050 EUR keys 1"],
        "then a rule needs to name none"
    );
    assert_eq!(node.send("GET", "/v1/programs/demo/sources/crm", "").await.json()["default_currency"], "EUR");
    for (source, field) in [
        (json!({"default_currency": "Euro", "rules": [unnamed]}), "default_currency"),
        (json!({"rules": [unnamed]}), "rules[0].fields.currency"),
    ] {
        let mut source = source;
        source["provider"] = json!("generic");
        source["secrets"] = json!(["main"]);
        let answer = node.send("PUT", "/v1/programs/demo/sources/crm", source.to_string()).await;
        assert_eq!(answer.problem(), (422, "invalid".into(), field.into()), "{}", answer.text);
    }
}

#[tokio::test]
async fn an_amount_of_a_postback_under_an_unknown_name_is_told_by_name() {
    let node = node().await;
    let secret = SECRET.replace('=', "%3D");
    let path = format!("/v1/postback/demo?subid=s&status=sale&tid=1&goal_profit=12&token={secret}");
    let answer = node.send_as("GET", &path, &[], "").await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.text.contains("goal_profit") && answer.text.contains("payout, revenue"),
        "{}",
        answer.text
    );
    let letters = node
        .records()
        .iter()
        .filter(|record| String::from_utf8_lossy(record).contains("goal_profit"))
        .count();
    assert_eq!(letters, 1, "and in its dead letter");
}

#[tokio::test]
async fn a_lead_whose_id_is_an_address_is_taken_and_the_address_is_hashed() {
    let node = node().await;
    let body = payload(include_str!("payloads/intercom_user.json"), &good_token());
    for id in ["Somebody.Secret@shop.example", "+4930123456"] {
        let body = body.replace("customer-7", id);
        let answer = deliver(&node, "intercom", &[], &body).await;
        assert_eq!(answer.json(), json!({"accepted": 1, "unmapped": 0, "unusable": 0}), "{id}");
    }
    assert_eq!(
        gists(&node)[0],
        "lead \"\" keys 2 by [\"ann\"]",
        "the contact and the address that it has itself"
    );
    assert_eq!(gists(&node)[1], "lead \"\" keys 3 by [\"ann\"]", "and the phone number");
    for record in node.records() {
        let text = String::from_utf8_lossy(&record).to_lowercase();
        assert!(!text.contains("secret") && !text.contains("4930123456"), "{text}");
    }
}
