//! What the tests share: small journals, reading to the end, and images of a crash.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use whence_journal::{JournalConfig, Payload, Position, Quota, Reader, Record, Writer};

/// The header page of a segment, as the format says.
pub const HEADER_BYTES: u64 = 4096;
/// The smallest segment: a header page and a page of records.
pub const SEGMENT_BYTES: u64 = 8192;

/// Bytes of a record in a segment, as the format says.
pub fn frame_bytes(len: usize) -> u64 {
    (16 + len as u64 + 1).next_multiple_of(8)
}

pub fn config(dir: &Path) -> JournalConfig {
    JournalConfig { dir: dir.to_owned(), segment_bytes: SEGMENT_BYTES, quota: Quota::bytes(1 << 30) }
}

pub fn open(dir: &Path) -> Writer {
    Writer::open(config(dir)).unwrap()
}

/// Closes the active segment, which has records, for its age.
pub fn age(writer: &mut Writer) {
    eventually("the next segment", || writer.roll_older_than(Duration::ZERO).unwrap().then_some(()));
}

/// Appends `records` records of `len` bytes, each filled with its number.
pub fn append_run(writer: &mut Writer, records: u8, len: usize) -> Vec<Position> {
    (0..records).map(|number| writer.append(&vec![number; len]).unwrap()).collect()
}

/// Everything a reader at `from` gets until it has caught up.
pub fn read_from(dir: &Path, from: Option<Position>) -> Vec<Record> {
    drain(&mut Reader::open(dir, from), 1000, 1 << 20)
}

pub fn read_all(dir: &Path) -> Vec<Record> {
    read_from(dir, None)
}

pub fn drain(reader: &mut Reader, max_records: usize, max_bytes: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while !reader.read(max_records, max_bytes, &mut records).unwrap().caught_up {}
    records
}

pub fn intact(record: &Record) -> &[u8] {
    match &record.payload {
        Payload::Intact(bytes) => bytes,
        Payload::Corrupt { .. } => panic!("{} is corrupt", record.position),
    }
}

pub fn payloads(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|record| intact(record).to_vec()).collect()
}

/// The segment files of a journal, in order.
pub fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).collect();
    files.sort();
    files
}

/// What a crash at this moment would leave: the files as they are, without the writer.
pub fn crash_image(dir: &Path) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match fs::copy(&path, image.path().join(path.file_name().unwrap())) {
            // The blank became a segment meanwhile; nothing was appended to it yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => drop(copied.unwrap()),
        }
    }
    image
}

/// Overwrites bytes of a file in place.
pub fn damage(path: &Path, at: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    let mut tail = bytes.split_off(at as usize);
    change(&mut tail);
    bytes.extend(tail);
    fs::write(path, bytes).unwrap();
}

/// Waits for a condition, and fails the test if it does not come true.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come true");
        std::thread::yield_now();
    }
}
