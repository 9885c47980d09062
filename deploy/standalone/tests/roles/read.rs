//! The tools that ask: `lineage`, `status`, over a `whence up` with the real engine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::{Role, ask, run};
use serde_json::{Value, json};
use tempfile::tempdir;
use whence_console::reports::Report;

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
    whence.call("POST", "/v1/programs/p/referrers", &json!({ "id": "eve" }));
    whence.until_count("SELECT count() FROM referrers WHERE program = 'p' AND referrer = 'eve'", 1);
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
    refused(&data, &["lineage", "p", "eve"], "nothing is known");
    refused(&data, &["lineage", "p", "--email", "bob"], "the email is not an email address");

    let listed = told(&data, &["status", "p", "--referrer", "ann"]);
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[1..4], ["bob", "qualified", "ann"], "{listed}");
    assert!(listed.contains("1250 EUR"), "{listed}");
    let nobodys: Value =
        serde_json::from_str(&told(&data, &["status", "p", "--referrer", "eve", "--format", "json"]))
            .unwrap();
    assert_eq!(nobodys, json!({ "items": [], "next": null }));

    whoever_is_unknown_is_told_so(&data);
    what_cannot_be_is_refused_by_name(&data);
    for (id, lead) in [("3", "=kim"), ("4", "-kim")] {
        whence.call("POST", "/v1/events", &json!({ "type": "lead", "program": "p", "id": id, "lead": lead }));
    }
    whence.until_count("SELECT uniqExact(event_id) FROM subject_keys", 4);
    let nobodys = told(&data, &["report", "unmatched", "--program", "p", "--format", "csv"]);
    assert!(
        nobodys.contains(r#","'=kim","no_touch","#) && nobodys.contains(r#","'-kim","no_touch","#),
        "{nobodys}"
    );
    what_is_cut_says_so_and_goes_on(&data);
}

/// What a tool says on standard error; panics unless it fails and prints nothing else.
fn refused(data: &Path, arguments: &[&str], expected: &str) {
    let output = run(&[arguments, &["--data", data.to_str().unwrap()]].concat());
    let said = text(&output.stderr);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), String::new()),
        "{arguments:?}: {said}"
    );
    assert!(said.contains(expected), "{arguments:?}: no {expected:?} in {said}");
}

/// Every tool that takes a program, with what else it needs.
const OF_PROGRAMS: [&[&str]; 7] = [
    &["status", "PROGRAM"],
    &["lineage", "PROGRAM", "bob"],
    &["replay", "PROGRAM"],
    &["payouts", "export", "PROGRAM"],
    &["payouts", "mark", "PROGRAM", "--reward", REWARD, "--reference", "x", "--by", "kim", "--check"],
    &["rewards", "approve", "PROGRAM", REWARD, "--by", "kim", "--reason", "x"],
    &["erase", "PROGRAM", "--id", REWARD],
];
const REWARD: &str = "3f2b8c1e-0a51-5c7e-9a7f-2f8f0f6f1d11";

fn whoever_is_unknown_is_told_so(data: &Path) {
    let reports = Report::of_programs().map(|report| report.word().replace('_', "-"));
    for report in reports {
        refused(data, &["report", &report, "--program", "nobodys"], "there is no program \"nobodys\"");
    }
    for tool in OF_PROGRAMS {
        let tool: Vec<&str> =
            tool.iter().map(|word| if *word == "PROGRAM" { "nobodys" } else { *word }).collect();
        refused(data, &tool, "there is no program \"nobodys\"");
    }
    for tool in [
        &["report", "funnel", "--program", "p"][..],
        &["report", "top-referrers", "--program", "p"],
        &["report", "channels", "--program", "p"],
        &["status", "p"],
        &["lineage", "p", "bob"],
        &["payouts", "export", "p"],
    ] {
        refused(data, &[tool, &["--referrer", "nobody"]].concat(), "has no referrer \"nobody\"");
        told(data, &[tool, &["--referrer", "ann"]].concat());
    }
    refused(data, &["report", "nothing"], "nothing");
    refused(data, &["erase", "p", "--id", REWARD], "nothing is known of such an erasure");
}

fn what_cannot_be_is_refused_by_name(data: &Path) {
    let spans: [&[&str]; 4] = [
        &["report", "funnel", "--program", "p"],
        &["report", "top-referrers", "--program", "p"],
        &["report", "channels", "--program", "p"],
        &["replay", "p"],
    ];
    for tool in spans {
        for flag in ["--from", "--to"] {
            for day in ["2026-02-31", "2025-02-29", "2026-13-01", "yesterday", ""] {
                refused(data, &[tool, &[flag, day]].concat(), flag);
            }
            refused(data, &[tool, &[flag, "2026-01-01", flag, "2026-01-01"]].concat(), flag);
        }
        refused(data, &[tool, &["--from", "2026-02-01", "--to", "2026-01-31"]].concat(), "--from");
    }
    for report in ["rewards", "payouts", "review-queue"] {
        for moment in ["2026-02-31", "2026-02-31T10:00:00Z", ""] {
            refused(data, &["report", report, "--as-of", moment], "--as-of");
        }
    }
    for (tool, flag) in [
        (&["report", "funnel"][..], "--program"),
        (&["status", "p"], "--referrer"),
        (&["status", "p"], "--after"),
        (&["status", "p"], "--limit"),
        (&["lineage", "p", "bob"], "--referrer"),
        (&["payouts", "export", "p"], "--currency"),
    ] {
        refused(data, &[tool, &[flag, ""]].concat(), flag);
        refused(data, &[tool, &[flag, "1.5", flag, "1.5"]].concat(), flag);
    }
    refused(data, &["payouts", "export", "p", "--currency", "EURO"], "--currency");
}

fn what_is_cut_says_so_and_goes_on(data: &Path) {
    let page = |arguments: &[&str]| {
        let output = run(&[arguments, &["--data", data.to_str().unwrap(), "--limit", "1"]].concat());
        assert!(output.status.success(), "{output:?}");
        let said = text(&output.stderr);
        let next = said.lines().find_map(|line| line.split_once(" more: --after "));
        (text(&output.stdout), next.map(|(rest, place)| (rest.parse::<u64>().unwrap(), place.to_owned())))
    };
    for (list, rows) in [
        (&["report", "unmatched", "--format", "csv"][..], 2),
        (&["report", "funnel", "--format", "csv"], 2),
        (&["status", "p"], 3),
    ] {
        let (mut seen, mut after) = (BTreeSet::new(), Vec::<String>::new());
        for rest in (0..rows).rev() {
            let place: Vec<&str> = after.iter().map(String::as_str).collect();
            let (found, next) = page(&[list, &place].concat());
            assert!(seen.insert(found.lines().nth(1).unwrap().to_owned()), "{list:?}: {found} again");
            assert_eq!(next.as_ref().map_or(0, |(rest, _)| *rest), rest, "{list:?}");
            after = next.map(|(_, place)| vec!["--after".to_owned(), place]).unwrap_or_default();
        }
    }
    let json: Value = serde_json::from_str(&page(&["report", "funnel", "--format", "json"]).0).unwrap();
    assert!(json["next"].is_string() && json["data"].as_array().unwrap().len() == 1, "{json}");
    refused(data, &["report", "payouts", "--after", json["next"].as_str().unwrap()], "--after");
}

#[test]
fn the_console_answers_whoever_may_read_reports() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    let admin = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&admin);
    whence.call("PUT", "/v1/programs/q", &json!({ "destination_hosts": ["shop.example"] }));
    whence.call("POST", "/v1/programs/p/referrers", &json!({ "id": "eve" }));
    whence.until_count("SELECT count() FROM referrers WHERE program = 'p' AND referrer = 'eve'", 1);
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
