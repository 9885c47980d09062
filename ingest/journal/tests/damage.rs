//! Journals that were damaged: what is reported, what is still read, what is never made up.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::fs::{self, OpenOptions};

use common::*;
use whence_journal::{JournalConfig, Payload, ReadError, Reader, Record, Writer};

fn corrupt_runs(records: &[Record]) -> Vec<(u64, u64)> {
    let runs = records.iter().filter_map(|record| match record.payload {
        Payload::Corrupt { count } => Some((record.position.offset, count)),
        Payload::Intact(_) => None,
    });
    runs.collect()
}

/// A closed journal of ten records of 100 bytes in one segment, and that segment's file.
fn ten_records(dir: &std::path::Path) -> std::path::PathBuf {
    let mut writer = open(dir);
    append_run(&mut writer, 10, 100);
    drop(writer);
    segment_files(dir).remove(0)
}

/// Where record `number` of those ten starts.
fn start(number: u64) -> u64 {
    HEADER_BYTES + number * frame_bytes(100)
}

#[test]
fn a_flipped_payload_bit_costs_that_record_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = ten_records(dir.path());
    damage(&file, start(4) + 50, |bytes| bytes[0] ^= 4);
    let read = read_all(dir.path());
    assert_eq!(corrupt_runs(&read), [(4, 1)]);
    let others: Vec<_> = read.iter().filter(|record| record.position.offset != 4).map(intact).collect();
    assert_eq!(others, [0, 1, 2, 3, 5, 6, 7, 8, 9].map(|number| [number; 100]).each_ref());
}

#[test]
fn a_broken_length_loses_no_neighbour() {
    let dir = tempfile::tempdir().unwrap();
    let file = ten_records(dir.path());
    for len in [0u32, 1, 100_000, u32::MAX] {
        damage(&file, start(7) + 4, |bytes| bytes[..4].copy_from_slice(&len.to_le_bytes()));
        let read = read_all(dir.path());
        assert_eq!(corrupt_runs(&read), [(7, 1)], "length {len}");
        assert_eq!(read.len(), 10);
    }
}

#[test]
fn the_search_behind_damage_goes_as_far_as_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(JournalConfig { segment_bytes: 4 << 20, ..config(dir.path()) }).unwrap();
    // The search takes 64 KiB at a time: the record behind the damage starts at, before and behind
    // every multiple of 8 around that.
    let lens: Vec<_> = (0..40).map(|step| (64 << 10) - 200 + 8 * step).collect();
    for len in &lens {
        writer.append(&vec![1; *len]).unwrap();
        writer.append(b"behind").unwrap();
    }
    drop(writer);
    let (mut at, file) = (HEADER_BYTES, segment_files(dir.path()).remove(0));
    for len in &lens {
        damage(&file, at + 8, |bytes| bytes[0] ^= 1);
        at += frame_bytes(*len) + frame_bytes(6);
    }
    let read = read_all(dir.path());
    assert_eq!(corrupt_runs(&read), (0..40).map(|pair| (2 * pair, 1)).collect::<Vec<_>>());
    assert_eq!(read.len(), 80);
}

#[test]
fn a_lost_stretch_is_reported_as_the_records_it_held() {
    let dir = tempfile::tempdir().unwrap();
    let file = ten_records(dir.path());
    damage(&file, start(2) + 8, |bytes| bytes[..300].fill(0));
    assert_eq!(corrupt_runs(&read_all(dir.path())), [(2, 3)]);
    damage(&file, start(0), |bytes| bytes.fill(0xff));
    assert_eq!(corrupt_runs(&read_all(dir.path())), [(0, 10)], "a sealed segment knows its count");
}

#[test]
fn a_corrupt_run_is_cut_to_the_limits_of_the_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = ten_records(dir.path());
    damage(&file, start(1), |bytes| bytes[..6 * 120].fill(0));
    let mut reader = Reader::open(dir.path(), None);
    let mut out = Vec::new();
    let outcome = reader.read(4, 1000, &mut out).unwrap();
    assert_eq!((corrupt_runs(&out), outcome.corrupt_records), (vec![(1, 3)], 3));
    // From within the run, a new reader gets the rest of it.
    let resumed = read_from(dir.path(), outcome.next);
    assert_eq!(corrupt_runs(&resumed)[0].0, 4);
    assert_eq!(resumed.last().unwrap().position.offset, 9);
}

#[test]
fn a_record_within_a_payload_is_not_taken_when_the_framing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    // Frames copied from elsewhere, and one of this very incarnation that only lies about its number.
    let other = tempfile::tempdir().unwrap();
    let foreign = fs::read(ten_records(other.path())).unwrap();
    let mut payload = foreign[HEADER_BYTES as usize..start(5) as usize].to_vec();
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&8u32.to_le_bytes());
    header[8..16].copy_from_slice(&2u64.to_le_bytes());
    payload.extend(header.iter().chain(b"gotcha!!").chain(&[0; 8]));
    writer.append(b"before").unwrap();
    writer.append(&payload).unwrap();
    writer.append(b"after").unwrap();
    drop(writer);
    damage(&segment_files(dir.path())[0], HEADER_BYTES + frame_bytes(6), |bytes| bytes[..16].fill(0xab));
    let read = read_all(dir.path());
    assert_eq!(corrupt_runs(&read), [(1, 1)]);
    assert_eq!((intact(&read[0]), intact(&read[2])), (&b"before"[..], &b"after"[..]));
}

#[test]
fn a_record_that_a_disk_wrote_to_the_wrong_place_is_not_read_twice() {
    let dir = tempfile::tempdir().unwrap();
    let file = ten_records(dir.path());
    let third = fs::read(&file).unwrap()[start(2) as usize..start(3) as usize].to_vec();
    damage(&file, start(6), |bytes| bytes[..third.len()].copy_from_slice(&third));
    let read = read_all(dir.path());
    assert_eq!((read.len(), corrupt_runs(&read)), (10, vec![(6, 1)]));
}

#[test]
fn a_segment_cut_within_its_header_still_owes_what_its_tail_word_counts() {
    for (cut, lost) in [(4096, vec![(0, 10)]), (136, vec![(0, 10)]), (135, vec![]), (0, vec![])] {
        let dir = tempfile::tempdir().unwrap();
        let file = ten_records(dir.path());
        OpenOptions::new().write(true).open(&file).unwrap().set_len(cut).unwrap();
        drop(open(dir.path()));
        assert_eq!(corrupt_runs(&read_all(dir.path())), lost, "cut at {cut}");
    }
}

#[test]
fn a_damaged_header_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = ten_records(dir.path());
    damage(&file, 0, |bytes| bytes[..64].fill(0));
    open(dir.path()).append(b"next").unwrap();
    assert_eq!(read_all(dir.path()).len(), 11);
}

#[test]
fn a_damaged_tail_word_costs_nothing_once_a_later_incarnation_exists() {
    let dir = tempfile::tempdir().unwrap();
    let file = ten_records(dir.path());
    damage(&file, 128, |bytes| bytes[0] ^= 0xff);
    open(dir.path()).append(b"next").unwrap();
    let read = read_all(dir.path());
    assert_eq!((read.len(), corrupt_runs(&read)), (11, vec![]));
}

#[test]
fn a_damaged_tail_word_of_a_full_segment_does_not_hold_up_a_living_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    append_run(&mut writer, 9, 900);
    damage(&segment_files(dir.path())[0], 128, |bytes| bytes[0] ^= 0xff);
    let read = read_all(dir.path());
    assert_eq!((read.len(), corrupt_runs(&read)), (9, vec![]));
}

#[test]
fn a_segment_cut_anywhere_keeps_what_is_whole_and_reports_the_rest() {
    for cut in (0..=10).map(start).flat_map(|at| [at - 90, at - 9, at - 8, at]) {
        let dir = tempfile::tempdir().unwrap();
        let file = ten_records(dir.path());
        let len = fs::metadata(&file).unwrap().len();
        OpenOptions::new().write(true).open(&file).unwrap().set_len(cut.min(len)).unwrap();
        let read = read_all(dir.path());
        // The padding and mark at a frame's end, here 4 bytes, are not part of the record.
        let whole = (0..10).filter(|number| start(*number) + 116 <= cut).count() as u64;
        let lost = if whole < 10 { vec![(whole, 10 - whole)] } else { vec![] };
        assert_eq!(corrupt_runs(&read), lost, "cut at {cut}");
    }
}

#[test]
fn a_torn_tail_ends_a_dead_incarnation_and_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    writer.append(b"whole").unwrap();
    let image = crash_image(dir.path());
    let file = segment_files(image.path()).remove(0);
    damage(&file, HEADER_BYTES + frame_bytes(5), |bytes| bytes[16..50].fill(7));

    let mut reader = Reader::open(image.path(), None);
    assert_eq!(drain(&mut reader, 10, 1000).len(), 1, "the writer may still live: nothing torn yet");
    open(image.path()).append(b"next").unwrap();
    let mut out = Vec::new();
    let mut torn_tails = 0;
    loop {
        let outcome = reader.read(1, 1000, &mut out).unwrap();
        torn_tails += outcome.torn_tails;
        if outcome.caught_up {
            break;
        }
    }
    assert_eq!(payloads(&out), [b"next"]);
    assert_eq!(torn_tails, 1);
}

#[test]
fn records_that_a_power_cut_took_below_the_published_tail_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    append_run(&mut writer, 10, 100);
    let image = crash_image(dir.path());
    damage(&segment_files(image.path())[0], start(6), |bytes| bytes.fill(0));
    open(image.path()).append(b"next").unwrap();
    let read = read_all(image.path());
    assert_eq!(corrupt_runs(&read), [(6, 4)]);
    assert_eq!(intact(read.last().unwrap()), b"next");
}

#[test]
fn records_newer_than_the_tail_word_that_a_power_cut_left_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    writer.append(b"one").unwrap();
    let old_word = fs::read(&segment_files(dir.path())[0]).unwrap()[128..144].to_vec();
    writer.append(&[0; 50]).unwrap();
    let image = crash_image(dir.path());
    damage(&segment_files(image.path())[0], 128, |bytes| bytes[..16].copy_from_slice(&old_word));
    assert_eq!(read_all(image.path()).len(), 1, "not published, and the writer may still live");
    drop(open(image.path()));
    assert_eq!(payloads(&read_all(image.path())), [b"one".to_vec(), vec![0; 50]]);
}

#[test]
fn a_segment_of_a_later_version_is_refused_not_guessed() {
    let dir = tempfile::tempdir().unwrap();
    let file = ten_records(dir.path());
    damage(&file, 0, |bytes| {
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    let refused = Reader::open(dir.path(), None).read(1, 1, &mut Vec::new()).unwrap_err();
    assert!(matches!(refused, ReadError::Version { version: 9, .. }));
}
