//! Writing and reading a journal that nothing has damaged: order, resuming, incarnations, retiring.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::time::Duration;

use common::*;
use whence_journal::{JournalConfig, Position, ReadError, Reader, Retired, Writer, retire};

#[test]
fn a_panic_while_encoding_appends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        writer.append_with(100, |buf| {
            buf.fill(1);
            panic!("encoder");
        })
    }));
    assert!(panicked.is_err());
    let position = writer.append(b"after").unwrap();
    assert_eq!(position.offset, 0);
    assert_eq!(payloads(&read_all(dir.path())), [b"after"]);
}

#[test]
fn records_come_back_in_order_over_segments_and_incarnations() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for incarnation in 0..3u8 {
        let mut writer = open(dir.path());
        for number in 0..60u8 {
            let payload = vec![incarnation * 60 + number; 5 * usize::from(number)];
            written.push((writer.append(&payload).unwrap(), payload));
        }
    }
    assert!(segment_files(dir.path()).len() > 6, "several segments each");
    let read = read_all(dir.path());
    let read: Vec<_> = read.iter().map(|record| (record.position, intact(record).to_vec())).collect();
    assert_eq!(read, written);
}

#[test]
fn a_reader_resumes_at_any_position() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut writer = open(dir.path());
        append_run(&mut writer, 50, 200);
    }
    let all = read_all(dir.path());
    for (at, record) in all.iter().enumerate() {
        assert_eq!(read_from(dir.path(), Some(record.position)), all[at..]);
    }
    assert_eq!(read_from(dir.path(), Some(all[99].next())), []);
}

#[test]
fn a_read_keeps_its_limits_but_always_gets_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    append_run(&mut writer, 10, 100);
    let mut reader = Reader::open(dir.path(), None);
    let mut read = |max_records, max_bytes| {
        let mut out = Vec::new();
        let outcome = reader.read(max_records, max_bytes, &mut out).unwrap();
        assert_eq!(outcome.next.map(|next| next.offset), out.last().map(|last| last.next().offset));
        out.len()
    };
    assert_eq!(read(3, usize::MAX), 3);
    assert_eq!(read(100, 250), 2);
    assert_eq!(read(100, 1), 1);
    assert_eq!(read(100, usize::MAX), 4);
}

#[test]
fn one_read_never_mixes_incarnations() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).append(b"old").unwrap();
    let second = open(dir.path()).append(b"new").unwrap();
    let mut reader = Reader::open(dir.path(), None);
    let mut out = Vec::new();
    assert!(!reader.read(10, 1000, &mut out).unwrap().caught_up);
    assert_eq!(out.iter().map(|record| record.position).collect::<Vec<_>>(), [first]);
    let outcome = reader.read(10, 1000, &mut out).unwrap();
    assert_eq!(out[1].position, second);
    assert_eq!(outcome.next, Some(second.plus(1)));
}

#[test]
fn a_reader_waits_for_a_journal_that_does_not_exist_yet() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("edge-0");
    let mut reader = Reader::open(&dir, None);
    let outcome = reader.read(10, 1000, &mut Vec::new()).unwrap();
    assert!(outcome.caught_up && outcome.next.is_none());
    let mut writer = open(&dir);
    let position = writer.append(b"first").unwrap();
    assert_eq!(drain(&mut reader, 10, 1000)[0].position, position);
}

#[test]
fn an_idle_reader_moves_to_the_new_incarnation_so_that_the_old_one_can_go() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(b"old").unwrap();
    let mut reader = Reader::open(dir.path(), None);
    drain(&mut reader, 10, 1000);
    let writer = open(dir.path());
    drain(&mut reader, 10, 1000);
    assert_eq!(reader.position(), Some(writer.next_position()));
    let retired = retire(dir.path(), reader.position().unwrap(), Duration::ZERO).unwrap();
    assert_eq!(retired.segments, 1);
}

#[test]
fn what_was_retired_before_it_was_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    let positions = append_run(&mut writer, 20, 900);
    let mut live = Reader::open(dir.path(), None);
    live.read(1, 1 << 20, &mut Vec::new()).unwrap();
    retire(dir.path(), positions[10], Duration::ZERO).unwrap();

    let mut late = Reader::open(dir.path(), Some(positions[1]));
    let removed = late.read(10, 1 << 20, &mut Vec::new());
    let Err(ReadError::Removed { wanted, first }) = removed else { panic!("{removed:?}") };
    assert_eq!((wanted, first), (positions[1], positions[8]));
    assert!(matches!(late.read(10, 1 << 20, &mut Vec::new()), Err(ReadError::Removed { .. })), "not once");
    late.seek(first);
    assert_eq!(drain(&mut late, 100, 1 << 20).len(), 12);

    // A reader that still holds a removed segment reads it to its end, and is told then.
    let mut out = Vec::new();
    let told = loop {
        match live.read(10, 1 << 20, &mut out) {
            Ok(outcome) => assert!(!outcome.caught_up),
            Err(error) => break error,
        }
    };
    assert_eq!(out.len(), 3);
    assert!(matches!(told, ReadError::Removed { wanted, .. } if wanted == positions[4]), "{told:?}");
}

#[test]
fn a_whole_incarnation_that_was_retired_unread_is_named() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(b"one").unwrap();
    let mut reader = Reader::open(dir.path(), None);
    drain(&mut reader, 10, 1000);
    open(dir.path()).append(b"missed").unwrap();
    let third = open(dir.path()).append(b"three").unwrap();
    retire(dir.path(), third, Duration::ZERO).unwrap();
    let told = reader.read(10, 1000, &mut Vec::new()).unwrap_err();
    assert!(matches!(told, ReadError::Removed { first, .. } if first == third), "{told:?}");
}

#[test]
fn a_position_of_another_journal_is_not_taken_for_one_of_this() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let older = open(here.path()).append(b"here").unwrap();
    let newer = open(there.path()).append(b"there").unwrap();
    let read = |dir, from| Reader::open(dir, Some(from)).read(10, 1000, &mut Vec::new()).unwrap_err();
    let unknown = read(here.path(), newer);
    assert!(matches!(unknown, ReadError::Unknown { newest, .. } if newest == older.incarnation));
    assert!(matches!(read(there.path(), older), ReadError::Removed { first, .. } if first == newer));
}

#[test]
fn a_position_behind_the_end_of_a_dead_incarnation_goes_on_with_the_next() {
    // A power cut took what was shipped already: there is nothing left to read, and nothing missing.
    let dir = tempfile::tempdir().unwrap();
    let shipped = open(dir.path()).append(b"kept").unwrap().plus(400);
    let next = open(dir.path()).append(b"next").unwrap();
    let read = read_from(dir.path(), Some(shipped));
    assert_eq!(read.iter().map(|record| record.position).collect::<Vec<_>>(), [next]);
}

#[test]
fn only_read_and_old_enough_segments_are_retired_and_never_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    let positions = append_run(&mut writer, 20, 900);
    let retire = |through, grace| retire(dir.path(), through, grace).unwrap().segments;
    assert_eq!(segment_files(dir.path()).len(), 5);
    assert_eq!(retire(positions[19].plus(1), Duration::from_secs(3600)), 0);
    assert_eq!(retire(positions[3], Duration::ZERO), 0, "its last record is still to be read");
    assert_eq!(retire(positions[4], Duration::ZERO), 1);
    assert_eq!(retire(positions[19].plus(1), Duration::ZERO), 3);
    assert_eq!(
        retire(Position { incarnation: positions[0].incarnation, offset: u64::MAX }, Duration::ZERO),
        0
    );
    writer.append(b"alive").unwrap();
    assert_eq!(payloads(&read_from(dir.path(), Some(positions[19].plus(1)))), [b"alive"]);
}

#[test]
fn a_position_of_another_journal_retires_nothing() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    append_run(&mut open(here.path()), 20, 900);
    let other = open(there.path()).append(b"there").unwrap();
    assert_eq!(retire(here.path(), other, Duration::ZERO).unwrap(), Retired::default());
    assert_eq!(retire(&here.path().join("missing"), other, Duration::ZERO).unwrap(), Retired::default());
}

#[test]
fn a_record_larger_than_what_is_read_at_once_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(JournalConfig { segment_bytes: 4 << 20, ..config(dir.path()) }).unwrap();
    let written = [vec![1; 700_000], vec![2; 3], vec![3; 1_500_000], vec![4; 300_000]];
    written.iter().for_each(|payload| assert!(writer.append(payload).is_ok()));
    assert_eq!(payloads(&read_all(dir.path())), written);
}

#[test]
fn the_end_of_an_incarnation_can_be_resumed_from_after_retiring() {
    let dir = tempfile::tempdir().unwrap();
    let end = open(dir.path()).append(b"old").unwrap().plus(1);
    let next = open(dir.path()).append(b"new").unwrap();
    retire(dir.path(), end, Duration::ZERO).unwrap();
    assert_eq!(read_from(dir.path(), Some(end))[0].position, next);
    assert_eq!(retire(dir.path(), next, Duration::ZERO).unwrap().segments, 1);
}

#[test]
fn lag_counts_the_bytes_still_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    append_run(&mut writer, 10, 1000);
    let mut reader = Reader::open(dir.path(), None);
    assert_eq!(reader.lag_bytes().unwrap(), 10 * frame_bytes(1000));
    reader.read(4, usize::MAX, &mut Vec::new()).unwrap();
    assert_eq!(reader.lag_bytes().unwrap(), 6 * frame_bytes(1000));
    drain(&mut reader, 100, usize::MAX);
    assert_eq!(reader.lag_bytes().unwrap(), 0);
    writer.append(&[0; 1000]).unwrap();
    assert_eq!(reader.lag_bytes().unwrap(), frame_bytes(1000));
}

#[test]
fn incarnations_ascend_even_when_every_segment_was_removed_and_the_clock_went_back() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let future = "ffffffff-ffff-7000-8000-000000000001";
    std::fs::write(dir.path().join("lock"), future).unwrap();
    segment_files(dir.path()).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let writer = open(dir.path());
    assert!(writer.incarnation() > future.parse().unwrap());
}
