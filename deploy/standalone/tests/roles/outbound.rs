//! What leaves whence: signed webhooks from `whence up`, and the topic of facts.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::brokers::brokers;
use crate::support::hooks::{Receiver, Taken, write_secrets};
use crate::support::{Role, ask, is_running, run, until};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tempfile::tempdir;
use uuid::Uuid;
use whence_schemas::event::{self, Fact};

const ONE: &str = "whsec_b25lIHNlY3JldCBvZiB0aGUgdGVzdHM=";
/// Leads of one life of the process.
const LEADS: usize = 60;
const TWO: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3Rz";

#[test]
fn a_referral_is_told_in_order_through_a_kill_an_outage_and_a_new_secret() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let secrets = write_secrets(dir.path(), &format!("p/shop-1={ONE}\np/shop-2={TWO}\n"));
    let flags = ["up", "--webhook-secrets-file", secrets.to_str().unwrap(), "--delivery-private"];
    let tries = ["--delivery-retry-first", "100ms", "--delivery-retry-max", "500ms"];
    let flags = [&flags[..], &tries].concat();
    let whence = Role::start(&data, &flags);
    whence.until_ready();
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    let rule = json!({ "id": "order", "for": "referrer", "qualification": "purchase", "currency": "EUR", "fixed_minor": 500 });
    let program = json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": [rule] });
    whence.call_with(&key, "PUT", "/v1/programs/p", &program);
    let taken: Arc<Taken> = Arc::default();
    let receiver = Receiver::new(&taken);
    let address = receiver.address;
    let endpoint = |secrets: Value| json!({ "url": format!("http://{address}/hook?token=not-in-a-log"), "secrets": secrets });
    whence.call_with(&key, "PUT", "/v1/programs/p/endpoints/shop", &endpoint(json!(["shop-1"])));

    let token = whence.click("x");
    let send = |whence: &Role, event: Value| {
        whence.call_with(&key, "POST", "/v1/events", &event);
    };
    send(&whence, json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "wclid": token }));
    send(
        &whence,
        json!({ "type": "qualification", "program": "p", "id": "order-1", "lead": "bob", "name": "purchase",
            "value": { "amount": "19.99", "currency": "EUR" } }),
    );
    let mut told = vec!["lead.credited", "lead.qualified", "reward.accrued", "reward.approved"];
    until("the reward is approved and told", || (taken.types() == told).then_some(()));
    let first = taken.first();
    assert!(first.iter().all(|hook| hook.is_signed_by(ONE) && !hook.is_signed_by(TWO)));
    let credited = &first[0].body["data"];
    assert_eq!(
        (&credited["lead"], &credited["referrer"], &credited["evidence"]),
        (&json!("bob"), &json!("ann"), &json!("token"))
    );
    let approved = &first[3].body["data"];
    assert_eq!((&approved["amount_minor"], &approved["lead_id"]), (&json!(500), &credited["lead_id"]));

    // Nobody is there to be told what happens next; and whence dies over it.
    drop(receiver);
    let reward = approved["reward_id"].clone();
    send(
        &whence,
        json!({ "type": "reward_decision", "program": "p", "id": "d1", "reward": reward, "decision": "issue",
            "decided_by": "finance", "reference": "pay-1" }),
    );
    send(
        &whence,
        json!({ "type": "disqualification", "program": "p", "id": "r1", "lead": "bob", "reason": "refund" }),
    );
    whence.until_count("SELECT toUInt64(count() > 0) FROM deliveries WHERE outcome = 'retry'", 1);
    whence.until_count("SELECT toUInt64(sum(clawed_back)) FROM reward_balance", 500);
    whence.call_with(&key, "PUT", "/v1/programs/p/endpoints/shop", &endpoint(json!(["shop-2", "shop-1"])));
    let (engine, log) = (whence.engine_pid(), whence.log());
    whence.kill();
    until("the engine ends with its parent", || (!is_running(engine)).then_some(()));

    let whence = Role::start(&data, &flags);
    whence.until_ready();
    let tries = whence.count("SELECT count() FROM deliveries").unwrap();
    until("it goes on trying", || (whence.count("SELECT count() FROM deliveries")? > tries).then_some(()));
    let _receiver = Receiver::at(address, &taken);
    told.extend(["reward.issued", "lead.disqualified", "reward.clawed_back"]);
    until("all is told", || (taken.types() == told).then_some(()));
    let last = taken.first().pop().unwrap();
    assert!(last.is_signed_by(ONE) && last.is_signed_by(TWO), "while a secret is replaced, both sign");
    assert_eq!(last.body["data"]["amount_minor"], 500);
    whence.until_count("SELECT count() FROM delivery_states WHERE state = 'delivered'", 7);
    whence.until_count(
        "SELECT toUInt64(max(attempts) > 2) FROM delivery_states WHERE type = 'reward.issued'",
        1,
    );
    for log in [log, whence.log()] {
        assert!(!log.contains("not-in-a-log") && !log.contains("whsec"), "{log}");
    }
    assert!(whence.stop().success());
}

#[test]
fn what_was_taken_just_before_a_kill_comes_again_under_its_id_and_nothing_is_lost() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let secrets = write_secrets(dir.path(), &format!("p/shop-1={ONE}\n"));
    let flags = ["up", "--webhook-secrets-file", secrets.to_str().unwrap(), "--delivery-private"];
    let taken: Arc<Taken> = Arc::default();
    let receiver = Receiver::new(&taken);
    let mut whence = Role::start(&data, &flags);
    whence.until_ready();
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    let endpoint = json!({ "url": format!("http://{}/hook", receiver.address), "secrets": ["shop-1"] });
    whence.call_with(&key, "PUT", "/v1/programs/p/endpoints/shop", &endpoint);
    let token = whence.click("x");
    for life in 1..=2 {
        let before = taken.all().len();
        taken.victim.store(whence.pid(), Ordering::SeqCst);
        let engine = whence.engine_pid();
        let lead = format!("lead {life}");
        let events = json!([
            { "type": "lead", "program": "p", "id": lead, "lead": lead, "wclid": token },
            { "type": "qualification", "program": "p", "id": format!("{lead}/trial"), "lead": lead, "name": "trial" },
        ]);
        whence.call_with(&key, "POST", "/v1/events", &events);
        assert_eq!(whence.ended().signal(), Some(libc::SIGKILL));
        until("the engine ends with its parent", || (!is_running(engine)).then_some(()));
        whence = Role::start(&data, &flags);
        whence.until_ready();
        until("all is told", || (taken.types().len() == 2 * life).then_some(()));
        // Of a lead only the newest can come twice, before the next one.
        let came = taken.all().split_off(before);
        let types: Vec<_> = came.iter().map(|hook| hook.body["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["lead.credited", "lead.credited", "lead.qualified"]);
        assert_eq!((came[0].id(), &came[0].raw), (came[1].id(), &came[1].raw));
        assert!(came.iter().all(|hook| hook.is_signed_by(ONE)));
        whence.until_count("SELECT count() FROM deliveries WHERE outcome = 'delivered'", 2 * life as u64);
    }
    assert!(whence.stop().success());
}

#[test]
fn what_was_given_up_is_sent_again_in_order_under_its_ids_and_once() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let secrets = write_secrets(dir.path(), &format!("p/shop-1={ONE}\n"));
    let flags = ["--webhook-secrets-file", secrets.to_str().unwrap(), "--delivery-private"];
    let whence = Role::start(&data, &[&["up"][..], &flags].concat());
    whence.until_ready();
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    let taken: Arc<Taken> = Arc::default();
    let receiver = Receiver::new(&taken);
    let endpoint = json!({ "url": format!("http://{}/hook", receiver.address), "secrets": ["shop-1"] });
    whence.call_with(&key, "PUT", "/v1/programs/p/endpoints/shop", &endpoint);
    let token = whence.click("x");
    taken.status.store(410, Ordering::SeqCst);
    let events = json!([
        { "type": "lead", "program": "p", "id": "1", "lead": "bob", "wclid": token },
        { "type": "qualification", "program": "p", "id": "2", "lead": "bob", "name": "trial" },
    ]);
    whence.call_with(&key, "POST", "/v1/events", &events);
    whence.until_count("SELECT count() FROM dead_deliveries WHERE error = 'gone' AND attempts = 1", 2);

    let resend = |more: &[&str]| {
        let what = ["deliveries", "resend", "p", "shop", "--data", data.to_str().unwrap()];
        let output = run(&[&what[..], &flags, more].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, told) = resend(&[]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("gone 410") && told.ends_with("1 failed\n1 waits\n"), "{told}");
    taken.status.store(0, Ordering::SeqCst);
    let before = taken.first();
    let (status, told) = resend(&["--message", &before[0].id()]);
    assert!(status == Some(0) && told.ends_with("1 delivered\n"), "{told}");
    taken.refusals.store(1, Ordering::SeqCst);
    let (status, told) = resend(&[]);
    assert!(status == Some(0) && told.ends_with("1 delivered\n"), "{told}");
    let all = taken.all();
    let ids: Vec<_> = all.iter().map(|hook| hook.id()).collect();
    let (credited, qualified) = (before[0].id(), before[1].id());
    assert_eq!(ids, [&credited, &qualified, &credited, &credited, &qualified, &qualified].map(String::clone));
    assert!(all.iter().all(|hook| hook.is_signed_by(ONE)));
    assert_eq!((&all[3].raw, &all[5].raw), (&all[0].raw, &all[1].raw));
    whence.until_count("SELECT count() FROM delivery_states WHERE state = 'delivered' AND attempts = 3", 2);
    assert_eq!(resend(&[]).0, Some(0), "nothing is left");
    assert_eq!(taken.all().len(), 6);
    assert!(whence.stop().success());
}

#[test]
fn what_does_not_fit_waits_and_each_bound_that_is_met_is_counted() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let secrets = write_secrets(dir.path(), &format!("p/shop-1={ONE}\n"));
    let flags = ["up", "--webhook-secrets-file", secrets.to_str().unwrap(), "--delivery-private"];
    let bounds = ["--endpoint-messages-max", "4", "--deliveries-max", "2", "--delivery-retry-first", "100ms"];
    let whence = Role::start(&data, &[&flags[..], &bounds].concat());
    whence.until_ready();
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    let taken: Arc<Taken> = Arc::default();
    let receiver = Receiver::new(&taken);
    taken.answer_bytes.store(100_000, Ordering::SeqCst);
    taken.refusals.store(1, Ordering::SeqCst);
    let endpoint = json!({ "url": format!("http://{}/hook", receiver.address), "secrets": ["shop-1"] });
    whence.call_with(&key, "PUT", "/v1/programs/p/endpoints/shop", &endpoint);
    let token = whence.click("x");
    let lead = |number: usize| json!({ "type": "lead", "program": "p", "id": number.to_string(), "lead": number.to_string(), "wclid": token });
    let leads: Vec<Value> = (0..LEADS).map(lead).collect();
    whence.call_with(&key, "POST", "/v1/events", &leads.into());
    whence.until_count("SELECT count() FROM delivery_states WHERE state = 'delivered'", LEADS as u64);
    assert_eq!((taken.first().len(), taken.all().len()), (LEADS, LEADS + 1));
    let metrics = ask(&whence.address("admin"), "GET", "/metrics", &[], "").body;
    for bound in ["messages", "requests", "answer_bytes"] {
        assert!(metrics.contains(&format!("whence_delivery_bounds_total{{bound=\"{bound}\"}}")), "{metrics}");
    }
    assert!(metrics.contains("whence_delivery_failures_total{error=\"status\"} 1"), "{metrics}");
    assert!(whence.stop().success());
}

/// All facts of the topic so far, with their keys.
fn facts(brokers: &str, topic: &str) -> Vec<(Vec<u8>, Fact)> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "nobody").set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut found = Vec::new();
    loop {
        match consumer.poll(Duration::from_secs(30)).expect("the broker answers") {
            Ok(record) => {
                let fact = event::decode(record.payload().unwrap()).unwrap();
                found.push((record.key().unwrap().to_vec(), fact));
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => return found,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_announced_is_on_the_topic_of_facts_and_goes_on_after_a_restart() {
    let (brokers, prefix) = brokers("facts");
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let kafka = ["up", "--kafka-brokers", &brokers, "--kafka-prefix", &prefix, "--kafka-group", &prefix];
    let topics =
        ["--clicks-partitions", "1", "--conversions-partitions", "1", "--kafka-session-timeout", "3s"];
    let flags = [&kafka[..], &topics].concat();
    let topic = format!("{prefix}whence.facts");
    let unique = |found: &[(Vec<u8>, Fact)]| {
        let ids: HashSet<_> = found.iter().map(|(_, fact)| fact.id.clone()).collect();
        ids.len()
    };
    let mut known: Vec<(Vec<u8>, Fact)> = Vec::new();
    for life in 0..3 {
        let whence = Role::start(&data, &flags);
        whence.until_ready();
        let key = fs::read_to_string(data.join("admin-key")).unwrap();
        if life == 0 {
            whence.set_up_world(&key);
        }
        let token = whence.click("x");
        let of = |number: usize| {
            let lead = format!("lead-{life}-{number}");
            let came = json!({ "type": "lead", "program": "p", "id": lead, "lead": lead, "wclid": token });
            let order = json!({ "type": "qualification", "program": "p", "id": format!("{lead}/trial"), "lead": lead, "name": "trial" });
            [came, order]
        };
        let events: Vec<Value> = (0..LEADS).flat_map(of).collect();
        whence.call_with(&key, "POST", "/v1/events", &events.into());
        // In its second life it is killed while it writes.
        let wanted = if life == 1 { unique(&known) + 1 } else { 2 * LEADS * (life + 1) };
        known = until("the facts are there", || {
            let found = facts(&brokers, &topic);
            (unique(&found) >= wanted).then_some(found)
        });
        match life {
            1 => whence.kill(),
            2 => {
                let stored = "SELECT DISTINCT toString(message_id) FROM outbound_messages FORMAT TSV";
                let stored =
                    ask(&whence.address("clickhouse"), "POST", "/?database=whence", &[], stored).body;
                let stored: HashSet<String> = stored.lines().map(str::to_owned).collect();
                let told: HashSet<String> =
                    known.iter().map(|(_, fact)| Uuid::from_slice(&fact.id).unwrap().to_string()).collect();
                assert_eq!(told, stored, "nothing is lost, and nothing is there that is not stored");
                assert!(whence.stop().success());
            }
            _ => assert!(whence.stop().success()),
        }
    }
    let mut by_lead: HashMap<_, Vec<&str>> = HashMap::new();
    let mut seen = HashSet::new();
    for (key, fact) in &known {
        assert!(key[..] == fact.lead_id[..] && fact.program == "p");
        if seen.insert(fact.id.clone()) {
            by_lead.entry(key).or_default().push(&fact.r#type);
        }
    }
    assert_eq!(by_lead.len(), 3 * LEADS);
    assert!(by_lead.values().all(|types| types == &["lead.credited", "lead.qualified"]), "{by_lead:?}");
    assert!(known.len() <= 8 * LEADS, "only what a kill left unremembered comes twice");
}

#[test]
fn an_endpoint_whose_secret_is_not_there_is_said_and_tried_again() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let secrets = write_secrets(dir.path(), &format!("p/lost={ONE}\n"));
    let flags = ["up", "--delivery-private", "--webhook-secrets-file", secrets.to_str().unwrap()];
    let whence = Role::start(&data, &flags);
    whence.until_ready();
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    let endpoint = json!({ "url": "http://127.0.0.1:1/", "secrets": ["lost"] });
    whence.call_with(&key, "PUT", "/v1/programs/p/endpoints/shop", &endpoint);
    assert!(whence.stop().success());
    let whence = Role::start(&data, &flags[..2]);
    whence.until_ready();
    let metrics = |line: &str| {
        let metrics = ask(&whence.address("admin"), "GET", "/metrics", &[], "").body;
        metrics.lines().any(|found| found == line).then_some(())
    };
    until("it says that it lacks the secret", || metrics("whence_webhook_secrets_lacking 1"));
    assert!(whence.log().contains("p/lost"), "{}", whence.log());
    let token = whence.click("x");
    let lead = json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "wclid": token });
    whence.call_with(&key, "POST", "/v1/events", &lead);
    whence
        .until_count("SELECT count() FROM delivery_states WHERE state = 'retry' AND error = 'no_secret'", 1);
    assert!(metrics("whence_deliveries_total{outcome=\"retry\"} 1").is_some());
    assert!(whence.log().contains("this process was not given a secret"), "{}", whence.log());
    assert!(whence.stop().success());
}
