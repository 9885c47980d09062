//! What recording a click costs: a `write(2)` per record against the journal, in the same run.
//!
//! `cargo bench -p whence-journal`. Prints the machine, the command, the sample, and for each way the
//! median over the rounds of nanoseconds per record. The rounds interleave the ways, so that what else
//! the machine does hits all alike.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use whence_journal::{JournalConfig, Position, Reader, Writer, retire};

const ROUNDS: usize = 9;
/// Twelve segments of 16 MiB, so that rolling is in the figures.
const RECORDS: usize = 600_000;
const RECORD_BYTES: usize = 300;
const SEGMENT_BYTES: u64 = 16 << 20;

type Way = (&'static str, fn(&Path) -> f64);

const WAYS: [Way; 4] = [
    ("write(2) per record, appending to a file", write_per_record),
    ("Writer::append", journal_append),
    ("Writer::append_with, encoding in place", journal_append_with),
    ("Reader::read, batches of 1000", journal_read),
];

fn main() {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().unwrap();
    println!("machine  {model}, {cores} cores");
    println!("command  cargo bench -p whence-journal");
    println!(
        "sample   {ROUNDS} rounds of {RECORDS} records of {RECORD_BYTES} bytes, 16 MiB segments, one thread"
    );

    let dir = tempfile::tempdir().unwrap();
    let mut samples = [const { Vec::new() }; WAYS.len()];
    for round in 0..=ROUNDS {
        for (samples, (_, run)) in samples.iter_mut().zip(WAYS) {
            let nanoseconds = run(dir.path());
            // The first round warms the file system and the allocator up.
            if round > 0 {
                samples.push(nanoseconds);
            }
        }
        clear(dir.path());
    }
    println!("{:<44}{:>8}{:>8}{:>8}   ns/record", "", "median", "least", "most");
    for (samples, (name, _)) in samples.iter_mut().zip(WAYS) {
        samples.sort_by(f64::total_cmp);
        let (least, most) = (samples[0], samples[ROUNDS - 1]);
        println!("{name:<44}{:>8.1}{least:>8.1}{most:>8.1}", samples[ROUNDS / 2]);
    }
}

/// Nanoseconds per record of `run`.
fn timed(run: impl FnOnce()) -> f64 {
    let started = Instant::now();
    run();
    started.elapsed().as_nanos() as f64 / RECORDS as f64
}

fn record(number: usize) -> [u8; RECORD_BYTES] {
    [number as u8; RECORD_BYTES]
}

fn write_per_record(dir: &Path) -> f64 {
    let path = dir.join("plain.log");
    let mut file: File = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let nanoseconds = timed(|| {
        for number in 0..RECORDS {
            file.write_all(black_box(&record(number))).unwrap();
        }
    });
    fs::remove_file(path).unwrap();
    nanoseconds
}

fn writer(dir: &Path) -> Writer {
    let dir = dir.join("journal");
    Writer::open(JournalConfig { dir, segment_bytes: SEGMENT_BYTES, quota_bytes: 1 << 40 }).unwrap()
}

fn journal_append(dir: &Path) -> f64 {
    let mut writer = writer(dir);
    timed(|| {
        for number in 0..RECORDS {
            black_box(writer.append(black_box(&record(number))).unwrap());
        }
    })
}

fn journal_append_with(dir: &Path) -> f64 {
    let mut writer = writer(dir);
    timed(|| {
        for number in 0..RECORDS {
            let appended = writer.append_with(RECORD_BYTES, |buf| buf.fill(black_box(number) as u8));
            black_box(appended.unwrap());
        }
    })
}

/// Reads what the two before have written.
fn journal_read(dir: &Path) -> f64 {
    let mut reader = Reader::open(dir.join("journal"), None);
    let mut out = Vec::new();
    let mut left = RECORDS;
    timed(|| {
        while left > 0 {
            reader.read(1000.min(left), usize::MAX, &mut out).unwrap();
            left -= out.len();
            black_box(&out);
            out.clear();
        }
    })
}

/// Retires what a round wrote, so that the page cache holds one round at a time.
fn clear(dir: &Path) {
    let last = writer(dir).next_position();
    let past_all = Position { offset: 0, ..last };
    retire(&dir.join("journal"), past_all, std::time::Duration::ZERO).unwrap();
}
