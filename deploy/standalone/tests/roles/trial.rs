//! `whence try`: through all of a `whence up` with the real engine, and without a trace in what live reports read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::support::hooks::{Receiver, Taken, write_secrets};
use crate::support::{BROWSER, Role, run};
use serde_json::{Value, json};
use tempfile::tempdir;

const SECRET: &str = "whsec_b25lIHNlY3JldCBvZiB0aGUgdGVzdHM=";

const STEPS: [&str; 9] = [
    "program",
    "test link",
    "click",
    "lead",
    "qualification",
    "click stored",
    "lead stored",
    "qualification stored",
    "no trace in the funnel",
];

/// What live reports don't read: what has run, how far deliveries are, the account of all blocks, and the count of
/// every record, which is asked for by itself. Views with parameters are over tables that are looked at.
const APART: [&str; 7] = [
    "whence_migrations",
    "whence_views",
    "delivery_checkpoints",
    "blocks",
    "reconciliation",
    "completeness_clock",
    "completeness",
];

/// What has rows before the first trial: it would show one that is gone or changed as well as one more.
const FILLED: [&str; 18] = [
    "clicks",
    "deliveries",
    "delivery_states",
    "funnel",
    "funnel_daily",
    "funnel_quarter_hourly",
    "leads",
    "outbound_messages",
    "payouts",
    "rejects_by_reason",
    "review_queue",
    "reward_balance",
    "reward_events",
    "reward_roi",
    "rewards",
    "rewards_due",
    "status",
    "unmatched",
];

/// Ann's Bob has bought, what of it is hers is approved and told, and what is his is not due yet; her Eve is a bot,
/// which a person is to look at; somebody's purchase waits for a lead; and Bob came twice.
fn live(whence: &Role) {
    let [bob, eve] = [("x", BROWSER), ("y", "curl/8.5.0")]
        .map(|(code, agent)| whence.click_with(code, &[("user-agent", agent.into())]));
    whence.until_count("SELECT count() FROM clicks", 2);
    let lead = |lead: &str, token: &str| json!({ "type": "lead", "program": "p", "id": lead, "lead": lead, "touches": [{ "token": token }] });
    for event in [
        lead("bob", &bob),
        lead("bob", &bob),
        bought("bob"),
        lead("eve", &eve),
        bought("eve"),
        bought("nobody"),
    ] {
        whence.call("POST", "/v1/events", &event);
    }
}

fn bought(lead: &str) -> Value {
    json!({ "type": "qualification", "program": "p", "id": format!("order of {lead}"), "lead": lead, "name": "purchase",
        "value": { "minor": 1999, "currency": "EUR" } })
}

/// All that live reports read, by its name: of what knows tests, the rest.
fn read_by_reports(whence: &Role) -> BTreeMap<String, String> {
    let named = "SELECT t.name, t.engine, countIf(c.name = 'live'), countIf(c.name = 'age_seconds') \
                 FROM system.tables AS t INNER JOIN system.columns AS c ON t.database = c.database AND t.name = c.table \
                 WHERE t.database = 'whence' AND t.engine != 'MaterializedView' AND t.parameterized_view_parameters = [] \
                 GROUP BY t.name, t.engine";
    let mut read = BTreeMap::new();
    for line in whence.rows(named).lines() {
        let [name, engine, has_live, has_age] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        if APART.contains(&name) {
            continue;
        }
        // What is added up is read added up, whatever has been merged.
        let merged = matches!(engine, "AggregatingMergeTree" | "SummingMergeTree" | "ReplacingMergeTree");
        let merged = if merged { "FINAL" } else { "" };
        let columns = if has_age == "1" { "* EXCEPT (age_seconds)" } else { "*" };
        // The trial has a referrer and a link of its own, and nothing else in the program.
        let only = match (name, has_live) {
            ("referrers" | "links" | "referrers_now" | "links_now", _) => "referrer != 'whence-try'",
            (_, "1") => "live",
            _ => "true",
        };
        let sql = format!("SELECT {columns} FROM {name} {merged} WHERE {only} ORDER BY ALL");
        read.insert(name.to_owned(), whence.rows(&sql));
    }
    read
}

/// Runs a trial; fails unless every step is told with its time and what shows that it worked.
fn tries(data: &Path, link: &str) {
    let output = run(&["try", "p", "--data", data.to_str().unwrap()]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    let mut told = Vec::new();
    for line in report.lines().skip(1) {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let [name, ms, evidence] = cells[..] else { panic!("{report}") };
        assert!(ms.parse::<f64>().is_ok_and(|ms| ms >= 0.0), "{line}");
        told.push((name, evidence));
    }
    assert_eq!(told.iter().map(|(name, _)| *name).collect::<Vec<_>>(), STEPS, "{report}");
    let says = |step: usize, expected: &str| assert!(told[step].1.contains(expected), "{report}");
    says(0, "last_touch within 2592000000 ms");
    says(1, &format!("{link} https://try.whence.invalid/whence-try-"));
    says(2, "302 Found, a token that proves click ");
    says(3, "202, on disk as event ");
    says(4, "202, on disk as event ");
    says(5, "bot (");
    says(6, "credited to whence-try on token, from record ");
    says(7, "credited to whence-try, of lead ");
    says(8, "no row of whence-try");
}

#[test]
fn a_trial_runs_through_and_changes_nothing_that_live_reports_read() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let secrets = write_secrets(dir.path(), &format!("p/shop-1={SECRET}\n"));
    let flags = ["up", "--webhook-secrets-file", secrets.to_str().unwrap(), "--delivery-private"];
    let whence = Role::start(&data, &flags);
    whence.until_ready();
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let rules = json!([
        { "id": "now", "for": "referrer", "currency": "EUR", "percent": "10" },
        { "id": "later", "for": "referred", "currency": "EUR", "fixed_minor": 300, "hold_days": 30 },
    ]);
    let program = json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": rules,
        "risk": { "threshold": 50, "bot_click": 60 } });
    whence.call("PUT", "/v1/programs/p", &program);
    let taken: Arc<Taken> = Arc::default();
    let receiver = Receiver::new(&taken);
    let endpoint = json!({ "url": format!("http://{}/hook", receiver.address), "secrets": ["shop-1"] });
    whence.call("PUT", "/v1/programs/p/endpoints/shop", &endpoint);
    live(&whence);
    let delivered = "SELECT count() FROM delivery_states WHERE state = 'delivered'";
    whence.until_count(delivered, 9);
    whence.until_count("SELECT uniqExact(event_id) FROM subject_keys", 5);
    whence.until_count("SELECT count() FROM links FINAL", 3);

    let before = read_by_reports(&whence);
    for name in FILLED {
        assert!(before.get(name).is_some_and(|rows| !rows.is_empty()), "{name} is empty");
    }
    for link in ["made", "used"] {
        tries(&data, link);
    }
    // What names are found by is stored last.
    whence.until_count("SELECT uniqExact(event_id) FROM subject_keys WHERE NOT live", 4);
    let after = read_by_reports(&whence);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, rows) in &before {
        assert_eq!(&after[name], rows, "a trial has changed {name}");
    }
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);

    // What comes behind the trials is told and paid, and timers are sent for what is due: of the trials nothing was.
    let token = whence.click("z");
    let kim = json!({ "type": "lead", "program": "p", "id": "kim", "lead": "kim", "touches": [{ "token": token }] });
    whence.call("POST", "/v1/events", &kim);
    whence.call("POST", "/v1/events", &bought("kim"));
    whence.until_count(delivered, 14);
    let leads: Vec<_> = taken.all().iter().map(|hook| hook.body["data"]["lead"].clone()).collect();
    assert_eq!(leads.len(), 14, "{leads:?}");
    assert!(leads.iter().all(|lead| ["bob", "eve", "kim"].map(Value::from).contains(lead)), "{leads:?}");
    whence.until_count("SELECT count() FROM reward_events", 2);
    for table in ["rewards", "outbound_messages", "deliveries"] {
        let of_tests =
            format!("SELECT count() FROM {table} WHERE lead_id IN (SELECT id FROM leads WHERE NOT live)");
        assert_eq!(whence.count(&of_tests), Some(0), "{table}");
    }
    assert!(whence.stop().success());
}

#[test]
fn a_trial_that_cannot_be_made_says_which_step_did_not_work() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    let tried = |program: &str| run(&["try", program, "--data", data.to_str().unwrap()]);
    let error = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let unknown = tried("q");
    assert_eq!(unknown.status.code(), Some(1));
    let expected = "the step \"program\" did not work: the API answered 404";
    assert!(error(&unknown).contains(expected), "{unknown:?}");
    assert!(whence.stop().success());
    assert!(error(&tried("p")).contains("no whence runs in"));
}
