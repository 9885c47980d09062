//! Stripe, before and after version 2025-03-31 (basil).

use super::{Row, merged, row};
use serde_json::{Value, json};

const VERSIONS: [(&str, &str); 2] = [
    ("2024-10-28.acacia", include_str!("../payloads/objects/stripe_acacia.json")),
    ("2025-03-31.basil", include_str!("../payloads/objects/stripe_basil.json")),
];

/// An event about one of the objects of this version of Stripe's API.
fn stripe(version: usize, event: &str, kind: &str, patch: Value, previous: Value) -> Value {
    let (version, objects) = VERSIONS[version];
    let objects: Value = serde_json::from_str(objects).unwrap();
    let ids = json!({"customer": "cus_1", "payment_intent": "pi_1", "currency": "eur"});
    let ids = if kind == "invoice" && version.ends_with("basil") {
        json!({"customer": "cus_1", "currency": "eur"})
    } else {
        ids
    };
    let object = merged(merged(objects[kind].clone(), ids), patch);
    json!({"id": "evt_1", "object": "event", "api_version": version, "created": 1_799_999_990, "livemode": true,
        "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null}, "type": event,
        "data": {"object": object, "previous_attributes": previous}})
}

/// All of them.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, (version, _)) in VERSIONS.into_iter().enumerate() {
        let mut add = |event: &'static str, kind, status: &'static str, patch, previous, expected| {
            let payload = stripe(index, event, kind, patch, previous);
            rows.push(row("stripe", [version, event, status], payload, expected));
        };
        for (mode, status, payment_status, expected) in [
            ("payment", "complete", "paid", &["lead", "qualification payment 4900 EUR"][..]),
            ("payment", "complete", "unpaid", &["lead"]),
            ("payment", "complete", "no_payment_required", &["lead"]),
            ("payment", "open", "unpaid", &["unmapped"]),
            ("payment", "expired", "unpaid", &["unmapped"]),
            ("subscription", "complete", "paid", &["lead"]),
            ("setup", "complete", "no_payment_required", &["lead"]),
        ] {
            let session = json!({"mode": mode, "status": status, "payment_status": payment_status,
                "amount_total": 4900, "customer_email": null, "customer_details": {"email": "a@shop.example"},
                "client_reference_id": null, "metadata": {}});
            add(
                "checkout.session.completed",
                "checkout.session",
                payment_status,
                session,
                json!(null),
                expected,
            );
        }
        for (payment_status, expected) in
            [("paid", &["qualification payment 4900 EUR"][..]), ("unpaid", &["unmapped"])]
        {
            let session = json!({"mode": "payment", "status": "complete", "payment_status": payment_status,
                "amount_total": 4900, "customer_email": null, "customer_details": null, "metadata": {}});
            let event = "checkout.session.async_payment_succeeded";
            add(event, "checkout.session", payment_status, session, json!(null), expected);
        }
        for (status, paid, expected) in [
            ("paid", json!(999), &["qualification payment 999 EUR"][..]),
            ("paid", json!(0), &["unmapped"]),
            ("paid", json!(null), &["unmapped"]),
            ("paid", json!(-5), &["unmapped"]),
            ("open", json!(999), &["unmapped"]),
            ("draft", json!(999), &["unmapped"]),
            ("void", json!(999), &["unmapped"]),
            ("uncollectible", json!(999), &["unmapped"]),
        ] {
            let invoice = json!({"status": status, "amount_paid": paid, "customer_email": null});
            add("invoice.paid", "invoice", status, invoice, json!(null), expected);
        }
        for (status, expected) in [
            ("active", &["qualification subscription"][..]),
            ("trialing", &["qualification subscription"]),
            ("incomplete", &["unmapped"]),
            ("incomplete_expired", &["unmapped"]),
            ("past_due", &["unmapped"]),
            ("unpaid", &["unmapped"]),
            ("paused", &["unmapped"]),
            ("canceled", &["unmapped"]),
        ] {
            let subscription = json!({"status": status, "metadata": {}});
            let event = "customer.subscription.created";
            add(event, "subscription", status, subscription.clone(), json!(null), expected);
            let event = "customer.subscription.updated";
            let before = json!({"status": "incomplete"});
            add(event, "subscription", status, subscription.clone(), before, expected);
            let before = json!({"status": "past_due"});
            add(event, "subscription", status, subscription.clone(), before, &["unmapped"]);
            add(event, "subscription", status, subscription, json!({"metadata": {}}), &["unmapped"]);
        }
        let nothing = &["without_effect"][..];
        for (status, refunded, before, expected) in [
            ("succeeded", json!(500), json!(0), &["disqualification refund 500 EUR"][..]),
            ("succeeded", json!(2000), json!(500), &["disqualification refund 1500 EUR"]),
            ("succeeded", json!(500), json!(null), &["disqualification refund 500 EUR"]),
            ("succeeded", json!(500), json!(500), nothing),
            ("succeeded", json!(0), json!(0), nothing),
            ("succeeded", json!(null), json!(0), &["unusable amount_missing"]),
            ("succeeded", json!(500), json!(900), &["unusable amount_negative"]),
            ("succeeded", json!("all"), json!(0), &["unusable amount_unreadable"]),
            ("succeeded", json!(500), json!("none"), &["unusable amount_unreadable"]),
            ("succeeded", json!({"amount": 500}), json!(0), &["unusable amount_unreadable"]),
            ("pending", json!(500), json!(0), &["unmapped"]),
            ("failed", json!(500), json!(0), &["unmapped"]),
        ] {
            let charge = json!({"status": status, "amount_refunded": refunded, "receipt_email": null,
                "billing_details": {"email": null}});
            let previous = json!({"amount_refunded": before, "receipt_url": null});
            add("charge.refunded", "charge", status, charge, previous, expected);
        }
        for (status, amount, expected) in [
            ("needs_response", json!(999), &["disqualification chargeback 999 EUR"][..]),
            ("under_review", json!(999), &["disqualification chargeback 999 EUR"]),
            ("lost", json!(999), &["disqualification chargeback 999 EUR"]),
            ("needs_response", json!(null), &["unusable amount_missing"]),
            ("needs_response", json!(0), nothing),
            ("needs_response", json!("999,00"), &["unusable amount_with_separators"]),
            ("won", json!(999), &["unmapped"]),
            ("prevented", json!(999), &["unmapped"]),
            ("charge_refunded", json!(999), &["unmapped"]),
            ("warning_needs_response", json!(999), &["unmapped"]),
            ("warning_under_review", json!(999), &["unmapped"]),
            ("warning_closed", json!(999), &["unmapped"]),
        ] {
            for event in ["charge.dispute.created", "charge.dispute.funds_withdrawn"] {
                let dispute = json!({"status": status, "amount": amount, "charge": "ch_1"});
                add(event, "dispute", status, dispute, json!(null), expected);
            }
        }
    }
    rows
}
