//! A process that has no descriptor left writes its journals as before. The limit is the whole process's: one
//! test, alone in its process.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::fs::File;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use whence_journal::{GroupCommit, GroupCommitConfig, JournalConfig, Writer};

const RECORD: &[u8] = &[7; 1000];
/// What a segment is by default.
const LARGE_SEGMENT_BYTES: u64 = 16 << 20;
/// Of a listener that has no descriptor for a newcomer.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(60);

/// Takes every descriptor that there is, as a flood of connections does.
fn take_all(taken: &mut Vec<File>) {
    taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
}

struct Over(AtomicBool);

/// A failure is an end, too.
struct OverAtTheEnd<'a>(&'a Over);

impl Drop for OverAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn segments_follow_each_other_when_the_process_has_no_descriptor_left() {
    let [clicks, conversions, aged, large] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let mut writer = Writer::open(config(clicks.path())).unwrap();
    let mut old = Writer::open(JournalConfig { segment_bytes: 1 << 20, ..config(aged.path()) }).unwrap();
    let mut large_writer =
        Writer::open(JournalConfig { segment_bytes: LARGE_SEGMENT_BYTES, ..config(large.path()) }).unwrap();
    let journal = JournalConfig { ..config(conversions.path()) };
    let group = GroupCommit::open(GroupCommitConfig {
        journal,
        waiting_bytes_max: 1 << 20,
        segment_age: Duration::from_secs(3600),
    })
    .unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), ..limit }).unwrap();
    let mut taken = Vec::new();
    take_all(&mut taken);
    assert!(File::open("/dev/null").is_err(), "there is none left");

    let is_over = Over(AtomicBool::new(false));
    let records = 10 * SEGMENT_BYTES as usize / RECORD.len();
    let large_records = 3 * LARGE_SEGMENT_BYTES as usize / RECORD.len();
    thread::scope(|scope| {
        // What becomes free is taken, as by listeners that pause when there is none.
        scope.spawn(|| {
            while !is_over.0.load(Ordering::Relaxed) {
                take_all(&mut taken);
                thread::sleep(ACCEPT_PAUSE);
            }
        });
        let _over = OverAtTheEnd(&is_over);
        for _ in 0..records {
            writer.append(RECORD).unwrap();
            block_on(group.append(&[RECORD])).unwrap();
        }
        for _ in 0..large_records {
            large_writer.append(RECORD).unwrap();
        }
        old.append(RECORD).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while !old.roll_older_than(Duration::ZERO).unwrap() {
            assert!(Instant::now() < deadline, "a segment is not closed for its age");
            thread::yield_now();
        }
    });
    drop(taken);
    setrlimit(Resource::Nofile, limit).unwrap();
    for dir in [&clicks, &conversions] {
        assert!(segment_files(dir.path()).len() >= 10);
        assert_eq!(read_all(dir.path()).len(), records);
    }
    assert!(segment_files(large.path()).len() >= 3);
    assert_eq!(read_all(large.path()).len(), large_records);
    assert_eq!(segment_files(aged.path()).len(), 2);
}
