//! A person who is erased: what of them is still in files, and for how long.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::brokers::brokers;
use crate::support::{Role, ask, run, until};
use serde_json::json;
use tempfile::tempdir;

/// Short, so that the test need not wait for hours.
const SOON: [&str; 6] =
    ["--journal-segment-age", "1s", "--journal-grace", "1s", "--erasure-unlink-after", "0s"];

/// The files under `dir` in which one of these stands. A file that goes while it is read does not count.
fn holders(dir: &Path, wanted: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, wanted));
        } else if let Ok(bytes) = fs::read(&path)
            && wanted.iter().any(|text| bytes.windows(text.len()).any(|window| window == text))
        {
            found.push(path);
        }
    }
    found
}

/// What stands for bob: his id, his keyed hashes, as bytes and in hexadecimal, and his click.
fn traces(role: &Role) -> Vec<Vec<u8>> {
    let sql = "SELECT arrayStringConcat(groupUniqArray(hex(key)), ' ') FROM subject_keys WHERE kind = 'lead'";
    let keys = ask(&role.address("clickhouse"), "POST", "/?database=whence", &[], sql).body;
    let sql = "SELECT hex(id) FROM clicks";
    let click = ask(&role.address("clickhouse"), "POST", "/?database=whence", &[], sql).body;
    let hashes: Vec<&str> = keys.split_whitespace().chain([click.trim()]).collect();
    assert_eq!(hashes.len(), 3, "bob's id, bob's email, bob's click: {hashes:?}");
    let bytes = |hex: &str| {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>()
    };
    let texts = hashes.iter().map(|hex| hex.to_lowercase().into_bytes());
    let plain = [b"bob-4711".to_vec(), b"bob@mail.example".to_vec()];
    hashes.iter().map(|hex| bytes(hex)).chain(texts).chain(plain).collect()
}

fn tell_of_bob(role: &Role) -> Vec<Vec<u8>> {
    let key = fs::read_to_string(role.data().join("admin-key")).unwrap();
    role.set_up_world(&key);
    let token = role.click("x");
    let lead = json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob-4711", "email": "bob@mail.example",
                       "touches": [{ "token": token }] });
    let order = json!({ "type": "qualification", "program": "p", "id": "2", "lead": "bob-4711", "name": "purchase",
                        "value": { "amount": "19.99", "currency": "EUR" } });
    let unknown = json!({ "type": "disqualification", "program": "p", "id": "3", "lead": "bob-4711",
                          "qualification": "never", "reason": "refund" });
    let by_payment = json!({ "type": "disqualification", "program": "p", "id": "6", "lead": "bob-4711",
                             "payments": ["never told of"], "reason": "refund" });
    for event in [&lead, &lead, &order, &unknown, &by_payment] {
        role.call("POST", "/v1/events", event);
    }
    role.until_count("SELECT count() FROM clicks", 1);
    role.until_count("SELECT toUInt64(sum(sign)) FROM qualifications WHERE referrer = 'ann'", 1);
    role.until_count("SELECT uniqExact(key) FROM subject_keys WHERE kind = 'lead'", 2);
    traces(role)
}

fn erase_bob(role: &Role) {
    let data = role.data().to_str().unwrap();
    let tool = |arguments: &[&str]| {
        let output = run(&[arguments, &["--data", data]].concat());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    assert_eq!(tool(&["lineage", "p", "bob-4711"]).0, Some(0));
    let erased = tool(&["erase", "p", "--email", "bob@mail.example", "--requested-by", "ticket 1"]);
    // His lead and his order; he has an id and an address. What waits for a payment is found by that alone.
    assert!(
        erased.0 == Some(0) && erased.1.contains(": 2 events without personal columns, 0 rewards"),
        "{erased:?}"
    );
    assert!(erased.1.ends_with("2 keys suppressed\n"), "{erased:?}");
    let id = erased.1.split([' ', ':']).nth(1).unwrap();
    assert_eq!(tool(&["erase", "p", "--id", id]), erased);
    for name in [&["bob-4711"][..], &["--email", "bob@mail.example"], &["never-heard-of"]] {
        let found = tool(&[&["lineage", "p"], name].concat());
        assert!(found.0 == Some(1) && found.2.contains("nothing is known"), "{name:?}: {found:?}");
    }
    role.until_count("SELECT count() FROM erasures WHERE events > 0", 1);
    role.until_count("SELECT count() FROM leads WHERE lead != '' OR notEmpty(keys)", 0);
    role.until_count("SELECT count() FROM qualifications WHERE lead != '' OR notEmpty(keys)", 0);
    role.until_count("SELECT count() FROM disqualifications WHERE lead != '' OR notEmpty(keys)", 0);
    role.until_count("SELECT count() FROM unmatched WHERE kind = 'disqualification'", 2);
    // From his keys nobody comes to his events, not even who has the tables and the secrets.
    role.until_count("SELECT count() FROM erasures WHERE linked", 0);
    let paths = "SELECT count() FROM subject_keys WHERE kind != 'erased' AND hasAny(keys, \
                 (SELECT groupUniqArray(key) FROM subject_keys WHERE kind = 'erased'))";
    role.until_count(paths, 0);
    role.until_count(
        "SELECT uniqExact(event_id) FROM subject_keys WHERE kind IN ('lead', 'qualification')",
        2,
    );
    assert_eq!(tool(&["erase", "p", "--id", id]), erased);
    // What names him alone finds nobody; what names his payment does.
    let back = |id: &str, of: serde_json::Value| {
        let mut refund = json!({ "type": "disqualification", "program": "p", "id": id, "lead": "bob-4711", "reason": "refund" });
        refund.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
        role.call("POST", "/v1/events", &refund);
    };
    back("alone", json!({}));
    role.until_count("SELECT count() FROM rejects WHERE reason = 'suppressed'", 1);
    back("paid", json!({ "qualification": "2" }));
    role.until_count("SELECT toUInt64(sum(taken_minor * sign)) FROM disqualifications", 1999);
    role.until_count("SELECT toUInt64(sum(sign)) FROM qualifications WHERE referrer = 'ann'", 0);
    role.until_count("SELECT toUInt64(sum(sign)) FROM leads WHERE referrer = 'ann'", 1);
    role.until_count("SELECT count() FROM qualifications WHERE lead != '' OR notEmpty(keys)", 0);
}

/// Nothing of bob is in any file but ClickHouse's own, which keep his hashes to refuse a retry by.
fn until_forgotten(data: &Path, traces: &[Vec<u8>]) {
    let left = |data: &Path| {
        let mut left = holders(data, traces);
        left.retain(|path| !path.starts_with(data.join("clickhouse")));
        left
    };
    let mut last = Vec::new();
    until("bob is in no file", || {
        last = left(data);
        if !last.is_empty() {
            eprintln!("bob is in {last:?}");
        }
        last.is_empty().then_some(())
    });
}

#[test]
fn an_erased_person_is_in_no_file_once_the_stated_time_is_over() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Role::up(&data);
    let traces = tell_of_bob(&first);
    // Killed with files that are not full: what they hold is for the next process to remove.
    first.kill();
    assert!(!holders(&data.join("journal"), &traces).is_empty(), "the test looks for the right bytes");

    // With fewer threads than before: the journals of the others have no writer any more.
    let second = Role::start(&data, &[&["up", "--edge-threads", "1"][..], &SOON].concat());
    second.until_ready();
    erase_bob(&second);
    until_forgotten(&data, &traces);

    let retry =
        json!({ "type": "lead", "program": "p", "id": "5", "email": "bob@mail.example", "code": "x" });
    second.call("POST", "/v1/events", &retry);
    second.until_count("SELECT count() FROM rejects WHERE reason = 'suppressed'", 2);
    second.until_count("SELECT count() FROM leads", 1);
    second.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    // What came after the erasure goes in the same way.
    until_forgotten(&data, &traces);
    assert!(second.stop().success());
}

#[test]
fn over_kafka_an_erased_person_is_in_no_file_of_whence_either() {
    let (brokers, prefix) = brokers("erasure");
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let kafka = ["--kafka-brokers", &brokers, "--kafka-prefix", &prefix, "--kafka-group", &prefix];
    let topics = ["--clicks-partitions", "1", "--conversions-partitions", "1"];
    let role = Role::start(&data, &[&["up"][..], &SOON, &kafka, &topics].concat());
    role.until_ready();
    let traces = tell_of_bob(&role);
    erase_bob(&role);
    until_forgotten(&data, &traces);
    assert!(role.stop().success());
}
