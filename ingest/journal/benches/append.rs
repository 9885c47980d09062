//! What recording a click costs: a `write(2)` per record against the journal, in the same run.
//!
//! `cargo bench -p whence-journal`. Prints the machine, the command, the sample, and for each way the
//! median over the rounds of nanoseconds per record, by the clock and of processor time. The rounds interleave the ways, so that what else
//! the machine does hits all alike.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use whence_journal::{JournalConfig, Position, Quota, Reader, Writer, retire};

const ROUNDS: usize = 9;
/// Twelve segments of 16 MiB, so that rolling is in the figures.
const RECORDS: usize = 600_000;
const RECORD_BYTES: usize = 300;
const SEGMENT_BYTES: u64 = 16 << 20;

#[derive(Clone, Copy)]
struct Cost {
    /// By the clock.
    clock: f64,
    /// Processor time of the thread that appends or reads: what an event loop gives up.
    thread: f64,
    /// Processor time of all threads. Steadier than the clock where others use the machine.
    all: f64,
}

type Way = (&'static str, fn(&Path) -> Cost);

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
            let cost = run(dir.path());
            // The first round warms the file system and the allocator up.
            if round > 0 {
                samples.push(cost);
            }
        }
        clear(dir.path());
    }
    println!("nanoseconds per record, median (least to most)");
    println!("{:<42}{:>20}{:>20}{:>20}", "", "clock", "cpu, this thread", "cpu, all threads");
    for (samples, (name, _)) in samples.iter().zip(WAYS) {
        let of: [fn(&Cost) -> f64; 3] = [|cost| cost.clock, |cost| cost.thread, |cost| cost.all];
        let [clock, thread, all] = of.map(|of| spread(samples, of));
        println!("{name:<42}{clock:>20}{thread:>20}{all:>20}");
    }
}

fn spread(samples: &[Cost], of: impl Fn(&Cost) -> f64) -> String {
    let mut samples: Vec<_> = samples.iter().map(of).collect();
    samples.sort_by(f64::total_cmp);
    format!("{:.0} ({:.0} to {:.0})", samples[ROUNDS / 2], samples[0], samples[ROUNDS - 1])
}

/// Nanoseconds per record of `run`.
fn timed(run: impl FnOnce()) -> Cost {
    let (started, thread, all) = (Instant::now(), thread_nanoseconds(), cpu_nanoseconds());
    run();
    Cost {
        clock: started.elapsed().as_nanos() as f64 / RECORDS as f64,
        thread: (thread_nanoseconds() - thread) / RECORDS as f64,
        all: (cpu_nanoseconds() - all) / RECORDS as f64,
    }
}

/// Processor time of this thread, from the scheduler's own count.
fn thread_nanoseconds() -> f64 {
    on_cpu(&fs::read_to_string("/proc/thread-self/schedstat").unwrap())
}

fn on_cpu(schedstat: &str) -> f64 {
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

/// Processor time of all threads of this process that live: the journal's own is among them.
fn cpu_nanoseconds() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let stats = tasks.filter_map(|task| fs::read_to_string(task.join("schedstat")).ok());
    stats.map(|stat| on_cpu(&stat)).sum()
}

fn record(number: usize) -> [u8; RECORD_BYTES] {
    [number as u8; RECORD_BYTES]
}

fn write_per_record(dir: &Path) -> Cost {
    let path = dir.join("plain.log");
    let mut file: File = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let cost = timed(|| {
        for number in 0..RECORDS {
            file.write_all(black_box(&record(number))).unwrap();
        }
    });
    fs::remove_file(path).unwrap();
    cost
}

fn writer(dir: &Path) -> Writer {
    let dir = dir.join("journal");
    Writer::open(JournalConfig { dir, segment_bytes: SEGMENT_BYTES, quota: Quota::bytes(1 << 40) }).unwrap()
}

fn journal_append(dir: &Path) -> Cost {
    let mut writer = writer(dir);
    timed(|| {
        for number in 0..RECORDS {
            black_box(writer.append(black_box(&record(number))).unwrap());
        }
    })
}

fn journal_append_with(dir: &Path) -> Cost {
    let mut writer = writer(dir);
    timed(|| {
        for number in 0..RECORDS {
            let appended = writer.append_with(RECORD_BYTES, |buf| buf.fill(black_box(number) as u8));
            black_box(appended.unwrap());
        }
    })
}

/// Reads what the two before have written.
fn journal_read(dir: &Path) -> Cost {
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
