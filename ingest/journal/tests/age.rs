//! How long what was appended stays on the disk once it was read.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::*;
use whence_journal::{GroupCommit, GroupCommitConfig, Position, Quota, Writer, retire};

const PERSON: &[u8] = b"the keyed hash of a person";

/// Whether any file of the journal holds the person's bytes.
fn holds_person(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let bytes = match fs::read(entry.unwrap().path()) {
            // Retired, or it got its name, between listing and reading: the next look sees the rest.
            Err(_) => return true,
            Ok(bytes) => bytes,
        };
        bytes.windows(PERSON.len()).any(|window| window == PERSON)
    })
}

#[test]
fn a_segment_is_closed_for_its_age_only_and_only_with_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    assert!(!writer.roll_older_than(Duration::ZERO).unwrap());
    writer.append(PERSON).unwrap();
    assert!(!writer.roll_older_than(Duration::from_secs(3600)).unwrap());
    let end = writer.next_position();
    retire(dir.path(), end, Duration::ZERO).unwrap();
    assert!(holds_person(dir.path()), "the newest segment stays");
    age(&mut writer);
    assert_eq!(segment_files(dir.path()).len(), 2);
    assert!(!writer.roll_older_than(Duration::ZERO).unwrap(), "an empty segment grows no older");
    assert_eq!(payloads(&read_all(dir.path())), [PERSON]);
    // The thread that cuts the closed segment may still have it open: what counts is the directory.
    eventually("the person is gone", || {
        retire(dir.path(), end, Duration::ZERO).unwrap();
        (!holds_person(dir.path())).then_some(())
    });
    assert_eq!(writer.append(b"next").unwrap(), end, "offsets go on");
}

#[test]
fn a_quota_without_room_puts_the_closing_off_and_costs_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let quota_bytes = 2 * SEGMENT_BYTES - 1;
    let mut writer = Writer::open(whence_journal::JournalConfig {
        quota: Quota::bytes(quota_bytes),
        ..config(dir.path())
    })
    .unwrap();
    for _ in 0..20 {
        writer.append(PERSON).unwrap();
        assert!(!writer.roll_older_than(Duration::ZERO).unwrap());
    }
    assert_eq!(read_all(dir.path()).len(), 20);
}

#[tokio::test]
async fn a_synced_journal_closes_its_segment_by_itself_when_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let segment_age = Duration::from_millis(20);
    let settings = GroupCommitConfig { journal: config(dir.path()), waiting_bytes_max: 1 << 20, segment_age };
    let commits = GroupCommit::open(settings).unwrap();
    for round in 0..3 {
        let first = commits.append(&[PERSON]).await.unwrap();
        assert_eq!(first.offset, round);
        let end = Position { offset: round + 1, ..first };
        eventually("the person is gone", || {
            retire(dir.path(), end, Duration::ZERO).unwrap();
            (!holds_person(dir.path())).then_some(())
        });
    }
    drop(commits);
    assert_eq!(read_all(dir.path()), []);
}
