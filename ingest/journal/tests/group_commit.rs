//! Committing from many tasks, and what a failing disk does to them.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::*;
use whence_journal::{
    CommitError, Disk, GroupCommit, GroupCommitConfig, JournalConfig, OsDisk, Position, Quota, Reader,
};

/// A disk whose syncs wait for permission, are counted, and fail as told.
#[derive(Debug, Default)]
struct StubbornDisk {
    state: Mutex<DiskState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct DiskState {
    is_stuck: bool,
    fails: u32,
    begun: u32,
    is_full: bool,
}

impl StubbornDisk {
    fn set(&self, change: impl FnOnce(&mut DiskState)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn begun(&self) -> u32 {
        self.state.lock().unwrap().begun
    }
}

impl Disk for StubbornDisk {
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        if self.state.lock().unwrap().is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        OsDisk.allocate(file, bytes)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.begun += 1;
        // Not for ever: a test that fails meanwhile must end.
        let stuck = |state: &mut DiskState| state.is_stuck;
        let (mut state, _) = self.changed.wait_timeout_while(state, Duration::from_secs(30), stuck).unwrap();
        if state.fails > 0 {
            state.fails -= 1;
            return Err(io::Error::from_raw_os_error(5));
        }
        drop(state);
        OsDisk.sync_file(file)
    }

    fn sync_dir(&self, dir: &File) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    disk: Arc<StubbornDisk>,
    commits: GroupCommit,
}

fn fixture(waiting_bytes_max: usize, quota_bytes: u64) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(StubbornDisk::default());
    let journal = JournalConfig { quota: Quota::bytes(quota_bytes), ..config(dir.path()) };
    let config = GroupCommitConfig { journal, waiting_bytes_max, segment_age: Duration::MAX };
    let commits = GroupCommit::open_with(config, Arc::<StubbornDisk>::clone(&disk)).unwrap();
    Fixture { dir, disk, commits }
}

/// Commits one record, trying again while it is refused as `passing` says.
async fn commit(commits: &GroupCommit, payload: &[u8], passing: fn(&CommitError) -> bool) -> Position {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match commits.append(&[payload]).await {
            Ok(position) => return position,
            Err(refused) => assert!(passing(&refused) && Instant::now() < deadline, "{refused:?}"),
        }
    }
}

#[tokio::test]
async fn a_commit_resolves_to_the_position_of_its_first_record() {
    let Fixture { dir, commits, .. } = fixture(1 << 20, 1 << 30);
    let one = commits.append(&[b"a", b"b", b"c"]).await.unwrap();
    let two = commits.append(&[b"d"]).await.unwrap();
    assert_eq!((one.offset, two), (0, one.plus(3)));
    drop(commits);
    assert_eq!(payloads(&read_all(dir.path())), [b"a", b"b", b"c", b"d"]);
}

#[tokio::test]
async fn one_sync_serves_all_that_gathered_while_the_disk_was_busy() {
    let Fixture { dir: _dir, disk, commits } = fixture(1 << 20, 1 << 30);
    disk.set(|state| state.is_stuck = true);
    let first = commits.append(&[b"first"]);
    eventually("the first sync", || (disk.begun() == 1).then_some(()));
    let gathered: Vec<_> = (0..100u8).map(|number| commits.append(&[&[number]])).collect();
    disk.set(|state| state.is_stuck = false);
    first.await.unwrap();
    for (number, commit) in gathered.into_iter().enumerate() {
        assert_eq!(commit.await.unwrap().offset, 1 + number as u64);
    }
    assert_eq!(disk.begun(), 2);
}

#[tokio::test]
async fn nothing_is_seen_before_it_is_on_the_disk() {
    let Fixture { dir, disk, commits } = fixture(1 << 20, 1 << 30);
    disk.set(|state| state.is_stuck = true);
    // More than a segment, so that a rolled segment waits for the disk too.
    let commit = commits.append(&[&[1; 1500], &[2; 1500], &[3; 1500]]);
    eventually("the sync", || (disk.begun() == 1).then_some(()));
    let mut reader = Reader::open(dir.path(), None);
    assert_eq!(drain(&mut reader, 10, 10_000), []);
    disk.set(|state| state.is_stuck = false);
    commit.await.unwrap();
    assert_eq!(drain(&mut reader, 10, 10_000).len(), 3);
}

#[tokio::test]
async fn what_may_wait_is_bounded() {
    let Fixture { dir: _dir, disk, commits } = fixture(1000, 1 << 30);
    disk.set(|state| state.is_stuck = true);
    assert!(matches!(commits.append(&[&[0; 1000]]).await, Err(CommitError::TooLarge)));
    let waiting = commits.append(&[&[0; 800]]);
    let refused = commits.append(&[&[0; 300]]).await.unwrap_err();
    assert!(matches!(refused, CommitError::Busy) && refused.is_retriable());
    disk.set(|state| state.is_stuck = false);
    waiting.await.unwrap();
    commits.append(&[&[0; 300]]).await.unwrap();
}

#[tokio::test]
async fn a_failed_sync_refuses_all_that_wait_and_begins_a_new_incarnation() {
    let Fixture { dir, disk, commits } = fixture(1 << 20, 1 << 30);
    let before = commits.append(&[b"kept"]).await.unwrap();
    disk.set(|state| (state.is_stuck, state.fails) = (true, 1));
    let covered = commits.append(&[b"covered"]);
    eventually("the failing sync", || (disk.begun() == 2).then_some(()));
    let gathered = commits.append(&[b"gathered"]);
    disk.set(|state| state.is_stuck = false);
    for refused in [covered.await, gathered.await] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, CommitError::Io(_)) && refused.is_retriable());
    }
    let retried = commit(&commits, b"retried", |refused| matches!(refused, CommitError::Reopening)).await;
    assert!(retried.incarnation > before.incarnation);
    assert_eq!(retried.offset, 0);
    drop(commits);
    let read = read_all(dir.path());
    assert_eq!((intact(&read[0]), intact(read.last().unwrap())), (&b"kept"[..], &b"retried"[..]));
}

#[tokio::test]
async fn a_disk_that_keeps_failing_never_gets_an_answer_out() {
    let Fixture { dir: _dir, disk, commits } = fixture(1 << 20, 1 << 30);
    disk.set(|state| state.fails = 3);
    let mut failures = 0;
    while failures < 3 {
        match commits.append(&[b"event"]).await {
            Err(CommitError::Io(_)) => failures += 1,
            Err(CommitError::Reopening) => {}
            other => panic!("{other:?}"),
        }
    }
    commit(&commits, b"event", |refused| matches!(refused, CommitError::Reopening)).await;
}

#[tokio::test]
async fn a_reached_quota_refuses_only_those_it_hits() {
    let Fixture { dir, commits, .. } = fixture(1 << 20, 2 * SEGMENT_BYTES);
    let mut committed = Vec::new();
    let refused = loop {
        match commits.append(&[&[1; 1100]]).await {
            Ok(position) => committed.push(position),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, CommitError::QuotaReached) && refused.is_retriable());
    assert_eq!(committed.len(), 6);
    commits.append(&[b"small"]).await.unwrap();
    drop(commits);
    assert_eq!(read_all(dir.path()).len(), 7);
}

#[tokio::test]
async fn a_full_disk_refuses_and_passes() {
    let Fixture { dir: _dir, disk, commits } = fixture(1 << 20, 1 << 30);
    disk.set(|state| state.is_full = true);
    let refused = loop {
        if let Err(refused) = commits.append(&[&[1; 1100]]).await {
            break refused;
        }
    };
    assert!(matches!(refused, CommitError::DiskFull) && refused.is_retriable());
    disk.set(|state| state.is_full = false);
    commit(&commits, &[1; 1100], |refused| matches!(refused, CommitError::DiskFull)).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_back() {
    let Fixture { dir, disk, commits } = fixture(1000, 1 << 30);
    disk.set(|state| state.is_stuck = true);
    drop(commits.append(&[&[7; 700]]));
    disk.set(|state| state.is_stuck = false);
    // Its bytes are given back too.
    commit(&commits, &[8; 700], |refused| matches!(refused, CommitError::Busy)).await;
    drop(commits);
    let read = payloads(&read_all(dir.path()));
    assert_eq!(read[0], [7; 700]);
}

#[tokio::test]
async fn closing_commits_what_waits() {
    let Fixture { dir, disk, commits } = fixture(1 << 20, 1 << 30);
    disk.set(|state| state.is_stuck = true);
    let waiting = commits.append(&[b"waiting"]);
    disk.set(|state| state.is_stuck = false);
    drop(commits);
    waiting.await.unwrap();
    assert_eq!(payloads(&read_all(dir.path())), [b"waiting"]);
}
