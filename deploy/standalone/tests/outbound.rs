//! What leaves whence: signed webhooks from `whence up`, and the topic of facts.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

mod support;

use std::borrow::Cow;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use support::{Role, ask, is_running, until};
use tempfile::tempdir;
use whence_ingest::webhooks::{Delivery, Provider};
use whence_schemas::event::{self, Fact, WebhookSource};
use whence_schemas::time::UnixMs;

const ONE: &str = "whsec_b25lIHNlY3JldCBvZiB0aGUgdGVzdHM=";
const TWO: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3Rz";

/// A webhook as it came.
#[derive(Clone)]
struct Hook {
    headers: HeaderMap,
    raw: Vec<u8>,
    body: Value,
}

impl Hook {
    /// By whence's own reader of Standard Webhooks.
    fn is_signed_by(&self, secret: &str) -> bool {
        let at: i64 = self.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        let delivery = Delivery {
            method: "POST",
            uri: Cow::Borrowed("/hook"),
            query: None,
            headers: &self.headers,
            body: &self.raw,
            now: UnixMs(at * 1000),
        };
        let source = WebhookSource::default();
        Provider::StandardWebhooks.verify(&delivery, &source, &[secret.as_bytes()]).is_ok()
    }

    fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }
}

/// Takes webhooks on a thread, until it is dropped.
struct Receiver {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Hook>>>,
    stop: Arc<Mutex<bool>>,
}

impl Receiver {
    fn at(address: SocketAddr, taken: &Arc<Mutex<Vec<Hook>>>) -> Receiver {
        let listener = until("the port is free", || TcpListener::bind(address).ok());
        let (address, stop) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(false)));
        let (kept, stopped) = (Arc::clone(taken), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if *stopped.lock().unwrap() {
                    return;
                }
                if let Some(hook) = stream.ok().and_then(|stream| take(stream).ok()) {
                    kept.lock().unwrap().push(hook);
                }
            }
        });
        Receiver { address, taken: Arc::clone(taken), stop }
    }

    /// The messages in the order in which each came first.
    fn first(&self) -> Vec<Hook> {
        let mut first: Vec<Hook> = Vec::new();
        for hook in self.taken.lock().unwrap().iter() {
            if first.iter().all(|known| known.id() != hook.id()) {
                first.push(hook.clone());
            }
        }
        first
    }

    fn types(&self) -> Vec<String> {
        self.first().iter().map(|hook| hook.body["type"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        let _ = TcpStream::connect(self.address);
    }
}

/// One request, answered 200, and the connection closed.
fn take(stream: TcpStream) -> std::io::Result<Hook> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut headers = HeaderMap::new();
    let mut line = String::new();
    reader.read_line(&mut line)?;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let name = HeaderName::try_from(name.to_ascii_lowercase()).unwrap();
        headers.insert(name, HeaderValue::try_from(value).unwrap());
    }
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut raw = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut raw)?;
    let body = serde_json::from_slice(&raw)?;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.into_inner().write_all(answer)?;
    Ok(Hook { headers, raw, body })
}

fn write_secrets(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("webhook-secrets");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_referral_is_told_in_order_through_a_kill_an_outage_and_a_new_secret() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let secrets = write_secrets(dir.path(), &format!("shop-1={ONE}\n"));
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
    let taken = Arc::default();
    let receiver = Receiver::at("127.0.0.1:0".parse().unwrap(), &taken);
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
    until("the reward is approved and told", || (receiver.types() == told).then_some(()));
    let first = receiver.first();
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
    // Known by name from here on, by its value from the next start on.
    whence.call_with(&key, "PUT", "/v1/programs/p/endpoints/shop", &endpoint(json!(["shop-2", "shop-1"])));
    let (engine, log) = (whence.engine_pid(), whence.log());
    whence.kill();
    until("the engine ends with its parent", || (!is_running(engine)).then_some(()));

    write_secrets(dir.path(), &format!("shop-1={ONE}\nshop-2={TWO}\n"));
    let whence = Role::start(&data, &flags);
    whence.until_ready();
    let tries = whence.count("SELECT count() FROM deliveries").unwrap();
    until("it goes on trying", || (whence.count("SELECT count() FROM deliveries")? > tries).then_some(()));
    let receiver = Receiver::at(address, &taken);
    told.extend(["reward.issued", "lead.disqualified", "reward.clawed_back"]);
    until("all is told", || (receiver.types() == told).then_some(()));
    let last = receiver.first().pop().unwrap();
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
    let brokers = std::env::var("WHENCE_TEST_KAFKA_BROKERS")
        .expect("WHENCE_TEST_KAFKA_BROKERS names a broker for tests; `make test` starts one");
    let prefix =
        format!("facts-{}-{}.", std::process::id(), std::time::UNIX_EPOCH.elapsed().unwrap().as_millis());
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let kafka = ["up", "--kafka-brokers", &brokers, "--kafka-prefix", &prefix, "--kafka-group", &prefix];
    let topics =
        ["--clicks-partitions", "1", "--conversions-partitions", "1", "--kafka-session-timeout", "3s"];
    let flags = [&kafka[..], &topics].concat();
    let topic = format!("{prefix}whence.facts");
    let mut known: Vec<(Vec<u8>, Fact)> = Vec::new();
    for life in 0..3 {
        let whence = Role::start(&data, &flags);
        whence.until_ready();
        let key = fs::read_to_string(data.join("admin-key")).unwrap();
        if life == 0 {
            whence.set_up_world(&key);
        }
        let lead = format!("lead-{life}");
        let token = whence.click("x");
        let event = json!({ "type": "lead", "program": "p", "id": lead, "lead": lead, "wclid": token });
        whence.call_with(&key, "POST", "/v1/events", &event);
        let order = json!({ "type": "qualification", "program": "p", "id": format!("o-{life}"), "lead": lead, "name": "trial" });
        whence.call_with(&key, "POST", "/v1/events", &order);
        let unique = |found: &[(Vec<u8>, Fact)]| {
            let mut ids: Vec<_> = found.iter().map(|(_, fact)| fact.id.clone()).collect();
            ids.sort();
            ids.dedup();
            ids.len()
        };
        let wanted = 2 * (life + 1);
        known = until("the facts are there", || {
            let found = facts(&brokers, &topic);
            (unique(&found) == wanted).then_some(found)
        });
        if life == 1 {
            // What was remembered last may be a second old: some may come twice.
            whence.kill();
        } else {
            assert!(whence.stop().success());
        }
    }
    let first: Vec<_> = known.iter().take(2).map(|(_, fact)| fact.r#type.as_str()).collect();
    assert_eq!(first, ["lead.credited", "lead.qualified"]);
    assert!(
        known
            .iter()
            .all(|(key, fact)| key[..] == fact.lead_id[..] && fact.id.len() == 16 && fact.program == "p")
    );
    let twice = known.len() - 6;
    assert!(twice <= 2, "only what a kill left unremembered comes twice");
}

#[test]
fn an_endpoint_whose_secret_is_not_there_is_said_and_tried_again() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    let endpoint = json!({ "url": "http://127.0.0.1:1/", "secrets": ["none"] });
    whence.call_with(&key, "PUT", "/v1/programs/p/endpoints/shop", &endpoint);
    let token = whence.click("x");
    let lead = json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "wclid": token });
    whence.call_with(&key, "POST", "/v1/events", &lead);
    whence
        .until_count("SELECT count() FROM delivery_states WHERE state = 'retry' AND error = 'no_secret'", 1);
    let metrics = ask(&whence.address("admin"), "GET", "/metrics", &[], "").body;
    assert!(metrics.contains("whence_deliveries_total{outcome=\"retry\"} 1"), "{metrics}");
    assert!(whence.log().contains("this process was not given a secret"), "{}", whence.log());
    assert!(whence.stop().success());
}
