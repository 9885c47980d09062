//! A dry run shows what a payload would become, and writes nothing.

use super::{gists, node, payload};
use crate::node::good_token;
use serde_json::{Value, json};

#[tokio::test]
async fn a_payload_is_shown_as_what_it_would_become() {
    let node = node().await;
    let body = payload(include_str!("payloads/stripe_checkout.json"), &good_token());
    let answer = node.send("POST", "/v1/programs/demo/sources/stripe/dry-run", body.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let shown = answer.json()["events"][0].clone();
    assert_eq!((&shown["outcome"], &shown["name"]), (&json!("mapped"), &json!("checkout.session.completed")));
    let lead = &shown["gives"][0];
    assert_eq!(lead["event"]["touches"], json!([{"token": good_token()}]));
    assert_eq!((&lead["event"]["type"], &lead["problem"]), (&json!("lead"), &Value::Null));
    let payment = &shown["gives"][1]["event"];
    assert_eq!(payment["value"], json!({"minor": 4900, "currency": "EUR"}));
    assert_eq!(payment["id"], "cs_live_a1b2c3:qualification");
    assert_eq!(payment["payments"], json!(["cs_live_a1b2c3", "pi_3PgQ2wB7WZ01zgkW1"]));
    assert_eq!(gists(&node), [""; 0], "nothing is written");
    // What it shows is what would be written.
    super::deliver(&node, "stripe", &[], &body).await;
    let ids: Vec<_> = node.events().iter().map(|event| uuid::Uuid::from_slice(&event.id).unwrap()).collect();
    let foretold = [&shown["gives"][0]["event_id"], &shown["gives"][1]["event_id"]];
    assert_eq!(foretold, [&json!(ids[0].to_string()), &json!(ids[1].to_string())]);
}

#[tokio::test]
async fn a_dry_run_says_what_is_missing() {
    let node = node().await;
    let path = "/v1/programs/demo/sources/stripe/dry-run";
    let other = r#"{"id":"evt_1","type":"customer.updated"}"#;
    let shown = node.send("POST", path, other).await.json()["events"][0].clone();
    assert_eq!(shown["outcome"], "unmapped");
    let mut body: Value = serde_json::from_str(include_str!("payloads/stripe_checkout.json")).unwrap();
    body["data"]["object"]["client_reference_id"] = json!("forged");
    body["data"]["object"]["currency"] = json!("taler");
    let shown = node.send("POST", path, body.to_string()).await.json()["events"][0].clone();
    assert_eq!(shown["unusable"], json!([{"rule": 1, "reason": "currency_unknown"}]));
    assert_eq!(shown["gives"][0]["touches_found"], json!([{"token": "forged"}]));
    // It proves nothing, and stands on the lead with its reason.
    assert_eq!(shown["gives"][0]["event"]["touches"], json!([{"token": "forged"}]));
    assert_eq!(shown["gives"][0]["worthless_touches"][0]["code"], "token_malformed");
    assert_eq!(node.send("POST", path, "no json").await.problem().0, 400);
    assert_eq!(node.send("POST", "/v1/programs/demo/sources/none/dry-run", other).await.status, 404);
}
