//! A reader that follows a writer while it writes.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::*;
use whence_journal::{JournalConfig, Quota, Reader, Writer};

/// A payload that says which it is, of a length that depends on it.
fn payload(number: u64) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(8 + (number % 300) as usize).collect()
}

#[test]
fn a_reader_on_another_thread_sees_every_record_whole_and_in_order() {
    const RECORDS: u64 = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let config = JournalConfig { segment_bytes: 1 << 20, ..config(dir.path()) };
    let mut writer = Writer::open(config).unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..RECORDS {
                writer.append(&payload(number)).unwrap();
            }
            is_done.store(true, Ordering::Release);
        });
        let mut reader = Reader::open(dir.path(), None);
        let (mut next, mut out) = (0, Vec::new());
        while next < RECORDS {
            let was_done = is_done.load(Ordering::Acquire);
            let outcome = reader.read(1000, 1 << 20, &mut out).unwrap();
            assert_eq!((outcome.corrupt_records, outcome.torn_tails), (0, 0));
            for record in out.drain(..) {
                assert_eq!(record.position.offset, next);
                assert_eq!(intact(&record), payload(next));
                next += 1;
            }
            assert!(next == RECORDS || !(was_done && outcome.caught_up), "stopped at {next}");
        }
    });
}

#[test]
fn retiring_beside_a_living_writer_and_reader_disturbs_neither() {
    const RECORDS: u64 = 50_000;
    let dir = tempfile::tempdir().unwrap();
    let config =
        JournalConfig { segment_bytes: 1 << 16, quota: Quota::bytes(8 << 16), dir: dir.path().to_owned() };
    let mut writer = Writer::open(config).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..RECORDS {
                // The quota is far smaller than the sum: the writer depends on segments being retired.
                eventually("room in the journal", || writer.append(&payload(number)).ok());
            }
        });
        let mut reader = Reader::open(dir.path(), None);
        let (mut next, mut out) = (0, Vec::new());
        eventually("the last record", || {
            reader.read(500, 1 << 20, &mut out).unwrap();
            for record in out.drain(..) {
                assert_eq!((record.position.offset, intact(&record)), (next, &payload(next)[..]));
                next += 1;
            }
            if let Some(through) = reader.position() {
                whence_journal::retire(dir.path(), through, std::time::Duration::ZERO).unwrap();
            }
            (next == RECORDS).then_some(())
        });
    });
}
