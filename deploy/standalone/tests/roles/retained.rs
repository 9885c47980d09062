//! What `whence up` keeps of clicks that are older than it is told to keep: by other clocks, what takes months.

use std::fs;
use std::path::Path;

use crate::support::clock::OtherClock;
use crate::support::{Role, run, until};
use serde_json::{Value, json};
use tempfile::tempdir;

const DAY_S: i64 = 86_400;
const CLICKS: &str = "SELECT count() FROM clicks";

fn told(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let ended = run(&[arguments, &["--data", data.to_str().unwrap()]].concat());
    let (out, errors) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    (ended.status.code(), format!("{out}{errors}"))
}

fn component(whence: &Role) -> Value {
    let (_, readiness) = whence.readiness();
    let components = readiness["components"].as_array().unwrap();
    let found = components.iter().find(|component| component["name"] == "aggregator.retention");
    found.cloned().unwrap_or(Value::Null)
}

#[test]
fn clicks_of_months_ago_go_but_for_those_that_a_program_needs_and_everybody_knows() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let key = |data: &Path| fs::read_to_string(data.join("admin-key")).unwrap();

    // Clicks and a lead of 200 days ago, of which the program gives credit for 300.
    let whence = Role::start_in(OtherClock::off_by_s(dir.path(), -200 * DAY_S).environment(), &data, &["up"]);
    whence.until_ready();
    whence.set_up_world(&key(&data));
    let program = |days: i64| json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "window_ms": days * DAY_S * 1000 });
    whence.call_with(&key(&data), "PUT", "/v1/programs/p", &program(300));
    let token = whence.click("x");
    let lead = json!({ "type": "lead", "program": "p", "id": "form-1", "lead": "42", "wclid": token });
    whence.call_with(&key(&data), "POST", "/v1/events", &lead);
    whence.until_count("SELECT count() FROM leads", 1);
    whence.until_count(CLICKS, 1);
    whence.until_count(
        "SELECT toUInt64(sum(clicks + other_clicks) + sum(lead_events)) FROM funnel_quarter_hourly",
        2,
    );
    let said = whence.rows("SELECT sum(clicks + other_clicks), sum(lead_events) FROM funnel_quarter_hourly");
    assert!(whence.stop().success());

    let keep = [
        "up",
        "--click-retention",
        "100d",
        "--address-retention",
        "7d",
        "--retention-every",
        "1s",
        "--verify-every",
        "1s",
    ];
    let whence = Role::start(&data, &keep);
    whence.until_ready();
    let reason =
        until("the setting does not hold", || component(&whence)["reason"].as_str().map(str::to_owned));
    assert!(
        reason.contains("click-retention is 100 days")
            && reason.contains("\"p\"")
            && reason.contains("300 days"),
        "{reason}"
    );
    whence.click("y");
    whence.until_count(CLICKS, 2);
    assert_eq!(whence.count("SELECT count() FROM clicks WHERE address != 0 AND prefix != 0"), Some(2));
    let (code, lineage) = told(&data, &["lineage", "p", "42"]);
    assert_eq!(code, Some(0), "{lineage}");
    assert!(lineage.contains("is stored, and looked like a person's"), "{lineage}");
    let replay = ["replay", "p", "--model", "first_touch", "--window", "300d"];
    let (_, replayed) = told(&data, &replay);

    // The program gives credit for less: now they go.
    whence.call_with(&key(&data), "PUT", "/v1/programs/p", &program(7));
    whence.until_count(CLICKS, 1);
    until("the setting holds", || (component(&whence)["ready"] == true).then_some(()));
    let (code, verified) = told(&data, &["verify", "--deep"]);
    assert_eq!(code, Some(0), "{verified}");
    let (code, lineage) = told(&data, &["lineage", "p", "42"]);
    assert_eq!(code, Some(0), "{lineage}");
    let today = whence.rows("SELECT toString(toDate(now('UTC')))");
    assert!(
        lineage.contains("is past retention: clicks of its month were dropped")
            && lineage.contains(today.trim()),
        "{lineage}"
    );
    assert!(lineage.contains("past_retention"), "{lineage}");
    assert_eq!(told(&data, &replay).1, replayed, "a replay reads no clicks");
    let counted = whence
        .rows("SELECT sum(clicks + other_clicks), sum(lead_events) FROM funnel_quarter_hourly WHERE quarter_hour < now() - INTERVAL 100 DAY");
    assert_eq!(counted, said, "rollups stay");
    assert_eq!(whence.count("SELECT toUInt64(sum(missing) + sum(extra)) FROM reconciliation"), Some(0));
    assert!(whence.counter("whence_retention_rows_dropped_total") >= 1);
    assert_eq!(whence.counter("whence_account_differences"), 0);
    assert_eq!(whence.count("SELECT count() FROM clicks WHERE address != 0"), Some(1), "today's click");
    // A month that somebody else takes is still missed.
    let month = whence.rows("SELECT toYYYYMM(now('UTC'))");
    let taken = format!("ALTER TABLE clicks DROP PARTITION {}", month.trim());
    let _ = whence.rows(&taken);
    let (code, verified) = told(&data, &["verify"]);
    assert_eq!(code, Some(1), "{verified}");
    assert!(verified.contains(&format!("clicks {}", month.trim())), "{verified}");
}
