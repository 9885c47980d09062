//! What every provider sends, by version of its API, event and status, and what becomes of it under the built-in rules.

use super::{
    cases::{self, Row},
    node,
};
use crate::node::Node;
use serde_json::Value;

/// What a payload becomes, as [`cases`] says it.
async fn told(node: &Node, source: &str, topic: &str, payload: &Value) -> Vec<String> {
    let (query, body) = match payload {
        Value::String(query) if source == "postback" => (format!("?{query}"), String::new()),
        Value::String(text) => (String::new(), text.clone()),
        json => (String::new(), json.to_string()),
    };
    let path = format!("/v1/programs/demo/sources/{source}/dry-run{query}");
    let key = format!("authorization: Bearer {}", node.admin);
    let topic = format!("x-shopify-topic: {topic}");
    let answer = node.send_as("POST", &path, &[&key, &topic], body).await;
    if answer.status != 200 {
        return vec![answer.problem().1];
    }
    let json = answer.json();
    let mut told = Vec::new();
    for event in json["events"].as_array().unwrap() {
        let gives = event["gives"].as_array().unwrap();
        told.extend(gives.iter().map(|given| gist(&given["event"], &given["problem"])));
        let unusable = event["unusable"].as_array().unwrap();
        told.extend(unusable.iter().map(|one| format!("unusable {}", one["reason"].as_str().unwrap())));
        if gives.is_empty() && unusable.is_empty() {
            told.push(event["outcome"].as_str().unwrap().to_owned());
        }
    }
    told
}

fn gist(event: &Value, problem: &Value) -> String {
    assert_eq!(problem, &Value::Null, "{event}");
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let name = [text("name"), text("reason")].concat();
    let value = match &event["value"] {
        Value::Null => String::new(),
        value => format!("{} {}", value["minor"], value["currency"].as_str().unwrap()),
    };
    format!("{} {name} {value}", text("type")).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn every_event_of_every_version_in_every_status_becomes_what_it_means() {
    let node = node().await;
    let mut wrong = Vec::new();
    for Row { provider, version, event, status, payload, expected } in cases::all() {
        let found = told(&node, provider, event, &payload).await;
        if found != expected {
            wrong.push(format!(
                "{provider} {version} {event} {status}: {found:?}, not {expected:?}: {payload}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}
