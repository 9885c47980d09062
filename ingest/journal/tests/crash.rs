//! Kills writing processes with SIGKILL and looks for every record they had answered for.
//!
//! The child is this binary again, as the ignored test [`child`]: it appends until it is killed and prints each offset
//! only after the journal returned for it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are no tests to the lint")]

mod common;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use common::{crash_image, intact, open, read_all};
use whence_journal::{GroupCommit, GroupCommitConfig, JournalConfig, Position, Quota, Writer};

/// After how many answers each child is killed: at once, within a segment, after several.
const KILL_AFTER: [usize; 10] = [1, 2, 3, 17, 100, 400, 1_000, 3_000, 6_000, 12_000];
/// How the child writes, and where.
const MODE: &str = "WHENCE_TEST_CRASH_MODE";
const DIR: &str = "WHENCE_TEST_CRASH_DIR";

#[test]
fn every_record_that_an_append_answered_for_survives_sigkill() {
    every_answered_record_survives_sigkill("append", &KILL_AFTER);
}

#[test]
fn every_record_that_a_group_commit_answered_for_survives_sigkill() {
    every_answered_record_survives_sigkill("commit", &KILL_AFTER[..6]);
}

#[test]
#[ignore = "the process that the others kill"]
fn child() {
    let dir = env::var(DIR).unwrap();
    match env::var(MODE).unwrap().as_str() {
        "append" => append_until_killed(Path::new(&dir)),
        "commit" => commit_until_killed(Path::new(&dir)),
        other => panic!("{other:?}"),
    }
}

fn config(dir: &Path) -> JournalConfig {
    JournalConfig { dir: dir.to_owned(), segment_bytes: 1 << 16, quota: Quota::bytes(1 << 30) }
}

fn payload(offset: u64) -> Vec<u8> {
    vec![offset as u8; (offset % 500) as usize]
}

fn append_until_killed(dir: &Path) {
    let mut writer = Writer::open(config(dir)).unwrap();
    loop {
        let payload = payload(writer.next_position().offset);
        answer(writer.append(&payload).unwrap());
    }
}

fn commit_until_killed(dir: &Path) {
    let commits = GroupCommit::open(GroupCommitConfig {
        journal: config(dir),
        waiting_bytes_max: 1 << 20,
        segment_age: std::time::Duration::MAX,
    })
    .unwrap();
    for offset in 0.. {
        answer(block_on(commits.append(&[&payload(offset)])).unwrap());
    }
}

/// One unbuffered line, so that it is out before the next append begins.
fn answer(position: Position) {
    let mut out = std::io::stderr().lock();
    writeln!(out, "{} {}", position.incarnation, position.offset).unwrap();
}

fn every_answered_record_survives_sigkill(mode: &str, kill_after: &[usize]) {
    let dir = tempfile::tempdir().unwrap();
    let mut answered = Vec::new();
    for answers in kill_after {
        answered.extend(run_and_kill(mode, dir.path(), *answers));
    }
    // Also what the last child left is final once another writer has the journal.
    drop(open(dir.path()));
    let image = crash_image(dir.path());
    let read = read_all(image.path());
    for record in &read {
        assert_eq!(intact(record), payload(record.position.offset), "{mode}: {}", record.position);
    }
    let mut read = read.iter().map(|record| record.position);
    for position in &answered {
        assert!(read.any(|other| other == *position), "{mode}: {position} was answered for and is gone");
    }
    println!("{mode}: {} kills, {} answered records, all there", kill_after.len(), answered.len());
}

/// Runs a child until it has given `answers` answers, kills it, and returns all it had given.
fn run_and_kill(mode: &str, dir: &Path, answers: usize) -> Vec<Position> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(MODE, mode)
        .env(DIR, dir)
        // Where the harness writes nothing.
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut answered = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // The kill may cut the last line.
        if let Some((incarnation, offset)) = line.strip_suffix('\n').and_then(|line| line.split_once(' ')) {
            let position =
                Position { incarnation: incarnation.parse().unwrap(), offset: offset.parse().unwrap() };
            answered.push(position);
        }
        line.clear();
        if answered.len() == answers {
            // SIGKILL, while the child is appending; what it has printed meanwhile is read too.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(answered.len() >= answers, "the child ended by itself");
    answered
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
