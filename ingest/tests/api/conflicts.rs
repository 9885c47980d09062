//! Another event under an id that is taken: refused where the process knows, whatever is another about it, and never
//! where the same is only written otherwise.

use super::{
    node::{Answer, NOW, Node, event_of, good_token, lead, qualification},
    webhooks::{self, deliver},
};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const CHECKOUT: &str = include_str!("webhooks/payloads/stripe_checkout.json");

fn is_conflict(answer: &Answer) -> bool {
    answer.status == 409 && answer.problem().1 == "conflicting_body"
}

/// An event, the same written otherwise, and what is another.
fn cases() -> Vec<(Value, Vec<Value>, Vec<Value>)> {
    let euros = json!({"amount": "12.50", "currency": "EUR"});
    vec![
        (
            qualification(json!({"value": euros})),
            vec![
                qualification(json!({"value": {"currency": "EUR", "amount": "12.5"}})),
                qualification(json!({"value": {"minor": 1250, "currency": "EUR"}, "email": null})),
                qualification(json!({"value": euros, "source": "api", "test": false})),
            ],
            vec![
                qualification(json!({"value": {"amount": "12.51", "currency": "EUR"}})),
                qualification(json!({"value": {"amount": "12.50", "currency": "USD"}})),
                qualification(json!({"value": euros, "name": "trial"})),
                qualification(json!({"value": euros, "lead": "l2"})),
                qualification(json!({"value": euros, "email": "ann@mail.example"})),
                qualification(json!({"value": euros, "occurred_at": NOW.0 - 5_000})),
                qualification(json!({"value": euros, "payments": ["pi_1"]})),
                qualification(json!({})),
                // A lead and a qualification share their ids.
                json!({"type": "lead", "program": "demo", "id": "q-1", "lead": "l1"}),
            ],
        ),
        (
            event_of(
                "lead",
                json!({"email": "Ann@Mail.example", "phone": "+49 30 1234567", "code": "abc", "occurred_at": NOW.0 - 9_000}),
            ),
            vec![
                event_of(
                    "lead",
                    json!({"phone": "+49301234567", "email": " ann@mail.EXAMPLE ", "code": " ABC ", "occurred_at": NOW.0 - 9_000}),
                ),
                event_of(
                    "lead",
                    json!({"email": "ann@mail.example", "phone": "tel:+49 (0)30 1234567", "touches": [{"code": "abc"}], "occurred_at": "2027-01-15T07:59:51Z"}),
                ),
            ],
            vec![
                event_of(
                    "lead",
                    json!({"email": "ann@mail.example", "phone": "+49 30 1234567", "occurred_at": NOW.0 - 9_000}),
                ),
                event_of(
                    "lead",
                    json!({"email": "ann@mail.example", "phone": "+49 30 1234567", "code": "abc"}),
                ),
                event_of(
                    "lead",
                    json!({"email": "ann@mail.example", "code": "abc", "occurred_at": NOW.0 - 9_000}),
                ),
                event_of(
                    "lead",
                    json!({"email": "ann@mail.example", "phone": "+49 30 1234567", "code": "abc", "wclid": good_token(), "occurred_at": NOW.0 - 9_000}),
                ),
            ],
        ),
        (
            event_of("disqualification", json!({"lead": "l1", "reason": "refund", "payments": ["a", "b"]})),
            vec![event_of(
                "disqualification",
                json!({"lead": "l1", "reason": "refund", "payments": ["b", "a"]}),
            )],
            vec![
                event_of(
                    "disqualification",
                    json!({"lead": "l1", "reason": "chargeback", "payments": ["a", "b"]}),
                ),
                event_of("disqualification", json!({"lead": "l1", "reason": "refund", "payments": ["a"]})),
                event_of(
                    "disqualification",
                    json!({"lead": "l1", "reason": "refund", "payments": ["a", "b"],
                    "value": {"minor": 1, "currency": "EUR"}}),
                ),
            ],
        ),
        (
            event_of("reinstatement", json!({"reason": "dispute_won", "payments": ["a"]})),
            vec![event_of("reinstatement", json!({"payments": ["a"], "reason": "dispute_won"}))],
            vec![event_of("reinstatement", json!({"reason": "refund_failed", "payments": ["a"]}))],
        ),
        (
            event_of("identify", json!({"lead": "l1", "email": "ann@mail.example"})),
            vec![event_of("identify", json!({"email": "ANN@mail.example", "lead": "l1"}))],
            vec![event_of("identify", json!({"lead": "l1", "email": "bob@mail.example"}))],
        ),
        (
            event_of("participant", json!({"referrer": "ann", "email": "ann@mail.example"})),
            vec![event_of("participant", json!({"email": "ann@mail.example", "referrer": "ann"}))],
            vec![event_of("participant", json!({"referrer": "ann"}))],
        ),
        (
            event_of("share", json!({"code": "abc"})),
            vec![event_of("share", json!({"code": "Abc"}))],
            vec![event_of("share", json!({"referrer": "ann"}))],
        ),
        (
            event_of("erasure", json!({"email": "ann@mail.example", "requested_by": "desk"})),
            vec![event_of("erasure", json!({"requested_by": " desk ", "email": "ann@mail.example"}))],
            vec![event_of("erasure", json!({"email": "bob@mail.example", "requested_by": "desk"}))],
        ),
    ]
}

#[tokio::test]
async fn what_says_something_else_is_refused_and_what_says_the_same_is_taken() {
    for (first, same, others) in cases() {
        let node = Node::start().await;
        let answer = node.post("/v1/events", first.clone()).await;
        assert_eq!(answer.status, 202, "{first}: {}", answer.text);
        for one in same {
            // A retry comes later.
            node.clock_ms.fetch_add(90_000, Ordering::Relaxed);
            let answer = node.post("/v1/events", one.clone()).await;
            assert_eq!(answer.status, 202, "{one}: {}", answer.text);
            let digests: std::collections::HashSet<u64> =
                node.events().iter().map(|event| event.digest).collect();
            assert_eq!(digests.len(), 1, "{one}");
            assert!(!digests.contains(&0));
        }
        let taken = node.events().len();
        for other in others {
            let answer = node.post("/v1/events", other.clone()).await;
            assert!(is_conflict(&answer), "{other}: {} {}", answer.status, answer.text);
        }
        assert_eq!(node.events().len(), taken, "nothing of them is kept");
    }
}

#[tokio::test]
async fn in_a_batch_it_is_that_entry_alone_and_the_first_of_the_batch_counts() {
    let node = Node::start().await;
    let lead = |id: &str, lead: &str| json!({"type": "lead", "program": "demo", "id": id, "lead": lead});
    let batch = json!([lead("1", "a"), lead("2", "b"), lead("1", "c"), lead("1", "a")]);
    let answer = node.post("/v1/events", batch).await;
    assert_eq!(answer.status, 207, "{}", answer.text);
    let words: Vec<_> =
        answer.json()["results"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(words, ["accepted", "accepted", "rejected", "accepted"]);
    assert_eq!(answer.json()["results"][2]["error"]["code"], "conflicting_body");
    assert_eq!(node.events().len(), 3);
    // Of one program, source and mode.
    for other in [json!({"program": "other"}), json!({"source": "shop"}), json!({"test": true})] {
        let mut event = lead("1", "z");
        event.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        assert_eq!(node.post("/v1/events", event).await.status, 202, "{other}");
    }
}

#[tokio::test]
async fn a_delivery_is_taken_whatever_it_says_and_differs_by_more_than_its_time() {
    let node = webhooks::node().await;
    let send = async |change: &dyn Fn(&mut Value)| {
        let mut body: Value = serde_json::from_str(CHECKOUT).unwrap();
        change(&mut body);
        let answer = deliver(&node, "stripe", &[], &body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        node.events().iter().rev().find(|event| webhooks::gist(event).starts_with("qual")).unwrap().digest
    };
    let first = send(&|_| ()).await;
    node.clock_ms.fetch_add(60_000, Ordering::Relaxed);
    let created = |body: &mut Value| body["created"] = json!(body["created"].as_i64().unwrap() + 30);
    assert_eq!(send(&created).await, first);
    let other = |body: &mut Value| body["data"]["object"]["amount_total"] = json!(4_200);
    assert_ne!(send(&other).await, first);
}

#[tokio::test]
async fn a_dry_run_tells_and_keeps_nothing() {
    let node = Node::start().await;
    let event = lead(json!({}));
    let check = async |events: Value| {
        let answer = node.post("/v1/events/dry-run", events).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["results"].clone()
    };
    let told = check(event.clone()).await;
    assert_eq!(told[0]["status"], "acceptable");
    assert!(node.events().is_empty(), "nothing is written");
    let accepted = node.post("/v1/events", event.clone()).await.json();
    assert_eq!(told[0]["id"], accepted["id"]);
    let digest = format!("{:016x}", node.events()[0].digest);
    assert_eq!(told[0]["digest"], digest);
    let told = check(json!([event, lead(json!({"lead": "l2"})), lead(json!({"id": 7}))])).await;
    assert_eq!(told[0]["digest"], digest);
    let codes = [&told[1]["error"]["code"], &told[2]["error"]["code"]];
    assert_eq!(codes, ["conflicting_body", "wrong_type"]);
    assert_eq!(node.events().len(), 1);
    assert_eq!(node.send("POST", "/v1/events/dry-run", "no json").await.status, 400);
    assert_eq!(node.send_as("POST", "/v1/events/dry-run", &[], "{}").await.status, 401);
    assert_eq!(node.send("GET", "/v1/events/dry-run", "").await.status, 405);
}

#[tokio::test]
async fn an_amount_that_is_null_is_not_all() {
    let node = Node::start().await;
    for event in [
        event_of(
            "disqualification",
            json!({"lead": "l1", "reason": "refund", "payments": ["a"], "value": null}),
        ),
        event_of("reinstatement", json!({"reason": "dispute_won", "payments": ["a"], "value": null})),
    ] {
        let answer = node.post("/v1/events", event).await;
        assert_eq!(answer.problem(), (422, "required".into(), "value".into()));
    }
    // Nor is what was reached, where nothing else says which; by a form and by JSON.
    for name in ["qualification", "qualification_id", "payments"] {
        let event = event_of("disqualification", json!({"lead": "l1", "reason": "refund", name: null}));
        assert_eq!(node.post("/v1/events", event).await.problem(), (422, "required".into(), name.into()));
        let event = json!({"lead": "l1", "reason": "refund", "payments": ["a"], "qualification": null});
        let answer = node.post("/v1/events", event_of("disqualification", event)).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let key = format!("authorization: Bearer {}", node.admin);
    let form = "content-type: application/x-www-form-urlencoded";
    for (body, field) in [
        ("id=r1&lead=l1&qualification=q1&reason=refund&amount=&currency=", "value"),
        ("id=r1&lead=l1&qualification=q1&reason=refund&amount=&currency=EUR", "value.amount"),
        ("id=r1&lead=l1&qualification=&reason=refund", "qualification"),
        ("id=r1&lead=l1&payments=&reason=refund", "payments"),
    ] {
        let path = "/v1/programs/demo/disqualifications";
        let answer = node.send_as("POST", path, &[&key, form], body.to_owned()).await;
        assert_eq!(answer.problem(), (422, "required".into(), field.into()), "{body}");
    }
}
