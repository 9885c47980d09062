//! A disk that refuses: visitors are served, the loss is counted and shown.

use crate::harness::*;
use std::io::Write;
use whence_journal::{disk_usage, retire};

fn is_ready(edge: &Edge) -> bool {
    edge.health.readiness().ready
}

#[test]
fn a_full_journal_costs_clicks_and_no_visitor() {
    // Room for two segments of 4 KiB of records.
    let edge = Edge::start_with(|config| {
        config.segment_bytes = 8192;
        config.quota_bytes = 2 * 8192;
    });
    assert!(is_ready(&edge));
    let mut answered = 0;
    while is_ready(&edge) {
        edge.get("/abc", &[]).token();
        answered += 1;
        assert!(answered < 1000, "the quota does not hold");
    }
    for _ in 0..20 {
        let reply = edge.get("/abc", &[]);
        assert_eq!(reply.status(), 302);
        reply.token();
    }
    let kept = edge.clicks().len();
    assert!((2..answered).contains(&kept), "{kept} of {answered}");
    let readiness = edge.health.readiness();
    let journal = readiness.components.iter().find(|component| component.name == "edge.journal").unwrap();
    assert_eq!(journal.reason.as_deref(), Some("clicks are lost: quota"));
}

#[test]
fn a_busy_core_loses_nothing_while_there_is_room_in_the_quota_of_all() {
    let edge = Edge::start_with(|config| {
        config.threads = 4;
        config.segment_bytes = 8192;
        config.quota_bytes = 16 * 8192;
    });
    // All of them go to one core.
    let mut stream = edge.connect();
    while is_ready(&edge) {
        stream.write_all(get("/abc", &[]).as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut stream, false).status(), 302);
    }
    let taken =
        (0..4).map(|index| disk_usage(&edge.dir.path().join(format!("clicks-{index}"))).unwrap().bytes);
    let (busiest, all) = taken.fold((0, 0), |(most, all), one| (most.max(one), all + one));
    assert!(busiest >= 10 * 8192 && all <= 16 * 8192, "{busiest} of {all}");
}

#[test]
fn a_journal_that_has_room_again_is_ready_without_a_click() {
    let edge = Edge::start_with(|config| {
        config.segment_bytes = 8192;
        config.quota_bytes = 2 * 8192;
    });
    while is_ready(&edge) {
        edge.get("/abc", &[]);
    }
    let dir = edge.dir.path().join("clicks-0");
    let mut reader = whence_journal::Reader::open(&dir, None);
    let mut records = Vec::new();
    while !reader.read(1000, 1 << 20, &mut records).unwrap().caught_up {}
    retire(&dir, reader.position().unwrap(), std::time::Duration::ZERO).unwrap();
    eventually("ready again", || is_ready(&edge));
    // The journal asks for the next segment in the background, so the first clicks may still be lost.
    let before = clicks(&dir).len();
    eventually("recorded again", || {
        edge.get("/abc", &[]);
        clicks(&dir).len() > before
    });
    assert!(is_ready(&edge));
}
