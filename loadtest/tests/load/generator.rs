//! The generator against a tiny whence in memory: what it writes down must be what was recorded there, by
//! the oracle's own judgement.

use crate::common::{
    LOSSY, STRICT,
    run::{Run, settings},
    store::stored,
    twin::Faults,
};
use hyper::header::HeaderValue;
use std::{collections::BTreeSet, sync::Arc};
use tokio_util::sync::CancellationToken;
use whence_loadtest::{
    drive::{DriveSettings, Progress, Targets, drive},
    ledger::{self, Body, ClickOutcome, Ledger, LedgerFile, Reply},
    oracle::{compare, difference::Kind},
    wire::Target,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_written_down_is_what_was_recorded() {
    let run = Run::start(Faults::default()).await;
    let (ledger, measured) = run.drive(&settings()).await;
    assert_eq!((ledger.clicks.len(), measured.clicks, measured.unanswered), (4_000, 4_000, 0));
    assert!(measured.clicks_per_second() > 0.0 && measured.all_clicks().count == 4_000, "{measured:?}");
    let findings = compare(&ledger, &stored(&run.twin.records.lock().unwrap()), STRICT);
    assert_eq!(findings.differences.first, [], "{:?}", findings.differences.counts);
    let totals = findings.totals;
    assert!(totals.leads > 300 && totals.qualifications > 100 && totals.duplicates > 20, "{totals:?}");
    assert!(totals.unmatched > 5 && totals.clicks_stored_without_id > 5, "{totals:?}");
    let statuses: BTreeSet<u16> = ledger.sends.iter().map(|send| send.status).collect();
    assert_eq!(statuses, BTreeSet::from([202, 400, 401, 422]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connections_that_die_leave_nothing_wrong_only_unknown() {
    let faults = Faults { dies_after_recording: 31, dies_before_recording: 47 };
    let run = Run::start(faults).await;
    let (ledger, measured) = run.drive(&settings()).await;
    assert!(measured.unanswered > 50, "{measured:?}");
    let records = run.twin.records.lock().unwrap();
    let findings = compare(&ledger, &stored(&records), LOSSY);
    assert_eq!(findings.differences.first, [], "{:?}", findings.differences.counts);
    let totals = findings.totals;
    assert!(totals.clicks_unanswered_and_absent > 20, "{totals:?}");
    let strict = compare(&ledger, &stored(&records), STRICT).differences;
    assert!(strict.count(Kind::Answer) > 50, "{:?}", strict.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_promise_that_is_broken_once_is_found() {
    let run = Run::start(Faults::default()).await;
    let (ledger, _) = run.drive(&DriveSettings { clicks: 500, ..settings() }).await;
    let mut records = run.twin.records.lock().unwrap();
    let lost = records.clicks.iter().rposition(|click| click.verdict == "human").unwrap();
    let click = records.clicks.remove(lost);
    let without =
        |differences: &std::collections::BTreeMap<Kind, u64>| differences.contains_key(&Kind::ClickMissing);
    // Tokens name clicks by their place: only one behind all of them may go.
    records.tokens.retain(|_, at| *at < lost);
    records.events.clear();
    let events_only = Ledger { events: vec![], sends: vec![], ..ledger.clone() };
    let found = compare(&events_only, &stored(&records), LOSSY).differences.counts;
    assert!(without(&found), "{found:?}");
    records.clicks.push(click.clone());
    assert!(compare(&events_only, &stored(&records), STRICT).differences.counts.is_empty());
    records.clicks.push(click);
    let found = compare(&events_only, &stored(&records), LOSSY).differences.counts;
    assert!(found.contains_key(&Kind::ClickMultiple), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_ledger_file_holds_what_the_ledger_holds() {
    let run = Run::start(Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let file = LedgerFile::create(&path, &run.header).unwrap();
    let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
    let settings = DriveSettings { clicks: 1_000, ..settings() };
    let appender = Some(file.appender());
    let (ledger, _) =
        drive(run.header.clone(), &settings, &run.targets, appender, &progress, &stop).await.unwrap();
    file.finish().unwrap();
    let read = ledger::read(&path).unwrap();
    assert!(read.is_complete);
    let sorted = |mut ledger: Ledger| {
        ledger.clicks.sort_by_key(|click| (click.sent_at_ms, click.link, format!("{:?}", click.outcome)));
        ledger.events.sort_by_key(|event| event.number);
        ledger.sends.sort_by_key(|send| (send.number, send.status));
        ledger
    };
    assert_eq!(sorted(read), sorted(ledger));
    assert_eq!(progress.clicks(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stopped_load_ends_with_a_ledger_of_what_was_sent() {
    let run = Run::start(Faults::default()).await;
    let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
    let settings = DriveSettings { clicks: 1_000_000, rate: 2_000.0, ..settings() };
    let stopping = async {
        while progress.clicks() < 200 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let driving = drive(run.header.clone(), &settings, &run.targets, None, &progress, &stop);
    let (driven, ()) = tokio::join!(driving, stopping);
    let (ledger, _) = driven.unwrap();
    assert!((200..100_000).contains(&ledger.clicks.len()));
    let findings = compare(&ledger, &stored(&run.twin.records.lock().unwrap()), STRICT);
    assert_eq!(findings.differences.first, [], "{:?}", findings.differences.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_there_is_written_down_as_not_sent() {
    let run = Run::start(Faults::default()).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Target::resolve(&format!("http://{closed}")).await.unwrap();
    let targets = Targets { edge: nobody.clone(), api: nobody, bearer: HeaderValue::from_static("Bearer x") };
    let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
    let settings = DriveSettings { clicks: 100, ..settings() };
    let (ledger, _) = drive(run.header.clone(), &settings, &targets, None, &progress, &stop).await.unwrap();
    assert_eq!(ledger.clicks.len(), 100);
    assert!(ledger.clicks.iter().all(|click| click.outcome == ClickOutcome::NotSent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn events_are_sent_again_until_they_are_answered() {
    let run = Run::start(Faults { dies_after_recording: 3, dies_before_recording: 0 }).await;
    let (ledger, _) = run.drive(&DriveSettings { clicks: 500, ..settings() }).await;
    let is_sound = |event: &&ledger::EventEntry| event.refusal.is_none();
    for event in ledger.events.iter().filter(is_sound) {
        let mut sends = ledger.sends.iter().filter(|send| send.number == event.number);
        assert!(sends.any(|send| matches!(send.reply, Reply::Accepted(_))), "{event:?}");
        assert!(!matches!(event.body, Body::Lead(ref touches) if touches.len() > 20));
    }
}
