//! Mappings are checked when they are saved, and shown as they were given.

use super::{deliver, node, put};
use serde_json::{Value, json};
use whence_schemas::event::{HistoryCondition, SpendAtLeast, event::Body, history_condition::Is};

#[tokio::test]
async fn everything_that_is_wrong_with_a_mapping_is_said_at_once() {
    let node = node().await;
    let body = json!({
        "provider": "generic",
        "secrets": ["Main", "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="],
        "organization": "00D",
        "signature_encoding": "rot13",
        "event_at": "kind",
        "colour": "red",
        "rules": [
            {"gives": "lead", "name": "x", "when": [{"at": "/a~2", "is": "like", "values": [{}]}],
                "fields": {"wclid": "/a", "amount": "/b"}},
            {"gives": "qualification", "fields": {"email": "a", "phone": {"constant": "+49"}, "shoe": "/size"}},
            {"gives": "wealth"},
            {"gives": "identify", "when": [{"at": "/a", "is": "at_least", "values": ["many"]}],
                "fields": {"email": {"at": "/a", "prefix": "p"}}},
        ],
    });
    let answer = node.send("PUT", "/v1/programs/demo/sources/crm", body.to_string()).await;
    assert_eq!(answer.problem().0, 422);
    let json = answer.json();
    let mut fields: Vec<_> =
        json["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    fields.dedup();
    assert_eq!(
        fields,
        [
            "colour",
            "event_at",
            "organization",
            "rules[0].fields",
            "rules[0].fields.amount",
            "rules[0].fields.currency",
            "rules[0].name",
            "rules[0].when[0].at",
            "rules[0].when[0].is",
            "rules[0].when[0].values[0]",
            "rules[1].fields.email",
            "rules[1].fields.phone",
            "rules[1].fields.shoe",
            "rules[1].name",
            "rules[2].gives",
            "rules[3].fields",
            "rules[3].fields.email",
            "rules[3].when[0].values",
            "secrets[0]",
            "secrets[1]",
            "signature_encoding",
        ]
    );
    assert!(!answer.text.contains("whsec"), "a secret given by mistake is not repeated: {}", answer.text);
    assert_eq!(node.send("GET", "/v1/programs/demo/sources/crm", "").await.status, 404);
}

#[tokio::test]
async fn a_mapping_is_bounded_as_a_whole() {
    let node = node().await;
    let condition = json!({"at": "/a", "is": "equals", "values": vec!["x".repeat(200); 20]});
    let rule = json!({"gives": "lead", "when": vec![condition; 16], "fields": {"email": "/a"}});
    let saved = |rules: usize| {
        let body = json!({"provider": "generic", "secrets": ["main"], "rules": vec![rule.clone(); rules]});
        node.send("PUT", "/v1/programs/demo/sources/big", body.to_string())
    };
    assert_eq!(saved(1).await.status, 201);
    assert_eq!(saved(2).await.problem(), (422, "invalid".into(), "rules".into()));
}

#[tokio::test]
async fn a_source_is_created_replaced_listed_and_disabled() {
    let node = node().await;
    let path = "/v1/programs/demo/sources/crm";
    let body = json!({
        "provider": "generic", "secrets": ["main"], "signature_header": "x-signature", "test": true,
        "rules": [{
            "events": ["won"], "when": [{"at": "/stage", "is": "equals", "values": ["won", "5", "true"]}],
            "gives": "qualification", "name": "won",
            "fields": {"email": ["/a", "/b"], "contact": {"at": "/id", "prefix": "c-"}, "minor": "/cents",
                "currency": {"constant": "EUR"}},
        }],
    });
    let created = node.send("PUT", path, body.to_string()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let shown = created.json();
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    // What is shown can be saved again, and changes nothing.
    let saved = node.send("PUT", path, shown.to_string()).await;
    assert_eq!((saved.status, saved.json()), (200, shown.clone()), "{}", saved.text);
    assert_eq!(node.send("POST", &format!("{path}/disable"), "").await.json()["disabled"], true);
    assert_eq!(node.send("GET", path, "").await.json()["disabled"], true);
    let page = node.send("GET", "/v1/programs/demo/sources?limit=2", "").await.json();
    let ids: Vec<_> = page["items"].as_array().unwrap().iter().map(|source| source["id"].clone()).collect();
    assert_eq!((json!(ids), &page["next"]), (json!(["crm", "hubspot"]), &json!("hubspot")));
}

#[tokio::test]
async fn sources_are_their_programs_and_need_a_key_that_may() {
    let node = node().await;
    let foreign = node.key(json!({"program": "other", "scopes": ["registry:write"]})).await;
    let reader = node.key(json!({"program": "demo", "scopes": ["registry:read"]})).await;
    let body = json!({"provider": "stripe", "secrets": ["own"]}).to_string();
    for (key, method, path, status) in [
        (&foreign, "PUT", "/v1/programs/demo/sources/stripe", 403),
        (&foreign, "GET", "/v1/programs/demo/sources/stripe", 403),
        (&foreign, "GET", "/v1/programs/other/sources/stripe", 404),
        (&foreign, "POST", "/v1/programs/demo/sources/stripe/disable", 403),
        (&foreign, "POST", "/v1/programs/demo/sources/stripe/dry-run", 403),
        (&reader, "PUT", "/v1/programs/demo/sources/stripe", 403),
        (&reader, "GET", "/v1/programs/demo/sources/stripe", 200),
        (&foreign, "PUT", "/v1/programs/other/sources/stripe", 201),
    ] {
        let answer = node.send_as(method, path, &[key], body.clone()).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
    assert_eq!(node.send("PUT", "/v1/programs/none/sources/s", body).await.status, 404);
}

#[tokio::test]
async fn built_in_rules_are_shown_so_that_they_can_be_changed() {
    let node = node().await;
    let shown = node.send("GET", "/v1/programs/demo/sources/stripe", "").await.json();
    let gives: Vec<_> = shown["rules"].as_array().unwrap().iter().map(|rule| rule["gives"].clone()).collect();
    let expected = [
        &["lead"][..],
        &["qualification"; 2],
        &["identify"],
        &["qualification"; 2],
        &["disqualification"; 2],
        &["reinstatement"; 2],
    ]
    .concat();
    assert_eq!(Value::from(gives), json!(expected));
    let mut changed = shown["rules"].clone();
    changed[1]["name"] = json!("first-payment");
    changed[1]["history"] = json!({"is": "first_payment"});
    let saved =
        put(&node, "stripe", json!({"provider": "stripe", "secrets": ["main"], "rules": changed})).await;
    assert_eq!(saved["rules"][1]["name"], "first-payment");
    assert_eq!(saved["rules"][1]["history"], json!({"is": "first_payment"}));
}

#[tokio::test]
async fn a_condition_on_the_history_travels_with_the_event_and_the_dry_run_says_it_in_words() {
    let node = node().await;
    let total = json!({"is": "spend_at_least", "amount_minor": 5000, "currency": "EUR", "within_days": 30});
    let rule = json!({
        "events": ["invoice.paid"], "gives": "qualification", "name": "payment", "history": total,
        "fields": {"customer": "/data/object/customer", "minor": "/data/object/amount_paid",
            "currency": "/data/object/currency"},
    });
    let source = |rule: &Value| json!({"provider": "stripe", "secrets": ["main"], "rules": [rule]});
    let saved = put(&node, "stripe", source(&rule)).await;
    assert_eq!(saved["rules"][0]["history"], total);
    let body = json!({"id": "evt_1", "type": "invoice.paid", "livemode": true, "created": 1_799_999_990,
        "data": {"object": {"customer": "cus_1", "amount_paid": 2000, "currency": "eur"}}});
    let shown = node.send("POST", "/v1/programs/demo/sources/stripe/dry-run", body.to_string()).await.json();
    let given = &shown["events"][0]["gives"][0];
    assert_eq!((&given["event"]["history"], &given["problem"]), (&total, &Value::Null));
    let words = "It counts only if with it the person's \"payment\" payments, less refunds, reach 50.00 EUR within \
                 30 days of the lead.";
    assert_eq!(given["condition"], words);
    assert_eq!(deliver(&node, "stripe", &[], &body.to_string()).await.status, 200);
    let Some(Body::Qualification(sent)) = node.events()[0].body.clone() else { panic!("no qualification") };
    let spend = SpendAtLeast { amount_minor: 5000, currency: "EUR".into(), within_days: 30 };
    assert_eq!(sent.history, Some(HistoryCondition { is: Some(Is::SpendAtLeast(spend)) }));

    for (pointer, value, field) in [
        ("/history/is", json!("last_payment"), "rules[0].history.is"),
        ("/history/amount_minor", json!(0), "rules[0].history.amount_minor"),
        ("/history/currency", json!("EUX"), "rules[0].history.currency"),
        ("/history/within_days", json!(0), "rules[0].history.within_days"),
        ("/history/within_days", Value::Null, "rules[0].history.within_days"),
        ("/history", json!("first_payment"), "rules[0].history"),
        ("/fields", json!({"customer": "/a"}), "rules[0].history"),
        ("/gives", json!("identify"), "rules[0].history"),
    ] {
        let mut wrong = rule.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        let answer = node.send("PUT", "/v1/programs/demo/sources/stripe", source(&wrong).to_string()).await;
        let errors = answer.json()["errors"].to_string();
        assert!(answer.status == 422 && errors.contains(&format!("{field:?}")), "{pointer}: {}", answer.text);
    }
}
