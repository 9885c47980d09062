//! Qualifications and their values.

use super::node::{Node, of_its_own, qualification};
use serde_json::{Value, json};
use whence_schemas::event::{Qualification, RewardTerms, event::Body};

#[tokio::test]
async fn wrong_names_and_values_are_named() {
    let node = Node::start().await;
    let value = |value: Value| json!({"value": value});
    let cases = [
        (json!({"name": null}), "required", "name"),
        (json!({"name": "Purchase!"}), "invalid", "name"),
        (json!({"touches": []}), "unknown_field", "touches"),
        (json!({"value": 12}), "wrong_type", "value"),
        (value(json!({})), "required", "value.currency"),
        (value(json!({"currency": "EUR"})), "required", "value.amount"),
        (value(json!({"currency": "EUR", "amount": "1", "minor": 1})), "required", "value.amount"),
        (value(json!({"amount": "1"})), "required", "value.currency"),
        (value(json!({"currency": "eur", "amount": "1"})), "invalid", "value.currency"),
        (value(json!({"currency": "EUR", "amount": 12.5})), "wrong_type", "value.amount"),
        (value(json!({"currency": "EUR", "amount": "12,50"})), "invalid", "value.amount"),
        (value(json!({"currency": "EUR", "amount": "-1"})), "invalid", "value.amount"),
        (value(json!({"currency": "JPY", "amount": "1.5"})), "invalid", "value.amount"),
        (value(json!({"currency": "EUR", "minor": -1})), "invalid", "value.minor"),
        (value(json!({"currency": "EUR", "minor": 1.5})), "wrong_type", "value.minor"),
        (value(json!({"currency": "EUR", "minor": 1, "tax": 1})), "unknown_field", "value.tax"),
    ];
    for (changes, code, field) in cases {
        let found = node.post("/v1/events", qualification(changes.clone())).await.problem();
        assert_eq!(found, (422, code.into(), field.into()), "{changes}");
    }
    assert_eq!(node.events(), []);
}

#[tokio::test]
async fn values_are_exact_minor_units() {
    let node = Node::start().await;
    let cases = [
        (json!({}), 0, ""),
        (json!({"value": {"amount": "12.50", "currency": "EUR"}}), 1250, "EUR"),
        (json!({"value": {"amount": "59.970000000000006", "currency": "EUR"}}), 5997, "EUR"),
        (json!({"value": {"amount": "12.50", "currency": "DEM"}}), 1250, "DEM"),
        (json!({"value": {"amount": "9007199254740.93", "currency": "EUR"}}), 900_719_925_474_093, "EUR"),
        (json!({"value": {"minor": 1250, "currency": "JPY"}}), 1250, "JPY"),
        (json!({"value": {"amount": "0.001", "currency": "KWD"}}), 1, "KWD"),
    ];
    for (changes, _, _) in &cases {
        let event = of_its_own(qualification(changes.clone()));
        let answer = node.post("/v1/programs/demo/qualifications", event).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    for (event, (_, minor, currency)) in node.events().into_iter().zip(cases) {
        let Some(Body::Qualification(found)) = event.body else { panic!("a qualification") };
        let expected = Qualification {
            name: "purchase".into(),
            value_minor: minor,
            currency: currency.into(),
            subject: found.subject.clone(),
            rewards: None,
            history: None,
            ..Qualification::default()
        };
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_qualification_carries_what_the_program_paid_when_it_came() {
    let node = Node::start().await;
    let program = |rewards: Value| {
        json!({"destination_hosts": ["shop.example"], "link_hosts": ["go.example"],
               "channels": ["email", "whatsapp"], "rewards": rewards})
    };
    let wrong = program(json!([{"id": "a", "for": "referrer", "currency": "EUR", "fixed_minor": 0},
                               {"id": "a", "for": "referrer", "currency": "EUR", "fixed_minor": 1}]));
    let refused = node.send("PUT", "/v1/programs/demo", wrong.to_string()).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    for field in ["rewards[0].tiers[0].fixed_minor", "rewards[1].id"] {
        assert!(refused.text.contains(field), "{}", refused.text);
    }
    for (at, amount) in [500, 700].into_iter().enumerate() {
        let rule = json!([{"id": "order", "for": "referrer", "currency": "EUR", "fixed_minor": amount}]);
        let put = node.send("PUT", "/v1/programs/demo", program(rule).to_string()).await;
        assert_eq!(put.status, 200, "{}", put.text);
        let answer = node.post("/v1/events", qualification(json!({"id": format!("q-{at}")}))).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let other = json!([{"id": "order", "for": "referrer", "currency": "JPY", "fixed_minor": 500}]);
    let refused = node.send("PUT", "/v1/programs/demo", program(other).to_string()).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("a rule keeps its currency"), "{}", refused.text);
    let amounts = node.events().into_iter().map(|event| {
        let Some(Body::Qualification(Qualification { rewards: Some(terms), .. })) = event.body else {
            panic!("a qualification with terms")
        };
        let RewardTerms { rules, .. } = terms;
        rules[0].tiers[0].amount
    });
    let fixed = |minor| Some(whence_schemas::event::reward_tier::Amount::FixedMinor(minor));
    assert_eq!(amounts.collect::<Vec<_>>(), [fixed(500), fixed(700)]);
}
