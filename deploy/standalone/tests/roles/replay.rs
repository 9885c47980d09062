//! `whence replay`, over a `whence up` with the real engine.

use std::collections::BTreeMap;
use std::fs;

use crate::support::clock::now_ms;
use crate::support::{Role, run, until};
use serde_json::{Value, json};
use tempfile::tempdir;

/// Leads, qualifications and minor units of rewards of a referrer, now and under the other rules.
type Numbers = [i64; 6];

struct World {
    whence: Role,
    // Dropped last: the role writes into it.
    dir: tempfile::TempDir,
}

impl World {
    fn told(&self, arguments: &[&str]) -> String {
        let data = self.dir.path().join("data");
        let output = run(&[&["replay", "p"], arguments, &["--data", data.to_str().unwrap()]].concat());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn replayed(&self, arguments: &[&str]) -> BTreeMap<String, Numbers> {
        let told: Value =
            serde_json::from_str(&self.told(&[arguments, &["--format", "json"]].concat())).unwrap();
        let numbers = |item: &Value| {
            assert_eq!((&item["undecided"], &item["rewards_undecided"]), (&json!(0), &json!(0)), "{told}");
            let of = |value: &Value| value.as_i64().unwrap();
            let paid =
                |name: &str| item["rewards"].as_array().unwrap().iter().map(|one| of(&one[name])).sum();
            let [leads, leads_then] = ["lead_events", "lead_events_then"].map(|name| of(&item[name]));
            let reached = ["qualification_events", "qualification_events_then"].map(|name| of(&item[name]));
            [leads, leads_then, reached[0], reached[1], paid("minor"), paid("minor_then")]
        };
        let items = told["items"].as_array().unwrap();
        items.iter().map(|item| (item["referrer"].as_str().unwrap().to_owned(), numbers(item))).collect()
    }

    /// Of all rows that are stored.
    fn checksum(&self) -> u64 {
        let tables =
            ["leads", "qualifications", "disqualifications", "reward_terms", "rewards", "subject_keys"];
        let sums = tables.map(|table| format!("(SELECT sum(cityHash64(*)) FROM {table})"));
        self.whence.count(&format!("SELECT {}", sums.join(" + "))).unwrap()
    }
}

/// Two customers came by Ann's link first and by Bob's last, one by Bob's alone. They paid 10.00, 20.00 and 30.00, of
/// which 4.00 are refunded; who refers gets a tenth.
fn world() -> World {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let order =
        json!({ "id": "order", "for": "referrer", "currency": "EUR", "percent": "10", "hold_days": 14 });
    let program = json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": [order] });
    whence.call("PUT", "/v1/programs/p", &program);
    whence.call("POST", "/v1/programs/p/referrers", &json!({ "id": "bob", "name": "Bob" }));
    let link = json!({ "host": "go.example", "code": "b", "referrer": "bob", "channel": "email",
        "destination": "https://shop.example/b" });
    whence.call("POST", "/v1/programs/p/links", &link);
    let anns = json!({ "token": whence.click("x") });
    // Of two clicks in one millisecond none is the last.
    let clicked = now_ms();
    until("the clock goes on", || (now_ms() > clicked + 20).then_some(()));
    let bobs = json!({ "token": whence.click("b") });
    let soon = now_ms() + 1000;
    for (number, touches) in [(1, json!([anns, bobs])), (2, json!([anns, bobs])), (3, json!([bobs]))] {
        let lead = json!({ "type": "lead", "program": "p", "id": format!("lead {number}"),
            "lead": format!("customer {number}"), "touches": touches, "occurred_at": soon });
        whence.call("POST", "/v1/events", &lead);
        let paid = json!({ "type": "qualification", "program": "p", "id": format!("order {number}"),
            "lead": format!("customer {number}"), "name": "purchase",
            "value": { "minor": number * 1000, "currency": "EUR" } });
        whence.call("POST", "/v1/events", &paid);
    }
    let refund = json!({ "type": "disqualification", "program": "p", "id": "refund", "lead": "customer 3",
        "qualification": "order 3", "reason": "refund", "value": { "minor": 400, "currency": "EUR" } });
    whence.call("POST", "/v1/events", &refund);
    whence.until_count("SELECT toUInt64(sum(open_minor)) FROM reward_states WHERE referrer = 'bob'", 560);
    World { whence, dir }
}

fn expected<const N: usize>(of: [(&str, Numbers); N]) -> BTreeMap<String, Numbers> {
    of.map(|(referrer, numbers)| (referrer.to_owned(), numbers)).into()
}

#[test]
fn a_replay_says_who_would_be_credited_and_paid_and_changes_nothing() {
    let world = world();
    let before = world.checksum();
    let ledger = expected([("bob", [3, 3, 3, 3, 560, 560])]);
    for same in [&[][..], &["--model", "last_touch"], &["--window", "90d", "--existing-customers", "refuse"]]
    {
        assert_eq!(world.replayed(same), ledger, "{same:?}");
    }
    let first = expected([("ann", [0, 2, 0, 2, 0, 300]), ("bob", [3, 1, 3, 1, 560, 260])]);
    assert_eq!(world.replayed(&["--model", "first_touch"]), first);
    let nobody = expected([("", [0, 3, 0, 3, 0, 0]), ("bob", [3, 0, 3, 0, 560, 0])]);
    assert_eq!(world.replayed(&["--window", "0h"]), nobody);
    assert_eq!(world.replayed(&["--to", "2020-01-01"]), BTreeMap::new());

    let told = world.told(&["--model", "first_touch"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = told.lines().map(words).collect();
    for line in ["ann 0 2 +2 0 2 +2 0", "ann referrer EUR 0 300 +300", "bob referrer EUR 560 260 -300"] {
        assert!(lines.contains(&words(line)), "no {line:?} in {told}");
    }
    assert!(world.told(&["--to", "2020-01-01"]).contains("no rewards: none stand, and none would"));
    assert_eq!(world.checksum(), before);
    let unknown = run(&["replay", "p", "--model", "every_touch"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(world.whence.stop().success());
}
