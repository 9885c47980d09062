//! What is refused, damaged or torn is counted under the documented names.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::*;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use whence_journal::{JournalConfig, Quota, Reader, Writer};

/// Counts in memory; gauges and histograms are not looked at here.
#[derive(Default)]
struct Counts {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    described: Mutex<Vec<String>>,
}

impl Counts {
    fn of(&self, key: &str) -> u64 {
        self.counters.lock().unwrap().get(key).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().push(key.as_str().to_owned());
    }
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().push(key.as_str().to_owned());
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key.labels().map(|label| format!("{{{}={}}}", label.key(), label.value()));
        let name = key.name().to_owned() + &labels.collect::<String>();
        Counter::from_arc(Arc::clone(self.counters.lock().unwrap().entry(name).or_default()))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn refusals_are_counted_by_reason() {
    let dir = tempfile::tempdir().unwrap();
    let counts = Counts::default();
    metrics::with_local_recorder(&counts, || {
        let mut writer =
            Writer::open(JournalConfig { quota: Quota::bytes(SEGMENT_BYTES), ..config(dir.path()) }).unwrap();
        writer.append(&[0; 9000]).unwrap_err();
        writer.append(&[0; 3000]).unwrap();
        writer.append(&[0; 3000]).unwrap_err();
        writer.append(&[0; 3000]).unwrap_err();
    });
    assert_eq!(counts.of("whence_journal_refused_records_total{reason=too_large}"), 1);
    assert_eq!(counts.of("whence_journal_refused_records_total{reason=quota}"), 2);
}

#[test]
fn damage_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    append_run(&mut writer, 5, 100);
    let image = crash_image(dir.path());
    let file = segment_files(image.path()).remove(0);
    damage(&file, 0, |bytes| bytes[3] ^= 1);
    damage(&file, HEADER_BYTES + frame_bytes(100) + 20, |bytes| bytes[..150].fill(9));
    damage(&file, HEADER_BYTES + 5 * frame_bytes(100) + 20, |bytes| bytes[..10].fill(9));
    drop(open(image.path()));
    let counts = Counts::default();
    metrics::with_local_recorder(&counts, || drain(&mut Reader::open(image.path(), None), 2, 1000));
    assert_eq!(counts.of("whence_journal_corrupt_records_total"), 2);
    assert_eq!(counts.of("whence_journal_torn_tails_total"), 1);
    assert_eq!(counts.of("whence_journal_damaged_headers_total"), 1);
}

#[test]
fn every_metric_is_described() {
    let counts = Counts::default();
    metrics::with_local_recorder(&counts, whence_metrics::describe);
    let described = counts.described.lock().unwrap();
    assert_eq!(described.len(), 7);
    assert!(described.iter().all(|name| name.starts_with("whence_journal_")));
}
