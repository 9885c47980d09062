//! Leads: their fields, their touches, who they are about.

use super::node::{KEY_IDS, NOW, Node, WINDOW_MS, good_token, lead, of_its_own, ring, token};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use whence_ingest::registry::{Change, EntryKey, Registry};
use whence_schemas::{
    event::{self, AttributionModel, Event, ExistingCustomers, Lead, Mode, Program, Touch},
    ids::{EventId, ProgramId},
    subject::{AliasKind, IdentityHasher},
    time::UnixMs,
};

async fn refused(node: &Node, changes: Value) -> (u16, String, String) {
    node.post("/v1/events", lead(changes)).await.problem()
}

fn expect(status: u16, code: &str, field: &str) -> (u16, String, String) {
    (status, code.into(), field.into())
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let node = Node::start().await;
    let cases = [
        (json!({"type": 7}), "wrong_type", "type"),
        (json!({"type": null}), "required", "type"),
        (json!({"type": "click"}), "invalid", "type"),
        (json!({"program": null}), "required", "program"),
        (json!({"program": "Demo"}), "invalid", "program"),
        (json!({"program": "none"}), "unknown_program", "program"),
        (json!({"id": null}), "required", "id"),
        (json!({"id": 1}), "wrong_type", "id"),
        (json!({"id": ""}), "invalid", "id"),
        (json!({"id": "x".repeat(256)}), "invalid", "id"),
        (json!({"source": "My App"}), "invalid", "source"),
        (json!({"occurred_at": "yesterday"}), "invalid", "occurred_at"),
        (json!({"occurred_at": NOW.0 + 300_001}), "invalid", "occurred_at"),
        (json!({"occurred_at": "1969-12-31T23:59:59Z"}), "invalid", "occurred_at"),
        (json!({"occurred_at": NOW.0 / 1000}), "invalid", "occurred_at"),
        (json!({"occurred_at": 1.5}), "wrong_type", "occurred_at"),
        (json!({"test": "yes"}), "wrong_type", "test"),
        (json!({"lead": null}), "required", "lead"),
        (json!({"lead": "ann@shop.example"}), "invalid", "lead"),
        (json!({"lead": "+49 30 123456"}), "invalid", "lead"),
        (json!({"email": "ann"}), "invalid", "email"),
        (json!({"phone": "030 123"}), "invalid", "phone"),
        (json!({"customer": ""}), "invalid", "customer"),
        (json!({"wclid_": "x"}), "unknown_field", "wclid_"),
        (json!({"value": {"minor": 1}}), "unknown_field", "value"),
        (json!({"touches": {}}), "wrong_type", "touches"),
        (json!({"touches": ["x"]}), "wrong_type", "touches[0]"),
        (json!({"touches": [{}]}), "invalid", "touches[0].token"),
        (json!({"touches": [{"code": "abc"}, {"code": "abc", "token": "x"}]}), "invalid", "touches[1].token"),
        (json!({"touches": [{"code": "abc", "link": "x"}]}), "unknown_field", "touches[0].link"),
        (json!({"touches": vec![json!({"code": "abc"}); 21]}), "invalid", "touches"),
    ];
    for (changes, code, field) in cases {
        assert_eq!(refused(&node, changes.clone()).await, expect(422, code, field), "{changes}");
    }
    assert_eq!(node.events(), []);
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let node = Node::start().await;
    let answer = node.post("/v1/events", json!({"type": "lead", "email": "x", "tst": true})).await;
    let json = answer.json();
    let fields: Vec<_> = json["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["program", "id", "email", "tst"]);
    assert!(json["errors"][2]["detail"].as_str().unwrap().contains("email address"));
}

/// The touches of the newest event, and what its answer says of those that prove nothing.
async fn taken(node: &Node, changes: Value) -> (Vec<Touch>, Vec<(String, String)>) {
    let answer = node.post("/v1/events", of_its_own(lead(changes.clone()))).await;
    assert_eq!(answer.status, 202, "{changes}: {}", answer.text);
    let json = answer.json();
    let worthless = json["worthless_touches"].as_array().into_iter().flatten();
    let word = |touch: &Value, name: &str| touch[name].as_str().unwrap().to_owned();
    let worthless = worthless.map(|touch| (word(touch, "field"), word(touch, "code"))).collect();
    match node.events().pop().unwrap().body {
        Some(event::event::Body::Lead(lead)) => (lead.touches, worthless),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tokens_that_prove_nothing_cost_no_lead_and_leave_their_reason() {
    let node = Node::start().await;
    let own = ring(1, &[1]);
    let forged = whence_schemas::token::KeyRing::new(1, &[(1, [8; 32])]).unwrap();
    let old = 16 * 60 * 1000;
    let cases = [
        ("nonsense".to_owned(), "token_malformed"),
        ("ann@shop.example".to_owned(), "token_malformed"),
        ("x".repeat(65), "token_malformed"),
        ("x".repeat(10_000), "token_malformed"),
        (good_token().to_lowercase(), "token_malformed"),
        (good_token()[..40].to_owned(), "token_malformed"),
        (token(&forged, "abc", "email", 0), "token_forged"),
        (token(&own, "xyz", "email", 0), "token_foreign"),
        (token(&own, "abc", "email", WINDOW_MS + 1), "token_expired"),
        (token(&own, "abc", "email", -300_001), "token_from_the_future"),
        (token(&ring(9, &[9]), "abc", "email", old), "token_unknown_key"),
    ];
    for (token, code) in cases {
        for (changes, field) in
            [(json!({"wclid": token}), "wclid"), (json!({"touches": [{"token": token}]}), "touches[0].token")]
        {
            let (touches, worthless) = taken(&node, changes).await;
            assert_eq!(worthless, [(field.to_owned(), code.to_owned())], "{token}");
            assert_eq!(touches.len(), 1, "{token}: the reason comes with it");
            // Whoever decides finds the same, and never waits for a key that never was.
            let found = own.verify(&touches[0].token).err().map(|error| error.tag());
            let of_link = matches!(code, "token_foreign" | "token_expired" | "token_from_the_future");
            let expected = if code == "token_unknown_key" { "token_malformed" } else { code };
            assert_eq!(found, (!of_link).then_some(expected), "{token}");
            assert!(!touches[0].token.contains('@') && touches[0].token.len() <= 62, "nothing of what it is");
        }
    }
    let (touches, worthless) = taken(&node, json!({"wclid": "nonsense", "code": "abc"})).await;
    assert_eq!(
        (touches.len(), touches[1].referrer.as_str(), worthless.len()),
        (2, "ann", 1),
        "the code counts"
    );
    let batch = json!([lead(json!({"wclid": "nonsense"})), lead(json!({"id": "2", "wclid": good_token()}))]);
    let results = node.post("/v1/events", batch).await.json()["results"].clone();
    assert_eq!(results[0]["worthless_touches"][0]["code"], "token_malformed");
    assert_eq!(results[1]["worthless_touches"], Value::Null);
}

#[tokio::test]
async fn only_what_will_be_known_in_a_moment_waits() {
    let node = Node::start().await;
    for (token, code) in [
        (token(&ring(9, &[9]), "abc", "email", 0), "token_unknown_key"),
        (token(&ring(1, &[1]), "not-here-yet", "email", 0), "link_unknown"),
    ] {
        let answer = node.post("/v1/events", lead(json!({"wclid": token}))).await;
        assert_eq!(answer.problem(), expect(503, code, "wclid"), "{token}");
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(node.events(), []);
}

#[tokio::test]
async fn no_single_character_of_a_token_costs_the_lead() {
    let node = Node::start().await;
    let good = good_token();
    for at in 0..good.len() {
        for by in ["A", "z", "-", "%", " ", ""] {
            let damaged = format!("{}{by}{}", &good[..at], &good[at + 1..]);
            let (touches, worthless) = taken(&node, json!({"wclid": damaged})).await;
            let is_mended = touches.iter().any(|touch| touch.token == good);
            assert_eq!((touches.len(), worthless.is_empty()), (1, is_mended), "{damaged}");
        }
    }
}

#[tokio::test]
async fn a_token_is_taken_out_of_what_came_with_it_and_an_empty_one_is_none() {
    let node = Node::start().await;
    let good = good_token();
    for padded in [
        format!(" {good} "),
        format!("{good}="),
        format!("{good}=="),
        format!("{good}%3D%3D"),
        format!("\"{good}\""),
        format!("“{good}”."),
        format!("{good}\r\n"),
        format!("{good}\u{200b}"),
        format!("%20{good}%20"),
        format!("wclid={good}"),
        format!("https://shop.example/?a=b&wclid={good}&c=d#top"),
        format!("{good}#top"),
        format!("{good},{good}"),
    ] {
        for changes in
            [json!({"wclid": padded}), json!({"touches": [{"token": padded}]}), json!({"wclid": [padded]})]
        {
            let (touches, worthless) = taken(&node, changes).await;
            let tokens: Vec<_> =
                touches.iter().map(|touch| (touch.token.as_str(), touch.referrer.as_str())).collect();
            assert_eq!((tokens, worthless), (vec![(good.as_str(), "ann")], vec![]), "{padded}");
        }
    }
    for empty in ["", " ", "\t", "\"\"", "==", "\u{200b}", "%20"] {
        for changes in [
            json!({"wclid": empty}),
            json!({"wclid": [empty, null]}),
            json!({"touches": [{"token": empty}, {"token": null}]}),
        ] {
            assert_eq!(taken(&node, changes).await, (vec![], vec![]), "{empty:?}");
        }
        let beside = json!({"touches": [{"token": empty, "code": "abc"}], "code": empty.replace(['"', '=', '%', '2', '0'], "")});
        assert_eq!(taken(&node, beside).await.0.len(), 1, "{empty:?}");
    }
}

#[tokio::test]
async fn a_code_is_taken_trimmed_and_in_any_case() {
    let node = Node::start().await;
    for code in ["abc", " abc ", "ABC", "Abc\n", "\u{200b}aBc", "\u{a0}ABC\u{a0}"] {
        for changes in [json!({"code": code}), json!({"touches": [{"code": code}]})] {
            let (touches, _) = taken(&node, changes).await;
            assert_eq!(touches[0].link, "go.example/abc", "{code:?}: as it was made");
        }
        let share = json!({"type": "share", "program": "demo", "id": code, "code": code});
        let answer = node.post("/v1/events", share).await;
        assert!(answer.status == 202 || code.contains('\n'), "{code:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_form_is_taken_where_the_path_names_kind_and_program() {
    let node = Node::start().await;
    let key = format!("authorization: Bearer {}", node.admin);
    let form = "content-type: application/x-www-form-urlencoded; charset=UTF-8";
    let send =
        async |path: &str, body: &str| node.send_as("POST", path, &[&key, form], body.to_owned()).await;
    let body =
        format!("id=f1&email=ann%2Bx%40shop.example&phone=&code=+ABC+&wclid={}%3D&test=on", good_token());
    let answer = send("/v1/programs/demo/leads", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let event = node.events().pop().unwrap();
    assert_eq!(event.mode(), Mode::Test);
    let Some(event::event::Body::Lead(lead)) = event.body else { panic!("a lead") };
    let touches: Vec<_> = lead.touches.iter().map(|touch| touch.referrer.as_str()).collect();
    assert_eq!((lead.subject.unwrap().keys.len(), touches), (1, vec!["ann", "ann"]));
    for (path, body) in [
        ("qualifications", "id=q1&lead=l1&name=purchase&amount=12.50&currency=EUR&payments=p1&payments=p2"),
        (
            "qualifications",
            "id=q2&lead=l1&name=purchase&value[minor]=1250&value[currency]=EUR&history[is]=first_payment",
        ),
        (
            "disqualifications",
            "id=d1&lead=l1&qualification=q1&reason=refund&value.amount=2.50&value.currency=EUR",
        ),
        ("shares", "id=s1&code=abc&channel=email"),
        ("participants", "id=p1&referrer=ann&email=ann%40shop.example"),
        ("identities", "id=i1&lead=l1&contact=c1&value="),
    ] {
        let answer = send(&format!("/v1/programs/demo/{path}"), body).await;
        assert_eq!(answer.status, 202, "{path} {body}: {}", answer.text);
    }
    for (body, code, field) in [
        ("id=1&lead=a&wclud=x", "unknown_field", "wclud"),
        ("id=1&lead=a&lead=b", "invalid", "lead"),
        ("id=1&lead=a&test=perhaps", "wrong_type", "test"),
        ("id=1", "required", "lead"),
    ] {
        assert_eq!(send("/v1/programs/demo/leads", body).await.problem(), expect(422, code, field), "{body}");
    }
    assert_eq!(
        send("/v1/events", "type=lead&program=demo&id=1&lead=a").await.status,
        400,
        "short forms only"
    );
    assert_eq!(
        send("/v1/programs/demo/leads", r#" {"id":"j","lead":"a"}"#).await.status,
        202,
        "JSON all the same"
    );
}

#[tokio::test]
async fn what_waiting_cannot_mend_comes_before_what_it_can() {
    let node = Node::start().await;
    let waits = token(&ring(9, &[9]), "abc", "email", 0);
    let found = refused(&node, json!({"wclid": waits, "code": "nope"})).await;
    assert_eq!(found, expect(422, "unknown_code", "code"));
}

#[tokio::test]
async fn the_window_is_measured_from_the_event_not_from_now() {
    let node = Node::start().await;
    let clicked_long_ago = token(&ring(1, &[1]), "abc", "email", 3 * WINDOW_MS);
    let then = json!({"wclid": clicked_long_ago, "occurred_at": NOW.0 - 2 * WINDOW_MS});
    assert_eq!(node.post("/v1/events", lead(then)).await.status, 202);
}

#[tokio::test]
async fn codes_must_name_an_active_link_of_the_program() {
    let node = Node::start().await;
    for wrong in ["nope", "xyz", "a/b", "abcd"] {
        let found = refused(&node, json!({"touches": [{"code": wrong}]})).await;
        assert_eq!(found, expect(422, "unknown_code", "touches[0].code"), "{wrong}");
    }
    let at = "/v1/programs/demo/links/go.example/abc";
    let ends = json!({"expires_at": NOW.0}).to_string();
    assert_eq!(node.send("PATCH", at, ends).await.status, 200);
    assert_eq!(refused(&node, json!({"code": "abc"})).await, expect(422, "inactive_code", "code"));
    let before = json!({"code": "abc", "occurred_at": NOW.0 - 1});
    assert_eq!(node.post("/v1/events", lead(before.clone())).await.status, 202, "it was active then");
    for path in [at, "/v1/programs/demo/referrers/ann", "/v1/programs/demo"] {
        assert_eq!(node.send("POST", &format!("{path}/disable"), "").await.status, 200);
        assert_eq!(refused(&node, before.clone()).await, expect(422, "inactive_code", "code"), "{path}");
        assert_eq!(node.send("POST", &format!("{path}/enable"), "").await.status, 200);
    }
    // A click that was made counts, whatever was disabled since.
    assert_eq!(node.send("POST", &format!("{at}/disable"), "").await.status, 200);
    assert_eq!(node.post("/v1/events", of_its_own(lead(json!({"wclid": good_token()})))).await.status, 202);
}

#[tokio::test]
async fn a_lead_is_recorded_as_it_resolved() {
    let node = Node::start().await;
    let by_second_key = token(&ring(2, &KEY_IDS), "abc", "whatsapp", 5000);
    let no_channel = token(&ring(1, &[1]), "abc", "", 4000);
    let body = lead(json!({
        "source": "shop", "occurred_at": "2027-01-15T07:59:59.5Z", "test": true,
        "email": " Ann@Shop.Example ", "phone": "+49 30 123456",
        "touches": [{"token": by_second_key}, {"code": "abc"}, {"token": no_channel}],
        "wclid": good_token(), "code": "abc",
    }));
    let answer = node.post("/v1/events", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let program: ProgramId = "demo".parse().unwrap();
    let id = EventId::of_kind(&program, "shop", true, "lead", "lead-1");
    assert_eq!(answer.json(), json!({"id": id.0.to_string(), "status": "accepted"}));

    let touch = |token: &str, channel: &str| Touch {
        token: token.into(),
        link: "go.example/abc".into(),
        referrer: "ann".into(),
        channel: channel.into(),
    };
    let hasher = IdentityHasher::new(&[3; 32]);
    let key = |kind, alias: &str| hasher.key(&program, kind, alias).0.to_vec().into();
    let expected = Event {
        id: id.0.as_bytes().to_vec().into(),
        mode: Mode::Test.into(),
        program: "demo".into(),
        source: "shop".into(),
        occurred_at_ms: NOW.0 - 500,
        received_at_ms: NOW.0,
        registry_version: node.registry.shared().read().version(),
        rule: Some(event::AttributionRule {
            model: AttributionModel::FirstTouch.into(),
            window_ms: WINDOW_MS.unsigned_abs(),
            ..event::AttributionRule::default()
        }),
        // Stays as it is: what is stored is compared with what later versions make of the same.
        digest: 7_361_589_653_884_165_233,
        body: Some(event::event::Body::Lead(Lead {
            subject: Some(event::Subject {
                lead: "l1".into(),
                keys: vec![
                    key(AliasKind::Lead, "l1"),
                    key(AliasKind::Email, "ann@shop.example"),
                    key(AliasKind::Phone, "+4930123456"),
                ],
                ..event::Subject::default()
            }),
            touches: vec![
                touch(&by_second_key, "whatsapp"),
                touch("", "email"),
                touch(&no_channel, "email"),
                touch(&good_token(), "email"),
                touch("", "email"),
            ],
            ..Lead::default()
        })),
    };
    assert_eq!(node.events(), [expected]);
}

#[tokio::test]
async fn what_is_not_said_has_its_default() {
    let node = Node::start().await;
    node.clock_ms.store(NOW.0 + 7, Ordering::Relaxed);
    let body = json!({"type": "lead", "program": "demo", "id": "x", "contact": "c-1"});
    assert_eq!(node.post("/v1/events", body).await.status, 202);
    let event = node.events().remove(0);
    assert_eq!(UnixMs(event.occurred_at_ms), NOW.plus_ms(7));
    assert_eq!((event.mode(), event.source.as_str()), (Mode::Live, "api"));
    let Some(event::event::Body::Lead(lead)) = event.body else { panic!("a lead") };
    assert_eq!(lead.subject.unwrap().lead, "");
}

#[tokio::test]
async fn an_event_says_whether_its_program_lets_existing_customers_be_referred_again() {
    let node = Node::start().await;
    let path = "/v1/programs/again";
    let cases = [
        (json!({}), "refuse", ExistingCustomers::Refuse),
        (json!({"existing_customers": "allow"}), "allow", ExistingCustomers::Allow),
        (json!({"existing_customers": "refuse"}), "refuse", ExistingCustomers::Refuse),
    ];
    for (number, (says, word, expected)) in cases.into_iter().enumerate() {
        let mut program = json!({"destination_hosts": ["shop.example"]});
        program.as_object_mut().unwrap().extend(says.as_object().unwrap().clone());
        let put = node.send("PUT", path, program.to_string()).await;
        assert_eq!(
            (put.status < 300, &put.json()["existing_customers"]),
            (true, &json!(word)),
            "{}",
            put.text
        );
        let body = lead(json!({"program": "again", "id": format!("lead-{number}")}));
        assert_eq!(node.post("/v1/events", body).await.status, 202);
        let event = node.events().pop().unwrap();
        assert_eq!(event.rule.unwrap().existing_customers(), expected, "{says}");
    }
    let rules: Vec<_> = node.events().iter().map(|event| event.rule.unwrap().existing_customers).collect();
    let expected = [ExistingCustomers::Refuse, ExistingCustomers::Allow, ExistingCustomers::Refuse];
    assert_eq!(rules, expected.map(i32::from), "what was recorded stays as it was");
}

#[tokio::test]
async fn raw_aliases_reach_no_file_and_no_answer() {
    let node = Node::start().await;
    let hashing =
        Program { hash_lead_ids: true, ..node.registry.shared().read().program("demo").unwrap().clone() };
    node.registry.write(vec![Change::PutProgram(hashing)]).await.unwrap().remove(0).unwrap();
    let secret = json!({
        "lead": "ann.secret@shop.example", "email": "ann.secret@shop.example", "phone": "+4930555123",
        "customer": "cus-secret", "contact": "con-secret", "client_ip": "198.51.100.77",
    });
    assert_eq!(node.post("/v1/events", lead(secret.clone())).await.status, 202);
    let mut wrong = secret;
    wrong["code"] = json!("nope");
    let refused = node.post("/v1/events", lead(wrong)).await;
    assert_eq!(refused.status, 422);
    let event = node.events().remove(0);
    let Some(event::event::Body::Lead(found)) = event.body else { panic!("a lead") };
    assert_eq!(found.subject.unwrap().lead.len(), 32, "the keyed hash in hex");

    let mut files: Vec<Vec<u8>> = vec![refused.text.into_bytes()];
    for folder in [node.journal_dir(), node.dir.path().to_owned()] {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.is_file()).map(|path| std::fs::read(path).unwrap()));
    }
    for raw in ["secret", "555123", "198.51.100"] {
        let found = files.iter().any(|file| file.windows(raw.len()).any(|bytes| bytes == raw.as_bytes()));
        assert!(!found, "{raw}");
    }
}

#[tokio::test]
async fn a_disabled_program_still_takes_what_its_clicks_led_to() {
    let node = Node::start().await;
    let key = EntryKey::Program { id: "demo".into() };
    let change = Change::SetDisabled { key, disabled: true };
    node.registry.write(vec![change]).await.unwrap().remove(0).unwrap();
    assert_eq!(node.post("/v1/events", of_its_own(lead(json!({"wclid": good_token()})))).await.status, 202);
}

#[tokio::test]
async fn the_short_form_names_kind_and_program_in_the_path() {
    let node = Node::start().await;
    let path = "/v1/programs/demo/leads";
    assert_eq!(node.post(path, json!({"id": "a", "lead": "l"})).await.status, 202);
    let wrong = node.post(path, json!({"id": "a", "lead": "l", "program": "other"})).await;
    assert_eq!(wrong.problem(), expect(422, "invalid", "program"));
    let wrong = node.post(path, json!({"id": "a", "lead": "l", "type": "qualification"})).await;
    assert_eq!(wrong.problem(), expect(422, "invalid", "type"));
    assert_eq!(node.events().len(), 1);
}
