//! What a journal refuses and what it owes the disk: locks, sizes, quota, a full disk, syncs.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use whence_journal::{
    AppendError, Disk, JournalConfig, OpenError, OsDisk, Position, Quota, Visibility, Writer, disk_usage,
    retire,
};

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let refused = Writer::open(config(dir.path()));
    assert!(matches!(refused, Err(OpenError::Locked(path)) if path == dir.path()));
    let before = first.incarnation();
    drop(first);
    assert!(open(dir.path()).incarnation() > before);
}

#[test]
fn a_record_larger_than_a_segment_is_refused_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    let largest = (SEGMENT_BYTES - HEADER_BYTES) as usize - 17;
    for too_large in [largest + 8, SEGMENT_BYTES as usize, usize::MAX] {
        let refused = writer.append_with(too_large, |_| panic!("there is no place to write"));
        assert!(matches!(refused, Err(AppendError::TooLarge)));
    }
    writer.append(&vec![7; largest]).unwrap();
    writer.append(b"next").unwrap();
    assert_eq!(payloads(&read_all(dir.path())), [vec![7; largest], b"next".to_vec()]);
}

#[test]
fn a_directory_that_had_to_be_made_is_synced_into_its_parents() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(CountingDisk::default());
    let config = config(&dir.path().join("journals/api"));
    drop(Writer::open_with(config, Visibility::Synced, Arc::<CountingDisk>::clone(&disk)).unwrap());
    assert_eq!(disk.take(), (0, 2));
}

#[test]
fn a_reached_quota_refuses_and_retiring_frees_it() {
    let dir = tempfile::tempdir().unwrap();
    let quota_bytes = 3 * SEGMENT_BYTES;
    let mut writer =
        Writer::open(JournalConfig { quota: Quota::bytes(quota_bytes), ..config(dir.path()) }).unwrap();
    let mut accepted = 0;
    let refusal = loop {
        match writer.append(&[1; 1100]) {
            Ok(position) => accepted = position.offset + 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, AppendError::QuotaReached));
    assert_eq!(accepted, 9, "three segments of three");
    assert!(disk_usage(dir.path()).unwrap().bytes <= quota_bytes);
    writer.append(b"what still fits").unwrap();

    let read = read_all(dir.path());
    assert_eq!(read.len(), 10);
    retire(dir.path(), read[9].next(), Duration::ZERO).unwrap();
    let position = eventually("room after retiring", || writer.append(&[2; 1100]).ok());
    assert_eq!(position, read[9].next(), "a refused record leaves no gap");
}

#[test]
fn of_journals_with_one_bound_the_busy_one_takes_what_the_others_leave() {
    let root = tempfile::tempdir().unwrap();
    let [busy, quiet, former] = ["busy", "quiet", "former"].map(|name| root.path().join(name));
    open(&former).append(&[1; 1100]).unwrap();
    let quota = Quota::bytes(12 * SEGMENT_BYTES);
    quota.count(&former).unwrap();
    let shared = |dir: &Path| Writer::open(JournalConfig { quota: quota.clone(), ..config(dir) }).unwrap();
    let (mut writer, mut other) = (shared(&busy), shared(&quiet));
    other.append(&[1; 1100]).unwrap();
    while writer.append(&[2; 1100]).is_ok() {}
    let taken = |dir: &Path| disk_usage(dir).unwrap().bytes;
    let all: u64 = [&busy, &quiet, &former].map(|dir| taken(dir)).iter().sum();
    assert!(taken(&busy) >= 9 * SEGMENT_BYTES, "{} of {all}", taken(&busy));
    assert!(all <= 12 * SEGMENT_BYTES, "{all}");
    assert!(!quota.has_room(SEGMENT_BYTES).unwrap());
    while other.append(&[1; 1100]).is_ok() {}
    let read = read_all(&busy);
    retire(&busy, read[read.len() - 1].next(), Duration::ZERO).unwrap();
    eventually("what one gives back is the other's", || other.append(&[1; 1100]).ok());
    assert!(quota.has_room(SEGMENT_BYTES).unwrap());
}

#[test]
fn room_made_before_it_is_needed_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer =
        Writer::open(JournalConfig { quota: Quota::bytes(2 * SEGMENT_BYTES), ..config(dir.path()) }).unwrap();
    for number in 0..100 {
        // Halfway through its second segment the journal asks for a third, which the quota refuses;
        // by the time it is needed the first is gone.
        let position = writer.append(&[number; 1500]).unwrap();
        retire(dir.path(), position, Duration::ZERO).unwrap();
    }
    assert_eq!(read_all(dir.path()).last().unwrap().position.offset, 99);
}

#[test]
fn a_journal_without_room_opens_and_takes_records_when_there_is() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(&[1; 3000]).unwrap();
    let unread = open(dir.path()).append(&[2; 3000]).unwrap();
    let quota_bytes = disk_usage(dir.path()).unwrap().bytes + SEGMENT_BYTES - 1;
    let mut writer =
        Writer::open(JournalConfig { quota: Quota::bytes(quota_bytes), ..config(dir.path()) }).unwrap();
    assert!(matches!(writer.append(b"refused"), Err(AppendError::QuotaReached)));
    assert_eq!(retire(dir.path(), unread, Duration::ZERO).unwrap().segments, 1);
    let taken = eventually("room after retiring", || writer.append(b"taken").ok());
    assert_eq!(taken, Position { incarnation: writer.incarnation(), offset: 0 });
    assert_eq!(read_all(dir.path()).len(), 2);
}

/// A disk that has no room when told so.
#[derive(Debug, Default)]
struct FullDisk(AtomicBool);

impl Disk for FullDisk {
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => OsDisk.allocate(file, bytes),
        }
    }
    fn sync_file(&self, file: &File) -> io::Result<()> {
        OsDisk.sync_file(file)
    }
    fn sync_dir(&self, dir: &File) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
}

#[test]
fn a_full_disk_refuses_without_a_signal_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FullDisk(AtomicBool::new(true)));
    let mut writer =
        Writer::open_with(config(dir.path()), Visibility::Appended, Arc::<FullDisk>::clone(&disk)).unwrap();
    assert!(matches!(writer.append(b"refused"), Err(AppendError::DiskFull)));
    assert_eq!(disk_usage(dir.path()).unwrap().segments, 0, "a failed try leaves nothing behind");
    disk.0.store(false, Ordering::Relaxed);
    eventually("room", || writer.append(&[1; 2000]).ok());
    disk.0.store(true, Ordering::Relaxed);
    // One segment ahead may have been allocated before the disk was full.
    let refusal = eventually("a full disk", || writer.append(&[1; 2000]).err());
    assert!(matches!(refusal, AppendError::DiskFull));
    let written = writer.next_position().offset;
    assert_eq!(read_all(dir.path()).len() as u64, written);
}

/// A disk that makes no segment, and says nothing, while told so.
#[derive(Debug, Default)]
struct StalledDisk(AtomicBool);

impl Disk for StalledDisk {
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        while self.0.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        OsDisk.allocate(file, bytes)
    }
    fn sync_file(&self, file: &File) -> io::Result<()> {
        OsDisk.sync_file(file)
    }
    fn sync_dir(&self, dir: &File) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
}

#[test]
fn a_disk_that_does_not_answer_refuses_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(StalledDisk::default());
    let mut writer =
        Writer::open_with(config(dir.path()), Visibility::Appended, Arc::<StalledDisk>::clone(&disk))
            .unwrap();
    disk.0.store(true, Ordering::Relaxed);
    let (refused, refusals) = std::sync::mpsc::channel();
    let appending = std::thread::spawn(move || {
        // One segment ahead may have been made before. After the first refusal none waits any more.
        let errors = (0..1000).filter_map(|_| writer.append(&[1; 2000]).err());
        refused.send(errors.collect::<Vec<_>>()).unwrap();
        writer
    });
    let refusals = refusals.recv_timeout(Duration::from_secs(30)).expect("answered although the disk is not");
    assert!(refusals.len() > 900, "{}", refusals.len());
    assert!(refusals.iter().all(|refusal| matches!(refusal, AppendError::Stalled)));
    disk.0.store(false, Ordering::Relaxed);
    let mut writer = appending.join().unwrap();
    eventually("an answer", || writer.append(&[1; 2000]).ok());
    assert_eq!(read_all(dir.path()).len() as u64, writer.next_position().offset);
}

#[test]
fn a_finished_segment_gives_back_what_it_did_not_use() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    writer.append(&[1; 100]).unwrap();
    drop(writer);
    let expected = HEADER_BYTES + frame_bytes(100);
    assert_eq!(disk_usage(dir.path()).unwrap().bytes, expected);
}

#[test]
fn sync_covers_segments_rolled_since_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(CountingDisk::default());
    let mut writer =
        Writer::open_with(config(dir.path()), Visibility::Appended, Arc::<CountingDisk>::clone(&disk))
            .unwrap();
    append_run(&mut writer, 12, 900);
    writer.sync().unwrap();
    assert_eq!(disk.take(), (3, 1));
    append_run(&mut writer, 4, 900);
    writer.sync().unwrap();
    assert_eq!(disk.take(), (1, 1));
    disk.fails.store(true, Ordering::Relaxed);
    writer.append(b"doubtful").unwrap();
    writer.sync().unwrap_err();
    disk.fails.store(false, Ordering::Relaxed);
    assert!(matches!(writer.append(b"refused"), Err(AppendError::Failed)), "a later sync proves nothing");
}

/// A disk that counts syncs of files and directories, and fails them when told to.
#[derive(Debug, Default)]
struct CountingDisk {
    counts: std::sync::Mutex<(u32, u32)>,
    fails: AtomicBool,
}

impl CountingDisk {
    fn take(&self) -> (u32, u32) {
        std::mem::take(&mut self.counts.lock().unwrap())
    }
}

impl Disk for CountingDisk {
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        OsDisk.allocate(file, bytes)
    }
    fn sync_file(&self, _: &File) -> io::Result<()> {
        self.counts.lock().unwrap().0 += 1;
        if self.fails.load(Ordering::Relaxed) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
    fn sync_dir(&self, _: &File) -> io::Result<()> {
        self.counts.lock().unwrap().1 += 1;
        Ok(())
    }
}
