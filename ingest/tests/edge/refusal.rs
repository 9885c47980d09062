//! A disk that refuses: visitors are served, the loss is counted and shown.

use crate::harness::*;
use whence_journal::retire;

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
