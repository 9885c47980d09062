//! The roles over a real broker, each in its own process.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use crate::support::brokers::{Shared, brokers};
use crate::support::clock::now_ms;
use crate::support::hooks::{Receiver, Taken, write_secrets};
use crate::support::{Role, ask, count, run, until};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use serde_json::{Value, json};
use tempfile::tempdir;

#[test]
fn up_over_kafka_counts_every_click_once() {
    let (brokers, prefix) = brokers("up");
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

    // The account is held against what the group has committed.
    let verify = || {
        let group = ["--kafka-brokers", &brokers, "--kafka-prefix", &prefix, "--kafka-group", &prefix];
        let ended = run(&[&["verify", "--data", data.to_str().unwrap()], &group[..]].concat());
        (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
    };
    let said = until("all is committed and adds up", || {
        let (code, said) = verify();
        (code == Some(0)).then_some(said)
    });
    assert!(!said.contains("the places of 0 partitions"), "{said}");
    ask(&second.address("clickhouse"), "POST", "/?database=whence", &[], "TRUNCATE TABLE blocks");
    let (code, said) = verify();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("records are committed, the account ends at 0"), "{said}");
    assert!(second.stop().success());
}

#[test]
fn roles_apart_work_together_and_share_secrets_and_registry() {
    let shared = Shared::new("roles");
    let Shared { prefix, secrets, key_file, key, .. } = &shared;
    let bus = shared.bus();

    let table = shared.make_topics(2, 2);
    assert_eq!(table.matches("created").count(), 5, "{table}");
    let checked = run(&[
        &["topics"],
        &bus[..],
        &["--clicks-partitions", "3", "--conversions-partitions", "2"],
    ]
    .concat());
    let table = String::from_utf8(checked.stdout).unwrap();
    assert!(table.contains("left as it is: partitions is 2, 3 is planned"), "{table}");
    assert!(table.contains("as planned") && table.contains("One copy of each record"), "{table}");
    let error = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(1), "{error}");
    assert!(error.contains("1 topics are not as planned"), "{error}");

    let clickhouse = shared.clickhouse();
    let url = clickhouse.address("clickhouse");
    let store = ["--clickhouse-url", &url];
    let aggregate = |name: &str| {
        let group = ["--kafka-group", prefix, "--kafka-member", name, "--kafka-session-timeout", "3s"];
        let given = ["aggregate", "--secrets-file", secrets];
        Role::start(&shared.place(name), &[&given[..], &bus, &store, &group].concat())
    };
    let aggregators = [aggregate("a"), aggregate("b")];
    until("an aggregator asks for the tables", || {
        let (_, readiness) = aggregators[0].noted_readiness()?;
        readiness.to_string().contains("run `whence migrate`").then_some(())
    });
    let migrated = run(&[&["migrate"], &store[..]].concat());
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));

    let ingest = |name: &str| {
        let given = ["ingest", "--secrets-file", secrets, "--api-admin-key-file", key_file];
        Role::start(&shared.place(name), &[&given[..], &bus].concat())
    };
    let edges = [ingest("one"), ingest("two")];
    edges.iter().chain(&aggregators).for_each(Role::until_ready);
    edges[0].set_up_world(key);
    let token = edges[1].click("x");
    for _ in 0..20 {
        edges[0].click("y");
    }
    let lead =
        json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "touches": [{ "token": token }] });
    edges[1].call_with(key, "POST", "/v1/events", &lead);

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
fn another_aggregator_goes_on_telling_where_a_killed_one_stopped() {
    const SECRET: &str = "whsec_b25lIHNlY3JldCBvZiB0aGUgdGVzdHM=";
    const LEADS: usize = 20;
    let shared = Shared::new("tell");
    let Shared { prefix, secrets, key_file, key, .. } = &shared;
    let bus = shared.bus();
    shared.make_topics(1, 4);
    let clickhouse = shared.migrated();
    let url = clickhouse.address("clickhouse");
    let store = ["--clickhouse-url", &url];
    let signing = write_secrets(shared.dir(), &format!("p/shop-1={SECRET}\n"));
    let aggregate = |name: &str| {
        let group = ["--kafka-group", prefix, "--kafka-member", name, "--kafka-session-timeout", "3s"];
        let signing = ["--webhook-secrets-file", signing.to_str().unwrap(), "--delivery-private"];
        let tries = ["--delivery-retry-first", "100ms", "--delivery-retry-max", "500ms"];
        let given = ["aggregate", "--secrets-file", secrets];
        Role::start(&shared.place(name), &[&given[..], &bus, &store, &group, &signing, &tries].concat())
    };
    let first = aggregate("a");
    let ingest = ["ingest", "--secrets-file", secrets, "--api-admin-key-file", key_file];
    let saves = ["--webhook-secrets-file", signing.to_str().unwrap(), "--delivery-private"];
    let ingest = Role::start(&shared.place("ingest"), &[&ingest[..], &bus, &saves].concat());
    [&first, &ingest].into_iter().for_each(Role::until_ready);
    ingest.set_up_world(key);
    let taken: Arc<Taken> = Arc::default();
    let address = Receiver::new(&taken).address;
    let endpoint = json!({ "url": format!("http://{address}/hook"), "secrets": ["shop-1"] });
    ingest.call_with(key, "PUT", "/v1/programs/p/endpoints/shop", &endpoint);
    let token = ingest.click("x");
    let send = |leads: std::ops::Range<usize>| {
        let of = |lead: usize| {
            let (lead, order) = (format!("lead {lead}"), format!("order {lead}"));
            [
                json!({ "type": "lead", "program": "p", "id": lead, "lead": lead, "wclid": token }),
                json!({ "type": "qualification", "program": "p", "id": order, "lead": lead, "name": "trial" }),
            ]
        };
        let events: Vec<Value> = leads.flat_map(of).collect();
        ingest.call_with(key, "POST", "/v1/events", &events.into());
    };

    // Nobody is there to be told, and then nobody to tell; another one has joined meanwhile.
    send(0..LEADS);
    clickhouse.until_count("SELECT toUInt64(count() > 20) FROM deliveries WHERE outcome = 'retry'", 1);
    let second = aggregate("b");
    second.until_ready();
    first.kill();
    let _receiver = Receiver::at(address, &taken);
    send(LEADS..LEADS + 1);
    let told = 2 * (LEADS + 1);
    until("all is told", || (taken.first().len() == told).then_some(()));
    clickhouse.until_count("SELECT count() FROM delivery_states WHERE state = 'delivered'", told as u64);
    assert_eq!(taken.all().len(), told, "nothing comes twice that was logged");
    let mut leads: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for hook in taken.first() {
        assert!(hook.is_signed_by(SECRET));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        leads.entry(text(&hook.body["data"]["lead"])).or_default().push(text(&hook.body["type"]));
    }
    assert!(leads.values().all(|types| types == &["lead.credited", "lead.qualified"]), "{leads:?}");
    let twice =
        "SELECT count() FROM (SELECT 1 FROM deliveries GROUP BY message_id, attempt HAVING count() > 1)";
    assert_eq!(count(&url, twice), Some(0), "tries are counted on");
    for role in [ingest, second] {
        let log = role.log();
        assert!(role.stop().success(), "{log}");
    }
    assert!(clickhouse.stop().success());
}

#[test]
fn a_topic_with_more_partitions_than_before_ends_the_start_of_whoever_knew_it() {
    let shared = Shared::new("parts");
    let Shared { brokers, prefix, secrets, key_file, key, .. } = &shared;
    let bus = shared.bus();
    shared.make_topics(1, 1);
    let clickhouse = shared.migrated();
    let url = clickhouse.address("clickhouse");
    let given = ["--secrets-file", secrets];
    let edge = ["--api-admin-key-file", key_file, "--ship-drain-timeout", "1s"];
    let group = ["--clickhouse-url", &url, "--kafka-session-timeout", "3s"];
    let start = || {
        let ingest = Role::start(&shared.place("ingest"), &[&["ingest"], &given[..], &bus, &edge].concat());
        let aggregate =
            Role::start(&shared.place("aggregate"), &[&["aggregate"], &given[..], &bus, &group].concat());
        [ingest, aggregate]
    };
    let roles = start();
    roles.iter().for_each(Role::until_ready);
    roles[0].set_up_world(key);
    roles[0].click("x");
    clickhouse.until_count("SELECT count() FROM clicks", 1);
    for role in roles {
        assert!(role.stop().success());
    }

    let topic = format!("{prefix}whence.clicks");
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", brokers).create::<AdminClient<_>>().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let more = [NewPartitions::new(&topic, 2)];
    runtime.block_on(admin.create_partitions(&more, &AdminOptions::new())).unwrap().remove(0).unwrap();
    for role in start() {
        let data = role.data().to_owned();
        let status = role.ended();
        let log = fs::read_to_string(data.join("stderr")).unwrap();
        assert_eq!(status.code(), Some(1), "{log}");
        let last = log.lines().last().unwrap();
        assert!(last.contains(&format!("the topic {topic} had 1 partitions")), "{last}");
        assert!(last.contains("has 2 now"), "{last}");
    }
    assert!(clickhouse.stop().success());
}

#[test]
fn an_edge_that_starts_without_kafka_answers_the_links_it_knew() {
    let shared = Shared::new("alone");
    let Shared { brokers, prefix, secrets, key_file, key, .. } = &shared;
    let ingest = |name: &str, brokers: &str| {
        let keys = ["--secrets-file", secrets, "--api-admin-key-file", key_file];
        let bus = ["--kafka-brokers", brokers, "--kafka-prefix", prefix, "--ship-drain-timeout", "1s"];
        Role::start(&shared.place(name), &[&["ingest"], &keys[..], &bus].concat())
    };
    shared.make_topics(1, 1);
    let first = ingest("data", brokers);
    first.until_ready();
    first.set_up_world(key);
    first.click("x");
    assert!(first.stop().success());

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let second = ingest("data", &nobody);
    second.until_edge();
    second.click("x");
    let (status, readiness) = second.readiness();
    assert_eq!((status, &readiness["degraded"]), (200, &json!(true)), "{readiness}");
    assert!(second.stop().success());

    let stranger = ingest("new", &nobody);
    stranger.until_edge();
    let (status, readiness) = stranger.readiness();
    assert_eq!(status, 503, "an edge that knows no links takes no traffic: {readiness}");
    assert!(stranger.stop().success());
}

#[test]
fn finance_and_those_who_ask_work_over_brokers_as_on_one_machine() {
    let shared = Shared::new("desk");
    let Shared { prefix, secrets, key_file, key, .. } = &shared;
    let bus = shared.bus();
    shared.make_topics(1, 1);
    let clickhouse = shared.migrated();
    let url = clickhouse.address("clickhouse");
    let store = ["--clickhouse-url", &url];
    let start = |name: &str, flags: &[&str]| {
        let given = [name, "--secrets-file", secrets];
        Role::start(&shared.place(name), &[&given, &bus[..], flags].concat())
    };
    let ingest = start("ingest", &["--api-admin-key-file", key_file]);
    let aggregate = start(
        "aggregate",
        &[&store[..], &["--kafka-group", prefix, "--kafka-session-timeout", "3s"]].concat(),
    );
    let console = start("console", &store);
    [&ingest, &aggregate, &console].into_iter().for_each(Role::until_ready);
    ingest.set_up_world(key);
    let order = json!({ "id": "order", "for": "referrer", "currency": "EUR", "percent": "10" });
    let program = json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": [order] });
    ingest.call_with(key, "PUT", "/v1/programs/p", &program);
    let token = ingest.click("x");
    // Later than the click, whatever the clock's resolution.
    let soon = now_ms() + 1000;
    for event in [
        json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "touches": [{ "token": token }],
            "occurred_at": soon }),
        json!({ "type": "qualification", "program": "p", "id": "2", "lead": "bob", "name": "purchase",
            "value": { "minor": 1000, "currency": "EUR" } }),
    ] {
        ingest.call_with(key, "POST", "/v1/events", &event);
    }
    // By a timer that the aggregator has sent through the topic.
    clickhouse.until_count("SELECT count() FROM payouts WHERE amount_minor = 100", 1);

    let told = |arguments: &[&str]| {
        let output = run(&[arguments, &store, &["--data", &shared.path("tools")]].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let holds = |text: &str, expected: &str| assert!(text.contains(expected), "no {expected:?} in {text}");
    let (api, file) = (ingest.address("api"), shared.path("payouts.csv"));
    let desk = ["--api-url", &api, "--api-key-file", key_file, "--by", "kim"];
    told(&["payouts", "export", "p", "--output", &file]);
    let mark = [&["payouts", "mark", "p", &file, "--reference", "SEPA-1"], &desk[..]].concat();
    holds(&told(&mark), "issued");
    holds(&told(&mark), "unchanged");
    holds(
        &told(&["report", "rewards", "--program", "p", "--format", "csv"]),
        "\"ann\",\"referrer\",\"EUR\",0,0,0,100",
    );
    let lineage = told(&["lineage", "p", "bob", "--secrets-file", secrets]);
    holds(&lineage, "ann gets the credit");
    holds(&lineage, "under the reference \"SEPA-1\" (by kim)");
    holds(&told(&["status", "p", "--referrer", "ann"]), "order issued 100 EUR");
    let replayed = told(&["replay", "p", "--window", "0h"]);
    let words: Vec<&str> = replayed.split_whitespace().collect();
    holds(&words.join(" "), "ann referrer EUR 100 0 -100");
    let reward = "SELECT any(reward_id) FROM rewards FORMAT TSV";
    let reward = ask(&url, "POST", "/?database=whence", &[], reward).body;
    let back =
        [&["rewards", "claw-back", "p", reward.trim(), "--reason", "a chargeback"], &desk[..]].concat();
    holds(&told(&back), "applied");

    let made =
        ingest.call_with(key, "POST", "/v1/keys", &json!({ "scopes": ["reports:read"], "program": "p" }));
    let reader = [("authorization", format!("Bearer {}", made["key"].as_str().unwrap()))];
    let asked = |path: &str| {
        let answer = until("the console knows the key", || {
            let answer =
                ask(&console.address("console"), "GET", &format!("/v1/programs/p/{path}"), &reader, "");
            (answer.status != 401).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    assert_eq!(asked("rewards")["items"][0]["clawed_back"], json!(100));
    assert_eq!(asked("payouts")["items"], json!([]));
    assert_eq!(asked("status?referrer=ann")["items"][0]["rewards"][0]["reason"], json!("a chargeback"));
    holds(&asked("lineage/bob").to_string(), "a chargeback");
    assert_eq!(asked("funnel")["items"][0]["value_minor"], json!({ "EUR": 1000 }));
    for role in [console, aggregate, ingest, clickhouse] {
        let log = role.log();
        assert!(role.stop().success(), "{log}");
    }
}
