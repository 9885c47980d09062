//! When something happened, in the forms that providers write, is the day it is booked on; what can't be read is told.

use super::{deliver, gists, node, put};
use crate::node::NOW;
use serde_json::{Value, json};
use whence_schemas::time::UnixMs;

/// A day before now, in milliseconds.
const YESTERDAY: i64 = NOW.0 - 86_400_000;

#[tokio::test]
async fn times_are_booked_on_their_day_in_whatever_form() {
    let node = node().await;
    let rule = json!({"gives": "lead", "fields": {"email": "/who", "occurred_at": "/at"}});
    put(&node, "crm", json!({"provider": "generic", "secrets": ["main"], "rules": [rule]})).await;
    let written = UnixMs(YESTERDAY).rfc3339();
    let (day, time) = (&written[..10], &written[11..19]);
    for at in [
        json!(written),
        json!(format!("{day}T{time}.000+0000")),
        json!(format!("{day}T{time}+00")),
        json!(format!("{day} {time}")),
        json!(format!("{day} {time} UTC")),
        json!(YESTERDAY / 1000),
        json!(YESTERDAY as f64 / 1000.0 + 0.25),
        json!(YESTERDAY),
        json!(YESTERDAY * 1000),
        json!((YESTERDAY / 1000).to_string()),
        json!(format!("{}.123456", YESTERDAY / 1000)),
        json!(day),
    ] {
        let answer =
            deliver(&node, "crm", &[], &json!({"who": "a@shop.example", "at": at}).to_string()).await;
        assert_eq!(answer.json(), json!({"accepted": 1, "unmapped": 0, "unusable": 0}), "{at}");
        let booked = UnixMs(node.events().last().unwrap().occurred_at_ms);
        assert_eq!(booked.day(), UnixMs(YESTERDAY).day(), "{at}");
        if at != json!(day) {
            assert!(booked.ms_since(UnixMs(YESTERDAY)).abs() < 1000, "{at}");
        }
    }
}

#[tokio::test]
async fn a_time_that_cannot_be_read_is_refused_and_none_is_now() {
    let node = node().await;
    let rule = json!({"gives": "lead", "fields": {"email": "/who", "occurred_at": ["/at", "/later"]}});
    put(&node, "crm", json!({"provider": "generic", "secrets": ["main"], "rules": [rule]})).await;
    for (at, outcome) in [
        (json!("yesterday"), "dead letter occurred_at_unreadable"),
        (json!("01/02/2027 10:00"), "dead letter occurred_at_unreadable"),
        (json!(true), "dead letter occurred_at_unreadable"),
        (json!(17), "dead letter occurred_at_unreadable"),
        (json!(-1), "dead letter occurred_at_unreadable"),
        (json!({"date": "2027-01-01"}), "dead letter occurred_at_unreadable"),
        (json!(["2027-01-01"]), "dead letter occurred_at_unreadable"),
        (json!(NOW.0 + 3_600_000), "dead letter occurred_at_in_future"),
        (Value::Null, "lead \"\" keys 1 by []"),
        (json!(""), "lead \"\" keys 1 by []"),
    ] {
        let answer =
            deliver(&node, "crm", &[], &json!({"who": "a@shop.example", "at": at}).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(gists(&node).last().unwrap(), outcome, "{at}");
    }
}
