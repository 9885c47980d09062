//! The roles over a real broker, each in its own process.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::json;
use support::{Role, count, run, until};
use tempfile::tempdir;

/// The broker, and topics that no other run uses.
fn kafka(name: &str) -> (String, String) {
    let brokers = std::env::var("WHENCE_TEST_KAFKA_BROKERS")
        .expect("WHENCE_TEST_KAFKA_BROKERS names a broker for tests; `make test` starts one");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    (brokers, format!("{name}-{}-{now}.", std::process::id()))
}

fn admin_key(dir: &Path) -> (String, String) {
    let (file, key) = (dir.join("admin"), "an admin key that nobody can guess, 0123456789");
    fs::write(&file, key).unwrap();
    (file.to_str().unwrap().to_owned(), key.to_owned())
}

#[test]
fn up_over_kafka_counts_every_click_once() {
    let (brokers, prefix) = kafka("up");
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let flags = [
        "up",
        "--kafka-brokers",
        &brokers,
        "--kafka-prefix",
        &prefix,
        "--kafka-group",
        &prefix,
        "--clicks-partitions",
        "2",
        "--conversions-partitions",
        "1",
        "--kafka-session-timeout",
        "3s",
    ];
    let first = Role::start(&data, &flags);
    first.until_ready();
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    first.set_up_world(&key);
    let token = first.click("x");
    first.until_count("SELECT count() FROM clicks", 1);
    assert!(first.stop().success());

    let second = Role::start(&data, &flags);
    second.until_ready();
    let lead =
        json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "touches": [{ "token": token }] });
    second.call_with(&key, "POST", "/v1/events", &lead);
    second.click("y");
    second.until_count("SELECT count() FROM clicks", 2);
    second.until_count("SELECT count() FROM leads WHERE evidence = 'token'", 1);
    second.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    second.until_count("SELECT uniqExact(link) FROM links", 3);
    assert!(second.stop().success());
}

#[test]
fn roles_apart_work_together_and_share_secrets_and_registry() {
    let (brokers, prefix) = kafka("roles");
    let dir = tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let secrets = place("secrets.toml");
    let secrets = secrets.to_str().unwrap();
    assert!(run(&["secrets", "new", secrets]).status.success());
    let (key_file, key) = admin_key(dir.path());
    let bus = ["--kafka-brokers", &brokers, "--kafka-prefix", &prefix];

    let topics = ["--clicks-partitions", "2", "--conversions-partitions", "2", "--topic-replication", "1"];
    let made = run(&[&["topics"], &bus[..], &topics].concat());
    let table = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success() && table.matches("created").count() == 4, "{table}");
    let checked = run(&[
        &["topics"],
        &bus[..],
        &["--clicks-partitions", "3", "--conversions-partitions", "2"],
    ]
    .concat());
    let table = String::from_utf8(checked.stdout).unwrap();
    assert!(table.contains("left as it is, 3 were planned") && table.contains("as planned"), "{table}");

    let clickhouse = Role::start(&place("clickhouse"), &["clickhouse"]);
    clickhouse.until_ready();
    let url = clickhouse.address("clickhouse");
    let store = ["--clickhouse-url", &url];
    let aggregate = |name: &str| {
        let group = ["--kafka-group", &prefix, "--kafka-member", name, "--kafka-session-timeout", "3s"];
        let given = ["aggregate", "--secrets-file", secrets];
        Role::start(&place(name), &[&given[..], &bus, &store, &group].concat())
    };
    let aggregators = [aggregate("a"), aggregate("b")];
    until("an aggregator asks for the tables", || {
        let (_, readiness) = aggregators[0].noted_readiness()?;
        readiness.to_string().contains("run `whence migrate`").then_some(())
    });
    let migrated = run(&[&["migrate"], &store[..]].concat());
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));

    let ingest = |name: &str| {
        let given = ["ingest", "--secrets-file", secrets, "--api-admin-key-file", &key_file];
        Role::start(&place(name), &[&given[..], &bus].concat())
    };
    let edges = [ingest("one"), ingest("two")];
    edges.iter().chain(&aggregators).for_each(Role::until_ready);
    edges[0].set_up_world(&key);
    let token = edges[1].click("x");
    for _ in 0..20 {
        edges[0].click("y");
    }
    let lead =
        json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "touches": [{ "token": token }] });
    edges[1].call_with(&key, "POST", "/v1/events", &lead);

    clickhouse.until_count("SELECT count() FROM clicks", 21);
    clickhouse.until_count("SELECT count() FROM leads WHERE evidence = 'token' AND referrer = 'ann'", 1);
    clickhouse.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    clickhouse.until_count("SELECT uniqExact(link) FROM links", 3);
    for role in edges.into_iter().chain(aggregators) {
        let log = role.log();
        assert!(role.stop().success(), "{log}");
    }
    assert_eq!(count(&url, "SELECT count() FROM clicks"), Some(21));
    assert!(clickhouse.stop().success());
}

#[test]
fn an_edge_that_starts_without_kafka_answers_the_links_it_knew() {
    let (brokers, prefix) = kafka("alone");
    let dir = tempdir().unwrap();
    let (data, secrets) = (dir.path().join("data"), dir.path().join("secrets.toml"));
    let secrets = secrets.to_str().unwrap();
    assert!(run(&["secrets", "new", secrets]).status.success());
    let (key_file, key) = admin_key(dir.path());
    let ingest = |data: &Path, brokers: &str| {
        let keys = ["--secrets-file", secrets, "--api-admin-key-file", &key_file];
        let bus = ["--kafka-brokers", brokers, "--kafka-prefix", &prefix, "--ship-drain-timeout", "1s"];
        Role::start(data, &[&["ingest"], &keys[..], &bus].concat())
    };
    let made = run(&["topics", "--kafka-brokers", &brokers, "--kafka-prefix", &prefix]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let first = ingest(&data, &brokers);
    first.until_ready();
    first.set_up_world(&key);
    first.click("x");
    assert!(first.stop().success());

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let second = ingest(&data, &nobody);
    second.until_edge();
    second.click("x");
    let (status, readiness) = second.readiness();
    assert_eq!((status, &readiness["degraded"]), (200, &json!(true)), "{readiness}");
    assert!(second.stop().success());

    let stranger = ingest(&dir.path().join("new"), &nobody);
    stranger.until_edge();
    let (status, readiness) = stranger.readiness();
    assert_eq!(status, 503, "an edge that knows no links takes no traffic: {readiness}");
    assert!(stranger.stop().success());
}
