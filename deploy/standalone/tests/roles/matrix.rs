//! Every payload of every provider, as in `ingest/tests/api/webhooks/cases`, signed and sent to `whence up`, is in the
//! tables and the ledger of the real engine as what it means.

use crate::cases;
use crate::providers::{Delivery, SECRET, now, signed};
use crate::support::hooks::write_secrets;
use crate::support::{Role, ask};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};
use tempfile::tempdir;
use whence_schemas::time::UnixMs;

/// All facts as they came, each a line `PROGRAM,WHAT` in the words of the cases.
const FACTS: &str = "
    SELECT program, 'lead' AS what FROM leads WHERE revision = 0 AND source != 'api'
    UNION ALL
    SELECT program, trimRight(concat('qualification ', name, if(currency = '', '', concat(' ', toString(value_minor), ' ', currency))))
    FROM qualifications WHERE revision = 0
    UNION ALL
    SELECT program, trimRight(concat('disqualification ', reason, if(currency = '', '', concat(' ', toString(value_minor), ' ', currency))))
    FROM disqualifications WHERE revision = 0
    UNION ALL
    SELECT program, concat('reinstatement ', reason) FROM reinstatements WHERE revision = 0
    UNION ALL
    SELECT program, 'identify' FROM identifies WHERE revision = 0
    FORMAT TSV";

/// The payload as if it had happened yesterday.
fn dated(payload: &Value) -> Value {
    let yesterday = i64::try_from(now()).unwrap() - 86_400;
    let day = UnixMs(yesterday * 1000).rfc3339();
    let text = payload.to_string().replace("17999999", &(yesterday / 100).to_string());
    serde_json::from_str(&text.replace("2027-01-15", &day[..10])).unwrap()
}

/// What the payload gives, as events of the API: by the source's own dry run.
fn events(whence: &Role, key: &str, program: &str, delivery: &Delivery) -> Vec<Value> {
    let mut headers = delivery.headers.clone();
    headers.push(("authorization", format!("Bearer {key}")));
    let (source, query) = delivery.path.split_once('?').unwrap_or((&delivery.path, ""));
    let path = format!("/v1/programs/{program}/sources/{source}/dry-run?{query}");
    let answer = ask(&whence.address("api"), "POST", &path, &headers, &delivery.body);
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    let events = json["events"].as_array().cloned().unwrap_or_default();
    events
        .iter()
        .flat_map(|event| event["gives"].as_array().unwrap())
        .map(|given| given["event"].clone())
        .collect()
}

/// Where the lines `PROGRAM,MINOR` are not what is owed.
fn differences(
    ledger: &str,
    mut owed: BTreeMap<String, i64>,
    named: &impl Fn(&str) -> String,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in ledger.lines() {
        let (program, minor) = line.split_once('\t').unwrap();
        let owes = owed.remove(program);
        if owes != minor.parse().ok() {
            wrong.push(format!("{} {program}: {minor}, not {owes:?}", named(program)));
        }
    }
    wrong.extend(
        owed.iter().map(|(program, minor)| format!("{} {program}: nothing, not {minor}", named(program))),
    );
    wrong
}

#[test]
fn every_payload_of_every_provider_is_in_the_tables_and_the_ledger_as_what_it_means() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let rows: Vec<_> = cases::all().collect();
    let mut secrets = String::new();
    (0..rows.len()).for_each(|number| writeln!(secrets, "p{number}/main={SECRET}").unwrap());
    let secrets = write_secrets(dir.path(), &secrets);
    let whence = Role::start(&data, &["up", "--webhook-secrets-file", secrets.to_str().unwrap()]);
    whence.until_ready();
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    let currencies = ["EUR", "USD", "JPY", "HUF", "KWD", "ISK", "UGX"];
    let shares = currencies.map(|currency| {
        json!({ "id": currency.to_lowercase(), "for": "referrer", "currency": currency, "percent": "10", "hold_days": 1 })
    });
    let (mut expected, mut owed) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::<String, i64>::new());
    for (number, row) in rows.iter().enumerate() {
        let program = format!("p{number}");
        let host = format!("{program}.example");
        let body = json!({"destination_hosts": ["shop.example"], "link_hosts": [host], "channels": ["email"], "rewards": shares});
        whence.call_with(&key, "PUT", &format!("/v1/programs/{program}"), &body);
        whence.call_with(&key, "PUT", &format!("/v1/programs/{program}/referrers/ann"), &json!({}));
        let link = json!({"referrer": "ann", "channel": "email", "destination": "https://shop.example/"});
        whence.call_with(&key, "PUT", &format!("/v1/programs/{program}/links/{host}/x"), &link);
        let mut source = json!({"provider": row.provider, "secrets": ["main"]});
        if row.provider == "salesforce" {
            source["organization"] = json!("00D5g000004abcdEAA");
        }
        whence.call_with(&key, "PUT", &format!("/v1/programs/{program}/sources/{}", row.provider), &source);
        let delivery = signed(row.provider, row.event, &dated(&row.payload));
        // Who reached something was a lead of ann's before.
        for event in events(&whence, &key, &program, &delivery) {
            if event["type"] != "qualification" {
                continue;
            }
            let mut lead = json!({"type": "lead", "program": program, "source": "api", "code": "x",
                "occurred_at": UnixMs(i64::try_from(now()).unwrap() * 1000 - 3 * 86_400_000).rfc3339(),
                "id": format!("of-{}", event["id"].as_str().unwrap())});
            for name in ["lead", "email", "phone", "customer", "contact"] {
                if !event[name].is_null() {
                    lead[name] = event[name].clone();
                }
            }
            whence.call_with(&key, "POST", "/v1/events", &lead);
            let minor = event["value"]["minor"].as_i64().unwrap_or_default();
            *owed.entry(program.clone()).or_default() += minor / 10;
        }
        let path = match row.provider {
            "postback" => format!("/v1/postback/{program}?{}", delivery.path.split_once('?').unwrap().1),
            _ => format!("/v1/webhooks/{program}/{}", delivery.path),
        };
        let method = if row.provider == "postback" { "GET" } else { "POST" };
        let answer = ask(&whence.address("api"), method, &path, &delivery.headers, &delivery.body);
        let is_refused = row.expected.iter().any(|gist| gist.starts_with("unusable"));
        let is_malformed = row.expected == ["json_malformed"];
        assert!(
            answer.status == 200 || is_refused || is_malformed,
            "{path}: {} {}",
            answer.status,
            answer.body
        );
        let facts = row.expected.iter().filter(|gist| {
            !gist.starts_with("unusable")
                && !matches!(**gist, "unmapped" | "without_effect" | "json_malformed")
        });
        expected.entry(program).or_default().extend(facts.map(|gist| (*gist).to_owned()));
    }
    expected.values_mut().for_each(|facts| facts.sort());
    expected.retain(|_, facts| !facts.is_empty());
    let total: usize = expected.values().map(Vec::len).sum();
    whence.until_count(&format!("SELECT count() FROM ({})", FACTS.replace("FORMAT TSV", "")), total as u64);
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for line in whence.rows(FACTS).lines() {
        let (program, what) = line.split_once('\t').unwrap();
        found.entry(program.to_owned()).or_default().push(what.to_owned());
    }
    found.values_mut().for_each(|facts| facts.sort());
    let named = |program: &str| {
        let row = &rows[program[1..].parse::<usize>().unwrap()];
        format!("{} {} {} {}", row.provider, row.version, row.event, row.status)
    };
    for (program, facts) in &expected {
        assert_eq!(found.get(program), Some(facts), "{}", named(program));
    }
    assert_eq!(found.len(), expected.len());

    owed.retain(|_, minor| *minor != 0);
    let ledger = "SELECT program, toInt64(sum(sign * amount_minor)) FROM rewards GROUP BY program \
                  HAVING sum(sign * amount_minor) != 0 FORMAT TSV";
    // Rewards are stored after the facts, in their block.
    let deadline = Instant::now() + Duration::from_secs(120);
    let wrong = loop {
        let wrong = differences(&whence.rows(ledger), owed.clone(), &named);
        if wrong.is_empty() || Instant::now() > deadline {
            break wrong;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(wrong.is_empty(), "{wrong:#?}");
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    println!("{} payloads, {total} facts", rows.len());
    assert!(whence.stop().success());
}
