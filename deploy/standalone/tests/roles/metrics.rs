//! What a process shows under `/metrics`.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Role, ask, brokers::Shared};

fn shown(role: &Role) -> String {
    ask(&role.address("admin"), "GET", "/metrics", &[], "").body
}

/// Prometheus' own linter finds nothing.
fn check(text: &str) {
    let promtool = std::env::var_os("WHENCE_TEST_PROMTOOL")
        .expect("WHENCE_TEST_PROMTOOL names promtool: deploy/prometheus/fetch-promtool prints it");
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut linter = command.spawn().unwrap();
    linter.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = linter.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn a_process_of_everything_shows_losses_as_0_before_there_are_any_and_nothing_that_a_linter_minds() {
    let dir = TempDir::new().unwrap();
    let whence = Role::up(dir.path());
    whence.until_ready();
    let before = shown(&whence);
    for line in [
        "whence_clicks_lost_total{reason=\"disk_full\"} 0",
        "whence_journal_refused_commits_total{reason=\"quota\"} 0",
        "whence_webhook_dead_letters_dropped_total{why=\"too_many\"} 0",
        "whence_delivery_log_failures_total 0",
        "whence_clickhouse_waits_given_up_total 0",
        "whence_retention_failures_total 0",
        "whence_backup_snapshots_total{outcome=\"refused\"} 0",
        "whence_panics_total 0",
    ] {
        assert!(before.lines().any(|shown| shown == line), "no {line} in\n{before}");
    }
    let key = std::fs::read_to_string(whence.data().join("admin-key")).unwrap();
    whence.set_up_world(key.trim());
    whence.click("x");
    let lead = json!({ "type": "lead", "program": "p", "id": "1", "lead": "7", "code": "x" });
    whence.call_with(key.trim(), "POST", "/v1/events", &lead);
    whence.until_count("SELECT count() FROM leads", 1);
    check(&shown(&whence));
    assert!(whence.stop().success());
}

#[test]
fn roles_over_kafka_show_nothing_that_a_linter_minds() {
    let shared = Shared::new("metrics");
    shared.make_topics(1, 1);
    let clickhouse = shared.migrated();
    let bus = shared.bus();
    let Shared { secrets, key_file, .. } = &shared;
    let ingest = ["ingest", "--secrets-file", secrets, "--api-admin-key-file", key_file];
    let ingest = Role::start(&shared.place("ingest"), &[&ingest[..], &bus].concat());
    let url = clickhouse.address("clickhouse");
    let aggregate = ["aggregate", "--secrets-file", secrets, "--clickhouse-url", &url];
    let aggregate = Role::start(&shared.place("aggregate"), &[&aggregate[..], &bus].concat());
    for role in [&ingest, &aggregate, &clickhouse] {
        role.until_ready();
        check(&shown(role));
    }
    assert!(shown(&ingest).contains("whence_ship_lost_records_total{journal="), "{}", shown(&ingest));
    for role in [ingest, aggregate, clickhouse] {
        assert!(role.stop().success());
    }
}
