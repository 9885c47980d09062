//! The kinds of events beside leads and qualifications: what they need, and what becomes of them.

use super::node::{NOW, Node, event_of, lead, of_its_own, qualification};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use whence_ingest::{
    edge::AddressHasher,
    registry::{Change, EntryKey, Registry},
};
use whence_schemas::{
    event::{
        Disqualification, Erasure, Event, Identify, Participant, Program, RewardDecision, Share, Subject,
        event::Body,
    },
    ids::{EventId, ProgramId},
    subject::{AliasKind, IdentityHasher},
    time::UnixMs,
};

const REWARD: &str = "3f2b8c1e-0a51-5c7e-9a7f-2f8f0f6f1d11";

fn decision(changes: Value) -> Value {
    let fields = json!({"reward": REWARD, "decision": "approve", "decided_by": "kim", "reason": "checked"});
    super::node::changed(event_of("reward_decision", fields), changes)
}

fn disqualification(changes: Value) -> Value {
    super::node::changed(event_of("disqualification", json!({"lead": "l1", "reason": "refund"})), changes)
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let node = Node::start().await;
    let of = event_of;
    let id = EventId::of(&"demo".parse().unwrap(), "api", "q").0.to_string();
    let part = json!({"minor": 1, "currency": "EUR"});
    let cases = [
        (disqualification(json!({"reason": null})), "required", "reason"),
        (disqualification(json!({"reason": "Money back!"})), "invalid", "reason"),
        (disqualification(json!({"lead": null})), "required", "lead"),
        (disqualification(json!({"qualification": ""})), "invalid", "qualification"),
        (disqualification(json!({"qualification_id": "x"})), "invalid", "qualification_id"),
        (
            disqualification(json!({"qualification_id": REWARD.replace("5c7e", "4c7e")})),
            "invalid",
            "qualification_id",
        ),
        (
            disqualification(json!({"qualification": "q", "qualification_id": id})),
            "invalid",
            "qualification_id",
        ),
        (disqualification(json!({"value": part})), "required", "qualification"),
        (
            disqualification(json!({"value": {"minor": 0, "currency": "EUR"}, "qualification": "q"})),
            "invalid",
            "value",
        ),
        (
            disqualification(json!({"value": {"minor": 1}, "qualification": "q"})),
            "required",
            "value.currency",
        ),
        (disqualification(json!({"name": "purchase"})), "unknown_field", "name"),
        (of("participant", json!({})), "required", "referrer"),
        (of("participant", json!({"referrer": "a@b"})), "invalid", "referrer"),
        (of("participant", json!({"referrer": "nobody"})), "unknown_referrer", "referrer"),
        (of("participant", json!({"referrer": "bob"})), "unknown_referrer", "referrer"),
        (of("participant", json!({"referrer": "ann", "email": "x"})), "invalid", "email"),
        (of("share", json!({})), "required", "referrer"),
        (of("share", json!({"code": "nope"})), "unknown_code", "code"),
        (of("share", json!({"code": "xyz"})), "unknown_code", "code"),
        (of("share", json!({"referrer": "nobody"})), "unknown_referrer", "referrer"),
        (of("share", json!({"code": "abc", "referrer": "zoe"})), "invalid", "referrer"),
        (of("share", json!({"code": "abc", "channel": "sms"})), "invalid", "channel"),
        (of("share", json!({"code": "abc", "email": "eve@mail.example"})), "unknown_field", "email"),
        (of("identify", json!({"lead": "l1"})), "required", "lead"),
        (of("identify", json!({"lead": "l1", "email": "x"})), "invalid", "email"),
        (decision(json!({"reward": null})), "required", "reward"),
        (decision(json!({"reward": "r1"})), "invalid", "reward"),
        (decision(json!({"decision": null})), "required", "decision"),
        (decision(json!({"decision": "pay"})), "invalid", "decision"),
        (decision(json!({"decided_by": null})), "required", "decided_by"),
        (decision(json!({"decided_by": " "})), "invalid", "decided_by"),
        (decision(json!({"decided_by": "kim@firm.example"})), "invalid", "decided_by"),
        (decision(json!({"reason": null})), "required", "reason"),
        (decision(json!({"reason": "x".repeat(501)})), "invalid", "reason"),
        (decision(json!({"reference": "SEPA-1"})), "invalid", "reference"),
        (decision(json!({"decision": "issue"})), "required", "reference"),
        (decision(json!({"lead": "l1"})), "unknown_field", "lead"),
        (of("erasure", json!({"email": "eve@mail.example"})), "required", "requested_by"),
        (of("erasure", json!({"requested_by": "ticket-1"})), "required", "lead"),
        (of("share", json!({"referrer": "ann", "client_ip": "203.0.113.256"})), "invalid", "client_ip"),
        (lead(json!({"client_ip": "localhost"})), "invalid", "client_ip"),
        (
            of("identify", json!({"lead": "l1", "email": "eve@mail.example", "client_ip": "203.0.113.9"})),
            "unknown_field",
            "client_ip",
        ),
        (of("timer", json!({})), "invalid", "type"),
    ];
    for (event, code, field) in cases {
        let found = node.post("/v1/events", event.clone()).await.problem();
        assert_eq!(found, (422, code.into(), field.into()), "{event}");
    }
    assert_eq!(node.events(), []);
}

#[tokio::test]
async fn of_a_disposable_mailbox_only_that_it_is_one_goes_on() {
    let own = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(own.path(), "throw.example\n!mailinator.com\n").unwrap();
    let node = Node::start_with(|settings| settings.disposable_domains_file = Some(own.path().into())).await;
    let emails = ["a@x.throw.example", "a@mailinator.com", "a@guerrillamail.com", "a@mail.example"];
    for email in emails {
        let event = json!({"type": "lead", "program": "demo", "id": email, "email": email});
        assert_eq!(node.post("/v1/events", event).await.status, 202, "{email}");
    }
    let is_disposable = |event: Event| match event.body {
        Some(Body::Lead(lead)) => lead.subject.unwrap().email_disposable,
        other => panic!("{other:?}"),
    };
    let told: Vec<_> = node.events().into_iter().map(is_disposable).collect();
    assert_eq!(told, [true, false, true, false]);
}

#[tokio::test]
async fn of_an_address_only_the_prefix_goes_on_hashed_as_clicks_of_that_day() {
    let node = Node::start().await;
    let yesterday = NOW.plus_ms(-86_400_000);
    let sent = [
        event_of("participant", json!({"referrer": "ann", "client_ip": "203.0.113.9"})),
        event_of("share", json!({"code": "abc", "client_ip": "203.0.113.77"})),
        lead(json!({"client_ip": "203.0.113.9"})),
        super::node::changed(
            event_of("share", json!({"code": "abc", "client_ip": "203.0.113.77"})),
            json!({"id": "yesterday", "occurred_at": yesterday.0}),
        ),
        super::node::changed(event_of("share", json!({"code": "abc"})), json!({"id": "nowhere"})),
    ];
    for event in sent {
        assert_eq!(node.post("/v1/events", event.clone()).await.status, 202, "{event}");
    }
    let prefix = |event: Event| match event.body {
        Some(Body::Participant(joined)) => joined.prefix,
        Some(Body::Share(share)) => share.prefix,
        Some(Body::Lead(lead)) => lead.subject.unwrap().prefix,
        other => panic!("{other:?}"),
    };
    let of_click = |at: UnixMs| {
        AddressHasher::new(&[4; 32]).keys_at(at).address("203.0.113.200".parse().unwrap()).prefix
    };
    let (now, then) = (of_click(NOW), of_click(yesterday));
    assert_ne!(now, then);
    assert_eq!(node.events().into_iter().map(prefix).collect::<Vec<_>>(), [now, now, now, then, 0]);
}

#[tokio::test]
async fn each_kind_is_recorded_as_it_resolved() {
    let node = Node::start().await;
    let program: ProgramId = "demo".parse().unwrap();
    let hasher = IdentityHasher::new(&[3; 32]);
    let key = |kind, alias: &str| hasher.key(&program, kind, alias).0.to_vec().into();
    let eve = || {
        Some(Subject {
            lead: String::new(),
            keys: vec![key(AliasKind::Email, "eve@mail.example")],
            ..Subject::default()
        })
    };
    let lead =
        || Some(Subject { lead: "l1".into(), keys: vec![key(AliasKind::Lead, "l1")], ..Subject::default() });
    let reward = || uuid::Uuid::parse_str(REWARD).unwrap().as_bytes().to_vec().into();
    let q = EventId::of(&program, "shop", "q-1").0;
    let eve_is = json!({"email": "Eve@mail.example", "requested_by": "ticket-4711"});
    let part = json!({"amount": "1.50", "currency": "EUR"});
    let take_back = |reason: &str, id: Vec<u8>, value_minor, currency: &str| {
        Body::Disqualification(Disqualification {
            subject: lead(),
            qualification_id: id.into(),
            reason: reason.into(),
            value_minor,
            currency: currency.into(),
            ..Disqualification::default()
        })
    };
    let shared = |link: &str, channel: &str| {
        Body::Share(Share { referrer: "ann".into(), link: link.into(), channel: channel.into(), prefix: 0 })
    };
    let decided = |decision: &str, reason: &str, reference: &str| {
        Body::RewardDecision(RewardDecision {
            reward_id: reward(),
            decision: decision.into(),
            decided_by: "kim".into(),
            reason: reason.into(),
            reference: reference.into(),
            paid_minor: if reference.is_empty() { 0 } else { 1250 },
        })
    };
    let cases = [
        (disqualification(json!({})), take_back("refund", vec![], 0, "")),
        (
            disqualification(json!({"source": "shop", "qualification": "q-1", "value": part})),
            take_back("refund", q.as_bytes().to_vec(), 150, "EUR"),
        ),
        (
            disqualification(json!({"reason": "unqualify", "qualification_id": q.to_string()})),
            take_back("unqualify", q.as_bytes().to_vec(), 0, ""),
        ),
        (
            event_of("participant", json!({"referrer": "ann", "email": "eve@mail.example"})),
            Body::Participant(Participant { referrer: "ann".into(), keys: eve().unwrap().keys, prefix: 0 }),
        ),
        (
            event_of("participant", json!({"referrer": "ann"})),
            Body::Participant(Participant { referrer: "ann".into(), keys: vec![], prefix: 0 }),
        ),
        (event_of("share", json!({"code": "abc"})), shared("go.example/abc", "email")),
        (
            event_of("share", json!({"code": "abc", "channel": "whatsapp"})),
            shared("go.example/abc", "whatsapp"),
        ),
        (event_of("share", json!({"referrer": "ann"})), shared("", "")),
        (
            event_of("identify", json!({"lead": "l1", "email": "eve@mail.example"})),
            Body::Identify(Identify {
                subject: Some(Subject {
                    lead: "l1".into(),
                    keys: [lead().unwrap().keys, eve().unwrap().keys].concat(),
                    ..Subject::default()
                }),
                ..Identify::default()
            }),
        ),
        (decision(json!({})), decided("approve", "checked", "")),
        (
            decision(json!({"decision": "issue", "reason": null, "reference": "SEPA-1", "paid_minor": 1250})),
            decided("issue", "", "SEPA-1"),
        ),
        (
            event_of("erasure", eve_is),
            Body::Erasure(Erasure { subject: eve(), requested_by: "ticket-4711".into() }),
        ),
    ];
    for (event, _) in &cases {
        let answer = node.post("/v1/events", of_its_own(event.clone())).await;
        assert_eq!(answer.status, 202, "{event}: {}", answer.text);
    }
    let events = node.events();
    assert_eq!(events.len(), cases.len());
    for (found, (event, body)) in events.into_iter().zip(cases) {
        assert_eq!(found.received_at_ms, NOW.0);
        assert_eq!(found.body, Some(body), "{event}");
    }
}

#[tokio::test]
async fn one_key_may_name_events_of_different_kinds() {
    let node = Node::start().await;
    let events = [
        lead(json!({"id": "k"})),
        disqualification(json!({"id": "k"})),
        disqualification(json!({"id": "k", "reason": "chargeback"})),
        event_of("identify", json!({"id": "k", "lead": "l1", "contact": "c"})),
    ];
    let answer = node.post("/v1/events", events.to_vec().into()).await.json();
    let ids: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|result| &result["id"]).collect();
    assert_eq!(ids[1], ids[2], "the same event sent again");
    assert!(ids[0] != ids[1] && ids[1] != ids[3] && ids[0] != ids[3]);
}

#[tokio::test]
async fn what_decides_about_money_and_persons_needs_a_scope_of_its_own() {
    let node = Node::start().await;
    let key = async |scope: &str| node.key(json!({"program": "demo", "scopes": [scope]})).await;
    let (sender, finance) = (key("events:write").await, key("rewards:decide").await);
    let privacy = key("persons:erase").await;
    let erasure = event_of("erasure", json!({"lead": "l1", "requested_by": "ticket"}));
    let decision = decision(json!({}));
    let events = [(&sender, lead(json!({}))), (&finance, decision), (&privacy, erasure)];
    for (key, _) in &events {
        for (owner, event) in &events {
            let answer = node.send_as("POST", "/v1/events", &[key], event.to_string()).await;
            let path = match event["type"].as_str().unwrap() {
                "lead" => "leads",
                "erasure" => "erasures",
                _ => "reward_decisions",
            };
            let short = format!("/v1/programs/demo/{path}");
            let by_path = node.send_as("POST", &short, &[key], event.to_string()).await;
            if owner == key {
                assert_eq!((answer.status, by_path.status), (202, 202), "{event}: {}", answer.text);
            } else {
                assert_eq!(answer.problem(), (403, "forbidden".into(), "type".into()), "{event}");
                assert_eq!(by_path.problem(), (403, "forbidden".into(), String::new()), "{event}");
            }
        }
    }
    assert_eq!(node.events().len(), 6);
}

#[tokio::test]
async fn what_a_disabled_link_led_to_and_what_is_forgotten_is_still_told() {
    let node = Node::start().await;
    let program = node.registry.shared().read().program("demo").unwrap().clone();
    let link = EntryKey::Link { program: "demo".into(), host: "go.example".into(), code: "abc".into() };
    let changes = vec![
        Change::SetDisabled { key: link, disabled: true },
        Change::PutProgram(Program { hash_lead_ids: false, ..program }),
    ];
    for outcome in node.registry.write(changes).await.unwrap() {
        outcome.unwrap();
    }
    assert_eq!(node.post("/v1/events", event_of("share", json!({"code": "abc"}))).await.status, 202);
    // Whoever was once sent under an address as lead id can be forgotten under it.
    let erasure = event_of("erasure", json!({"lead": "eve@mail.example", "requested_by": "ticket"}));
    assert_eq!(node.post("/v1/events", erasure).await.status, 202);
    let Some(Body::Erasure(found)) = node.events().remove(1).body else { panic!("an erasure") };
    assert_eq!(found.subject.unwrap().lead, "", "what is to be forgotten is not written down again");
}

#[tokio::test]
async fn a_test_is_another_event_than_the_live_one_of_its_key() {
    let node = Node::start().await;
    for is_test in [true, false] {
        for event in [
            lead(json!({"id": "k1", "test": is_test})),
            qualification(json!({"id": "k2", "test": is_test})),
            disqualification(json!({"qualification": "k2", "test": is_test})),
        ] {
            assert_eq!(node.post("/v1/events", event).await.status, 202);
        }
    }
    let events = node.events();
    let ids: BTreeSet<_> = events.iter().map(|event| event.id.clone()).collect();
    assert_eq!(ids.len(), 6);
    let taken_back = events.iter().filter_map(|event| match event.body.as_ref().unwrap() {
        Body::Disqualification(disqualification) => Some(disqualification.qualification_id.clone()),
        _ => None,
    });
    let qualifications = [&events[1], &events[4]].map(|event| event.id.clone());
    assert_eq!(taken_back.collect::<Vec<_>>(), qualifications, "of its own mode");
    let id = EventId::of(&"demo".parse().unwrap(), "api", "k1");
    assert_eq!(events[3].id, id.0.as_bytes().as_slice(), "a live event has the id it always had");
}
