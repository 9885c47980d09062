//! Every built-in rule, with what its provider sends when it fits.

#![expect(clippy::needless_pass_by_value, reason = "payloads are written where they are used")]

use super::node;
use crate::node::{NOW, Node, good_token};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a payload becomes: the rule, and its event without what all events have.
async fn becomes(node: &Node, source: &str, topic: &str, payload: &Value) -> Vec<(u64, Value)> {
    let (query, body) = match source {
        "postback" => (format!("?{}", payload.as_str().unwrap()), String::new()),
        _ => (String::new(), payload.to_string()),
    };
    let path = format!("/v1/programs/demo/sources/{source}/dry-run{query}");
    let key = format!("authorization: Bearer {}", node.admin);
    let topic = format!("x-shopify-topic: {topic}");
    let answer = node.send_as("POST", &path, &[&key, &topic], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    let events = json["events"].as_array().unwrap().iter();
    let gives = events.flat_map(|event| event["gives"].as_array().unwrap());
    gives
        .map(|given| {
            assert_eq!(given["problem"], Value::Null, "{given}");
            let mut event = given["event"].clone();
            let fields = event.as_object_mut().unwrap();
            for common in ["program", "source", "occurred_at", "touches"] {
                fields.remove(common);
            }
            (given["rule"].as_u64().unwrap(), event)
        })
        .collect()
}

fn stripe(name: &str, object: Value) -> Value {
    json!({"id": "evt_1", "type": name, "livemode": true, "created": 1_799_999_990, "data": {"object": object}})
}

fn refund(refunded: i64, before: Option<i64>, currency: &str) -> Value {
    let object = json!({"customer": "cus_1", "payment_intent": "pi_1", "currency": currency,
        "status": "succeeded", "amount_refunded": refunded, "billing_details": {"email": null}});
    let mut event = stripe("charge.refunded", object);
    event["data"]["previous_attributes"] = json!({"amount_refunded": before});
    event
}

fn activated(status: &str, before: &str) -> Value {
    let object = json!({"id": "sub_1", "customer": "cus_1", "status": status});
    let mut event = stripe("customer.subscription.updated", object);
    event["data"]["previous_attributes"] = json!({"status": before});
    event
}

fn dispute(name: &str, status: &str) -> Value {
    stripe(
        name,
        json!({"id": "dp_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1", "amount": 999,
            "currency": "eur", "reason": "fraudulent", "status": status}),
    )
}

/// The same of both events of a dispute: it takes back once.
fn chargeback() -> Value {
    json!({"type": "disqualification", "id": "dp_1:disqualification", "reason": "chargeback",
        "payments": ["ch_1", "pi_1"], "value": {"minor": 999, "currency": "EUR"}})
}

fn hubspot(name: &str, rest: Value) -> Value {
    let mut event =
        json!({"eventId": 1, "subscriptionId": 2, "objectId": 3, "occurredAt": 1_799_999_990_000i64});
    event["subscriptionType"] = json!(name);
    event.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    json!([event])
}

fn intercom(topic: &str, item: Value) -> Value {
    json!({"id": "notif_1", "topic": topic, "created_at": 1_799_999_990, "data": {"item": item}})
}

fn salesforce(kind: &str, object: Value) -> Value {
    json!({"type": kind, "id": "04l", "sObject": object})
}

/// Source, topic, payload, what it becomes.
type Case = (&'static str, &'static str, Value, Vec<Value>);

fn cases() -> Vec<Case> {
    let payment = |id: &str, names: &[&str], minor: i64, currency: &str| {
        json!({"type": "qualification", "id": format!("{id}:qualification"), "customer": "cus_1",
            "name": "payment", "payments": names, "value": {"minor": minor, "currency": currency}})
    };
    let invoice = |minor: i64, currency: &str| payment("in_1", &["in_1", "pi_1"], minor, currency);
    let paid = |currency: &str, amount: i64| {
        stripe(
            "invoice.paid",
            json!({"id": "in_1", "status": "paid", "customer": "cus_1", "customer_email": null,
            "payment_intent": "pi_1", "amount_paid": amount, "currency": currency}),
        )
    };
    let refunded = |minor: i64, currency: &str| {
        json!({"type": "disqualification", "id": "evt_1:disqualification", "customer": "cus_1",
            "reason": "refund", "payments": ["pi_1"], "value": {"minor": minor, "currency": currency}})
    };
    let subid = good_token();
    let contact = format!("subid-{subid}");
    // Each word about a sale is an event of its own.
    let again = |payment: &str| {
        json!({"type": "reinstatement", "id": format!("again-{payment}-{}:reinstatement", NOW.0),
            "payments": [format!("sale-{payment}")], "reason": "sale"})
    };
    vec![
        (
            "stripe",
            "",
            stripe(
                "checkout.session.completed",
                json!({"id": "cs_1", "mode": "payment", "payment_status": "paid",
                "customer": "cus_1", "amount_total": 1000, "currency": "usd", "payment_intent": "pi_1"}),
            ),
            vec![
                json!({"type": "lead", "id": "lead-cus_1:lead", "customer": "cus_1"}),
                payment("cs_1", &["cs_1", "pi_1"], 1000, "USD"),
            ],
        ),
        (
            "stripe",
            "",
            stripe(
                "checkout.session.completed",
                json!({"id": "cs_1", "mode": "subscription",
                "payment_status": "paid", "customer": "cus_1", "amount_total": 1000, "currency": "usd"}),
            ),
            vec![json!({"type": "lead", "id": "lead-cus_1:lead", "customer": "cus_1"})],
        ),
        ("stripe", "", paid("eur", 999), vec![invoice(999, "EUR")]),
        ("stripe", "", paid("isk", 50_000), vec![invoice(500, "ISK")]),
        ("stripe", "", paid("jpy", 500), vec![invoice(500, "JPY")]),
        ("stripe", "", paid("eur", 0), vec![]),
        (
            "stripe",
            "",
            stripe(
                "customer.subscription.created",
                json!({"id": "sub_1", "customer": "cus_1", "status": "active"}),
            ),
            vec![json!({"type": "qualification", "id": "sub_1:qualification", "customer": "cus_1",
                "name": "subscription"})],
        ),
        (
            "stripe",
            "",
            activated("active", "incomplete"),
            vec![json!({"type": "qualification", "id": "sub_1:qualification", "customer": "cus_1",
                "name": "subscription"})],
        ),
        ("stripe", "", refund(500, None, "eur"), vec![refunded(500, "EUR")]),
        ("stripe", "", refund(2000, Some(500), "eur"), vec![refunded(1500, "EUR")]),
        ("stripe", "", refund(500, Some(500), "eur"), vec![]),
        // Newer versions of Stripe's API name the payment of an invoice elsewhere, or not at all.
        (
            "stripe",
            "",
            stripe(
                "invoice.paid",
                json!({"id": "in_1", "status": "paid", "customer": "cus_1", "amount_paid": 999, "currency": "eur",
                    "payments": {"data": [{"payment": {"type": "payment_intent", "payment_intent": "pi_1"}}]}}),
            ),
            vec![invoice(999, "EUR")],
        ),
        (
            "stripe",
            "",
            stripe(
                "invoice.paid",
                json!({"id": "in_1", "status": "paid", "customer": "cus_1", "amount_paid": 999, "currency": "eur"}),
            ),
            vec![payment("in_1", &["in_1"], 999, "EUR")],
        ),
        (
            "stripe",
            "",
            stripe(
                "invoice_payment.paid",
                json!({"id": "inpay_1", "invoice": "in_1", "status": "paid",
                    "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}),
            ),
            vec![json!({"type": "identify", "id": "inpay_1:identify", "payments": ["in_1", "pi_1"]})],
        ),
        (
            "stripe",
            "",
            dispute("charge.dispute.closed", "won"),
            vec![json!({"type": "reinstatement", "id": "dp_1:reinstatement", "reason": "dispute_won",
                "disqualification": "dp_1:disqualification"})],
        ),
        ("stripe", "", dispute("charge.dispute.closed", "lost"), vec![]),
        (
            "stripe",
            "",
            stripe(
                "refund.failed",
                json!({"id": "re_1", "charge": "ch_1", "payment_intent": "pi_1", "amount": 500, "currency": "eur",
                    "status": "failed"}),
            ),
            vec![json!({"type": "reinstatement", "id": "re_1:reinstatement", "reason": "refund_failed",
                "payments": ["ch_1", "pi_1"], "value": {"minor": 500, "currency": "EUR"}})],
        ),
        ("stripe", "", dispute("charge.dispute.created", "needs_response"), vec![chargeback()]),
        ("stripe", "", dispute("charge.dispute.funds_withdrawn", "needs_response"), vec![chargeback()]),
        ("stripe", "", dispute("charge.dispute.created", "warning_needs_response"), vec![]),
        (
            "hubspot",
            "",
            hubspot("contact.creation", json!({"changeFlag": "CREATED"})),
            vec![json!({"type": "lead", "id": "contact-3:lead", "contact": "3", "record": "contact-3"})],
        ),
        (
            "hubspot",
            "",
            hubspot("contact.propertyChange", json!({"propertyName": "wclid", "propertyValue": "forged"})),
            vec![
                json!({"type": "lead", "id": "contact-3+336c343e840a8ca9c756b88b94bea4c7:lead", "contact": "3",
                "record": "contact-3"}),
            ],
        ),
        (
            "hubspot",
            "",
            hubspot(
                "contact.propertyChange",
                json!({"propertyName": "lifecyclestage", "propertyValue": "customer"}),
            ),
            vec![
                json!({"type": "qualification", "id": "customer-3:qualification", "contact": "3", "name": "customer"}),
            ],
        ),
        (
            "hubspot",
            "",
            hubspot(
                "contact.propertyChange",
                json!({"propertyName": "lifecyclestage", "propertyValue": "lead"}),
            ),
            vec![],
        ),
        (
            "hubspot",
            "",
            hubspot(
                "deal.propertyChange",
                json!({"propertyName": "dealstage", "propertyValue": "closedwon"}),
            ),
            vec![json!({"type": "qualification", "id": "deal-stage-3:qualification", "customer": "deal-3",
                "payments": ["deal-3"], "name": "closed_won"})],
        ),
        (
            "hubspot",
            "",
            hubspot(
                "deal.associationChange",
                json!({"associationType": "DEAL_TO_CONTACT", "fromObjectId": 7,
                "toObjectId": 3, "associationRemoved": false}),
            ),
            vec![json!({"type": "identify", "id": "1-2-3-7-3-1799999990000:identify", "contact": "3",
                "customer": "deal-7"})],
        ),
        (
            "hubspot",
            "",
            hubspot(
                "contact.associationChange",
                json!({"associationType": "CONTACT_TO_DEAL", "fromObjectId": 3,
                "toObjectId": 7, "associationRemoved": false}),
            ),
            vec![json!({"type": "identify", "id": "1-2-3-3-7-1799999990000:identify", "contact": "3",
                "customer": "deal-7"})],
        ),
        (
            "hubspot",
            "",
            hubspot(
                "deal.associationChange",
                json!({"associationType": "DEAL_TO_CONTACT", "fromObjectId": 7,
                "toObjectId": 3, "associationRemoved": true}),
            ),
            vec![],
        ),
        (
            "hubspot",
            "",
            hubspot(
                "contact.propertyChange",
                json!({"propertyName": "email", "propertyValue": "A@Shop.example"}),
            ),
            vec![json!({"type": "identify", "id": "1-2-3---1799999990000:identify", "contact": "3",
                "email": "a@shop.example"})],
        ),
        (
            "hubspot",
            "",
            hubspot(
                "object.merge",
                json!({"objectTypeId": "0-1", "primaryObjectId": 3, "mergedObjectIds": [4]}),
            ),
            vec![
                json!({"type": "identify", "id": "1-2-3---1799999990000-3:identify", "contact": "3",
                    "customer": "merged-3"}),
                json!({"type": "identify", "id": "1-2-3---1799999990000-4:identify", "contact": "4",
                    "customer": "merged-3"}),
            ],
        ),
        (
            "hubspot",
            "",
            hubspot("deal.merge", json!({"primaryObjectId": 3, "newObjectId": 5, "mergedObjectIds": [4, 3]})),
            ["3", "5", "4"]
                .map(|id| {
                    json!({"type": "identify", "id": format!("1-2-3---1799999990000-{id}:identify"),
                        "customer": format!("deal-{id}"), "contact": "merged-deal-3"})
                })
                .to_vec(),
        ),
        (
            "hubspot",
            "",
            json!({"portalId": 1, "dealId": 3, "associations": {"associatedVids": [7]}, "properties": {
                "dealstage": {"value": "closedwon", "timestamp": 1_799_999_990_000_i64},
                "amount": {"value": "1500.5"}, "deal_currency_code": {"value": "EUR"}}}),
            vec![
                json!({"type": "qualification", "id": "deal-3:qualification", "contact": "7", "customer": "deal-3",
                "payments": ["deal-3"], "name": "closed_won", "value": {"minor": 150_050, "currency": "EUR"}}),
            ],
        ),
        (
            "salesforce",
            "",
            salesforce(
                "Lead",
                json!({"Id": "00Q", "Status": "Qualified", "IsConverted": true,
                "ConvertedAccountId": "001", "Email": "a@shop.example"}),
            ),
            vec![
                json!({"type": "lead", "id": "lead-00Q:lead", "contact": "00Q", "email": "a@shop.example",
                    "record": "lead-00Q"}),
                json!({"type": "qualification", "id": "qualified-00Q:qualification", "contact": "00Q",
                    "email": "a@shop.example", "name": "qualified"}),
                json!({"type": "identify", "id": "converted-00Q:identify", "contact": "00Q", "customer": "001"}),
            ],
        ),
        (
            "salesforce",
            "",
            salesforce(
                "Opportunity",
                json!({"Id": "006", "AccountId": "001", "StageName": "Closed Won",
                "Amount": 1500.5, "CurrencyIsoCode": "EUR"}),
            ),
            vec![json!({"type": "qualification", "id": "opportunity-006:qualification", "customer": "001",
                "name": "closed_won", "value": {"minor": 150_050, "currency": "EUR"}})],
        ),
        (
            "salesforce",
            "",
            salesforce("Lead", json!({"Id": "00A", "IsDeleted": true, "MasterRecordId": "00B"})),
            vec![
                json!({"type": "identify", "id": "merged-00B:identify", "contact": "00B", "customer": "merged-00B"}),
                json!({"type": "identify", "id": "merged-00A:identify", "contact": "00A", "customer": "merged-00B"}),
            ],
        ),
        (
            "salesforce",
            "",
            salesforce("Account", json!({"Id": "001A", "IsDeleted": true, "MasterRecordId": "001B"})),
            vec![
                json!({"type": "identify", "id": "merged-001B:identify", "customer": "001B",
                    "contact": "merged-001B"}),
                json!({"type": "identify", "id": "merged-001A:identify", "customer": "001A",
                    "contact": "merged-001B"}),
            ],
        ),
        (
            "intercom",
            "",
            intercom("contact.lead.created", json!({"id": "c1", "email": "a@shop.example"})),
            vec![json!({"type": "lead", "id": "contact-c1:lead", "contact": "c1", "email": "a@shop.example",
                "record": "contact-c1"})],
        ),
        (
            "intercom",
            "",
            intercom("contact.lead.updated", json!({"id": "c1", "custom_attributes": {"wclid": "forged"}})),
            vec![
                json!({"type": "lead", "id": "contact-c1+336c343e840a8ca9c756b88b94bea4c7:lead", "contact": "c1",
                "record": "contact-c1"}),
            ],
        ),
        (
            "intercom",
            "",
            intercom(
                "contact.lead.tag.created",
                json!({"tag": {"name": "qualified"}, "contact": {"id": "c1"}}),
            ),
            vec![json!({"type": "qualification", "id": "qualified-c1:qualification", "contact": "c1",
                "name": "qualified"})],
        ),
        (
            "intercom",
            "",
            intercom(
                "contact.user.updated",
                json!({"id": "c1", "custom_attributes": {"whence_stage": "qualified"}}),
            ),
            vec![json!({"type": "qualification", "id": "qualified-c1:qualification", "contact": "c1",
                "name": "qualified"})],
        ),
        (
            "intercom",
            "",
            intercom("contact.merged", json!({"id": "c1", "external_id": "u-1", "email": "a@shop.example"})),
            vec![json!({"type": "identify", "id": "notif_1:identify", "contact": "c1", "lead": "u-1",
                "email": "a@shop.example"})],
        ),
        (
            "shopify",
            "customers/merge",
            json!({"admin_graphql_api_customer_kept_id": "gid://shopify/Customer/1",
                "admin_graphql_api_customer_deleted_id": "gid://shopify/Customer/2", "status": "completed",
                "admin_graphql_api_job_id": null, "errors": []}),
            ["1", "2"]
                .map(|id| {
                    json!({"type": "identify", "id": format!("customers/merge-1-2-completed-{id}:identify"),
                        "customer": id, "contact": "merged-1"})
                })
                .to_vec(),
        ),
        (
            "shopify",
            "orders/paid",
            json!({"id": 7, "email": "a@shop.example", "total_price": "12.50", "currency": "EUR",
                "financial_status": "paid", "note_attributes": [{"name": "whence_code", "value": "abc"}]}),
            vec![
                json!({"type": "lead", "id": "lead-7:lead", "contact": "order-7", "email": "a@shop.example"}),
                json!({"type": "qualification", "id": "order-7:qualification", "contact": "order-7",
                    "email": "a@shop.example", "name": "purchase", "value": {"minor": 1250, "currency": "EUR"}}),
            ],
        ),
        (
            "shopify",
            "refunds/create",
            serde_json::from_str(include_str!("payloads/shopify_refund.json")).unwrap(),
            vec![
                json!({"type": "disqualification", "id": "refunds/create-890088186047892319:disqualification",
                "contact": "order-820982911946154508", "reason": "refund",
                "qualification": "order-820982911946154508:qualification",
                "value": {"minor": 1250, "currency": "EUR"}}),
            ],
        ),
        (
            "shopify",
            "disputes/create",
            json!({"id": 9, "order_id": 7, "type": "chargeback", "amount": "12.50", "currency": "EUR",
                "status": "needs_response", "initiated_at": "2027-01-15T07:59:00Z", "finalized_on": null}),
            vec![
                json!({"type": "disqualification", "id": "dispute-9:disqualification", "contact": "order-7",
                "reason": "chargeback", "qualification": "order-7:qualification",
                "value": {"minor": 1250, "currency": "EUR"}}),
            ],
        ),
        (
            "shopify",
            "disputes/update",
            json!({"id": 9, "order_id": 7, "type": "chargeback", "amount": "12.50", "currency": "EUR",
                "status": "won", "finalized_on": "2027-01-15T07:59:00Z"}),
            vec![json!({"type": "reinstatement", "id": "dispute-9:reinstatement", "reason": "dispute_won",
                "disqualification": "dispute-9:disqualification"})],
        ),
        (
            "postback",
            "",
            json!(format!("subid={subid}&status=Sale&tid=t1&payout=3.2&currency=usd")),
            vec![
                json!({"type": "lead", "id": format!("{subid}:lead"), "contact": contact}),
                json!({"type": "qualification", "id": "sale-t1:qualification", "contact": contact, "name": "sale",
                    "payments": ["sale-t1"], "value": {"minor": 320, "currency": "USD"}}),
                again("t1"),
            ],
        ),
        (
            "postback",
            "",
            json!(format!("subid={subid}&status=sale&tid=t1")),
            vec![
                json!({"type": "lead", "id": format!("{subid}:lead"), "contact": contact}),
                json!({"type": "qualification", "id": "sale-without-payout-t1:qualification", "contact": contact,
                    "payments": ["sale-t1"], "name": "sale"}),
                again("t1"),
            ],
        ),
        (
            "postback",
            "",
            json!(format!("subid={subid}&status=rebill&tid=t2&payout=3&currency=USD")),
            vec![
                json!({"type": "qualification", "id": "sale-t2:qualification", "contact": contact,
                    "payments": ["sale-t2"], "name": "rebill", "value": {"minor": 300, "currency": "USD"}}),
                again("t2"),
            ],
        ),
        (
            "postback",
            "",
            json!(format!("subid={subid}&status=rejected&tid=t1")),
            vec![json!({"type": "disqualification", "id": format!("rejected-t1-{}:disqualification", NOW.0),
                    "contact": contact, "reason": "rejected", "payments": ["sale-t1"]})],
        ),
        (
            "postback",
            "",
            json!(format!("subid={subid}&status=refund&tid=t1")),
            vec![json!({"type": "disqualification", "id": format!("refund-t1-{}:disqualification", NOW.0),
                    "contact": contact, "reason": "refund", "payments": ["sale-t1"]})],
        ),
        (
            "postback",
            "",
            json!(format!("subid={subid}&status=refund&tid=t1&payout=0")),
            vec![json!({"type": "disqualification", "id": format!("refund-t1-{}:disqualification", NOW.0),
                    "contact": contact, "reason": "refund", "payments": ["sale-t1"]})],
        ),
        (
            "postback",
            "",
            json!(format!("subid={subid}&status=refund&tid=t1&payout=1&currency=USD")),
            vec![json!({"type": "disqualification", "id": "refund-t1-1:disqualification",
                    "contact": contact, "reason": "refund", "payments": ["sale-t1"],
                    "value": {"minor": 100, "currency": "USD"}})],
        ),
    ]
}

#[tokio::test]
async fn every_built_in_rule_gives_what_it_says() {
    let node = node().await;
    let mut given: BTreeSet<(&str, u64)> = BTreeSet::new();
    for (source, topic, payload, expected) in cases() {
        let found = becomes(&node, source, topic, &payload).await;
        given.extend(found.iter().map(|(rule, _)| (source, *rule)));
        let found: Vec<Value> = found.into_iter().map(|(_, event)| event).collect();
        assert_eq!(found, expected, "{source} {payload}");
    }
    for source in ["stripe", "hubspot", "salesforce", "intercom", "shopify", "postback"] {
        let path = format!("/v1/programs/demo/sources/{source}");
        let rules = node.send("GET", &path, "").await.json()["rules"].as_array().unwrap().len();
        let never: Vec<_> = (0..rules as u64).filter(|rule| !given.contains(&(source, *rule))).collect();
        assert!(never.is_empty(), "rules of {source} that nothing here fits: {never:?}");
    }
}
