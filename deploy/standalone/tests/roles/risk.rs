//! A referrer in the same address prefix as the person they referred: addresses as the edge and the events API get
//! them, over a
//! `whence up` with the real engine.

use std::fs;

use crate::support::{BROWSER, Role, run};
use serde_json::{Value, json};
use tempfile::tempdir;

/// A person who clicks, becomes a lead and buys.
struct Person {
    lead: &'static str,
    referrer: &'static str,
    /// The client's address as the proxy before the edge tells it; none: whoever connects, who is on this machine.
    clicks_from: Option<&'static str>,
    /// From where the referrer joined or shared on that day.
    referrer_was: Option<(&'static str, &'static str)>,
    /// From where the lead came, as the caller says.
    comes_from: Option<&'static str>,
    /// What of the person the referrer was near.
    near: Option<&'static str>,
}

const NOBODY: Person =
    Person { lead: "", referrer: "ann", clicks_from: None, referrer_was: None, comes_from: None, near: None };

const PERSONS: [Person; 7] = [
    Person {
        lead: "a neighbour",
        referrer_was: Some(("participant", "127.0.0.1")),
        near: Some("click"),
        ..NOBODY
    },
    Person { lead: "b stranger", clicks_from: Some("203.0.113.9"), ..NOBODY },
    // Where Ann was, who is not the one that gets it.
    Person { lead: "c another's neighbour", referrer: "ben", ..NOBODY },
    Person {
        lead: "d behind the same router",
        referrer: "ben",
        clicks_from: Some("198.51.100.200"),
        referrer_was: Some(("share", "198.51.100.7")),
        near: Some("click"),
        ..NOBODY
    },
    Person {
        lead: "e in the same /48",
        referrer: "ben",
        clicks_from: Some("2001:db8:1:ff::9"),
        referrer_was: Some(("share", "2001:db8:1:2::1")),
        near: Some("click"),
        ..NOBODY
    },
    Person { lead: "f in another /48", referrer: "ben", clicks_from: Some("2001:db8:2:2::1"), ..NOBODY },
    Person {
        lead: "g clicks elsewhere",
        clicks_from: Some("203.0.113.77"),
        comes_from: Some("127.0.0.9"),
        near: Some("lead"),
        ..NOBODY
    },
];

#[test]
fn a_reward_is_held_where_the_referrer_was_in_the_prefix_of_the_click_or_lead_and_nowhere_else() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::start(&data, &["up", "--trusted-proxies", "127.0.0.0/8"]);
    whence.until_ready();
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let program = json!({ "destination_hosts": ["shop.example"], "channels": ["email"],
        "rewards": [{ "id": "order", "for": "referrer", "currency": "EUR", "fixed_minor": 500 }],
        "risk": { "threshold": 50, "self_referral_prefix": 50 } });
    whence.call("PUT", "/v1/programs/p", &program);
    whence.call("POST", "/v1/programs/p/referrers", &json!({ "id": "ben", "name": "Ben" }));
    for referrer in ["ann", "ben"] {
        let link = json!({ "host": "go.example", "code": referrer, "referrer": referrer, "channel": "email",
            "destination": format!("https://shop.example/{referrer}") });
        whence.call("POST", "/v1/programs/p/links", &link);
    }
    for (person, clicks) in PERSONS.iter().zip(1..) {
        refer(&whence, person, clicks);
    }

    let decided = "SELECT count() FROM reward_states WHERE state IN ('approved', 'held')";
    whence.until_count(decided, PERSONS.len() as u64);
    let sql = "SELECT lead, s.referrer, state, risk, flags, s.evidence FROM reward_states AS s \
               INNER JOIN (SELECT DISTINCT id, lead FROM leads) AS l ON l.id = s.lead_id ORDER BY lead";
    let expected: String = PERSONS.iter().map(ends).collect();
    assert_eq!(whence.rows(sql), expected);
    let queue = run(&[
        "report",
        "review-queue",
        "--program",
        "p",
        "--format",
        "json",
        "--data",
        data.to_str().unwrap(),
    ]);
    let queue: Value = serde_json::from_slice(&queue.stdout).unwrap();
    let items = queue["data"].as_array().unwrap();
    assert_eq!(items.len(), PERSONS.iter().filter(|person| person.near.is_some()).count(), "{queue}");
    assert!(items.iter().all(|item| item["flags"] == json!(["self_referral_prefix"])), "{queue}");
    assert!(whence.stop().success());
}

/// The person's story, all on the day of the click, whenever midnight is. `clicks` are stored with this one.
fn refer(whence: &Role, person: &Person, clicks: u64) {
    let forwarded = person.clicks_from.map(|address| ("x-forwarded-for", address.to_owned()));
    let headers: Vec<_> = forwarded.into_iter().chain([("user-agent", BROWSER.to_owned())]).collect();
    let token = whence.click_with(person.referrer, &headers);
    whence.until_count("SELECT count() FROM clicks", clicks);
    let at: i64 = whence.rows("SELECT toUnixTimestamp64Milli(max(ts)) FROM clicks").trim().parse().unwrap();
    let send = |mut event: Value, client_ip: Option<&str>| {
        event["program"] = json!("p");
        event["occurred_at"] = json!(at);
        if let Some(address) = client_ip {
            event["client_ip"] = json!(address);
        }
        whence.call("POST", "/v1/events", &event);
    };
    let Person { lead, referrer, .. } = person;
    if let Some((kind, address)) = person.referrer_was {
        send(json!({ "type": kind, "id": lead, "referrer": referrer }), Some(address));
    }
    send(
        json!({ "type": "lead", "id": lead, "lead": lead, "touches": [{ "token": token }] }),
        person.comes_from,
    );
    let order = format!("order of {lead}");
    send(json!({ "type": "qualification", "id": order, "lead": lead, "name": "purchase" }), None);
}

/// The person's reward.
fn ends(person: &Person) -> String {
    let Person { lead, referrer, .. } = person;
    let lead = lead.replace('\'', "\\'");
    match person.near {
        Some(what) => format!(
            "{lead}\t{referrer}\theld\t50\t['self_referral_prefix']\tthe referrer joined or shared from the \
             {what}\\'s address prefix that day\n"
        ),
        None => format!("{lead}\t{referrer}\tapproved\t0\t[]\t\n"),
    }
}
