//! The tools that ask: `lineage`, `status`, over a `whence up` with the real engine.

use std::fs;
use std::path::Path;

use crate::support::{Role, ask, run};
use serde_json::{Value, json};
use tempfile::tempdir;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a tool prints over this folder; panics unless it succeeds.
fn told(data: &Path, arguments: &[&str]) -> String {
    let all = [arguments, &["--data", data.to_str().unwrap()]].concat();
    let output = run(&all);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_lead_is_explained_by_each_of_its_names_and_listed_with_its_state() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let token = whence.click("x");
    let lead = json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "email": "bob@shop.example",
        "touches": [{ "token": token }] });
    let paid = json!({ "type": "qualification", "program": "p", "id": "2", "email": "BOB@shop.example",
        "name": "purchase", "value": { "amount": "12.50", "currency": "EUR" } });
    let taken = whence.call("POST", "/v1/events", &lead);
    whence.call("POST", "/v1/events", &paid);
    whence.until_count("SELECT count() FROM qualifications WHERE referrer = 'ann' AND sign = 1", 1);
    whence.until_count("SELECT count() FROM clicks", 1);
    // What names are found by is stored last.
    whence.until_count("SELECT uniqExact(event_id) FROM subject_keys", 2);

    let by_lead = told(&data, &["lineage", "p", "bob", "--referrer", "eve"]);
    for expected in [
        "ann gets the credit: the lead carried a signed token of a click on go.example/x (channel email)",
        "eve does not get it",
        "Reached \"purchase\"",
        "worth 1250 minor units of EUR",
    ] {
        assert!(by_lead.contains(expected), "no {expected:?} in {by_lead}");
    }
    let by_email = told(&data, &["lineage", "p", "--email", "Bob@Shop.example", "--format", "json"]);
    assert!(!by_email.to_lowercase().contains("@shop.example"), "{by_email}");
    let by_event =
        told(&data, &["lineage", "p", "--event", taken["id"].as_str().unwrap(), "--format", "json"]);
    assert_eq!(by_email, by_event);
    let found: Value = serde_json::from_str(&by_email).unwrap();
    assert_eq!(
        (&found["events"][0]["referrer"], &found["events"][0]["lead"]),
        (&json!("ann"), &json!("bob"))
    );
    assert!(told(&data, &["lineage", "p", "eve"]).starts_with("nothing is stored about this lead"));
    let neither = run(&["lineage", "p", "--email", "bob", "--data", data.to_str().unwrap()]);
    assert!(text(&neither.stderr).contains("the email is not an email address"), "{neither:?}");

    let listed = told(&data, &["status", "p", "--referrer", "ann"]);
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[1..4], ["bob", "qualified", "ann"], "{listed}");
    assert!(listed.contains("1250 EUR"), "{listed}");
    let nobodys: Value =
        serde_json::from_str(&told(&data, &["status", "p", "--referrer", "eve", "--format", "json"]))
            .unwrap();
    assert_eq!(nobodys, json!({ "items": [], "next": null }));
}

#[test]
fn the_console_answers_whoever_may_read_reports() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    let admin = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&admin);
    whence.call("PUT", "/v1/programs/q", &json!({ "destination_hosts": ["shop.example"] }));
    let token = whence.click("x");
    let lead = json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "email": "bob@shop.example",
        "touches": [{ "token": token }] });
    whence.call("POST", "/v1/events", &lead);
    whence.until_count("SELECT toUInt64(sum(leads)) FROM funnel_daily", 1);
    whence.until_count("SELECT toUInt64(sum(clicks)) FROM funnel_daily", 1);
    let key = |scope: &str, program: &str| {
        let made = whence.call("POST", "/v1/keys", &json!({ "scopes": [scope], "program": program }));
        made["key"].as_str().unwrap().to_owned()
    };
    let (reader, stranger, sender) =
        (key("reports:read", "p"), key("reports:read", "q"), key("events:write", "p"));
    let console = whence.address("console");
    let asked = |key: &str, method: &str, path: &str, body: &str| {
        let headers = [("authorization", format!("Bearer {}", key.trim()))];
        let answer = ask(&console, method, path, &headers, body);
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
    };

    let (status, funnel) = asked(&reader, "GET", "/v1/programs/p/funnel?limit=5", "");
    assert_eq!((status, &funnel["more"]), (200, &json!(false)), "{funnel}");
    let counts = ["referrer", "clicks", "leads"].map(|name| &funnel["items"][0][name]);
    assert_eq!(counts, [&json!("ann"), &json!(1), &json!(1)]);
    let (_, leads) = asked(&admin, "GET", "/v1/programs/p/status?referrer=ann", "");
    assert_eq!((&leads["items"][0]["lead"], &leads["items"][0]["state"]), (&json!("bob"), &json!("lead")));
    let (_, by_lead) = asked(&reader, "GET", "/v1/programs/p/lineage/bob?referrer=eve", "");
    let why = by_lead["events"][0]["why"].to_string();
    assert!(why.contains("ann gets the credit") && why.contains("eve does not get it"), "{by_lead}");
    let body = json!({ "email": "BOB@shop.example", "referrer": "eve" }).to_string();
    assert_eq!(asked(&reader, "POST", "/v1/programs/p/lineage", &body), (200, by_lead));

    for (key, method, path, expected) in [
        ("whk_0_0", "GET", "/v1/programs/p/funnel", 401),
        (&stranger, "GET", "/v1/programs/p/funnel", 403),
        (&sender, "GET", "/v1/programs/p/lineage/bob", 403),
        (&reader, "GET", "/v1/programs/p/nothing", 404),
        (&reader, "POST", "/v1/programs/p/funnel", 405),
        (&reader, "GET", "/v1/programs/p/lineage", 405),
        (&reader, "GET", "/v1/programs/p/status?limit=5000", 422),
        (&reader, "POST", "/v1/programs/p/lineage", 422),
    ] {
        let (status, problem) = asked(key, method, path, "{}");
        assert_eq!((status, &problem["status"]), (expected, &json!(expected)), "{method} {path}: {problem}");
    }
    assert!(!whence.log().to_lowercase().contains("bob@shop.example"));
    assert!(whence.stop().success());
}
