//! Random histories with random damage, against a model that knows where every record stands.
//!
//! The model computes places from the documented format, not from the code under test.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use common::*;
use proptest::prelude::*;
use whence_journal::{Incarnation, Payload, Position, ReadError, Reader, Record, Writer, retire};

#[derive(Debug, Clone)]
enum Op {
    Append(usize),
    Age,
    Close,
    Crash,
}

#[derive(Debug, Clone)]
enum Damage {
    Flip { at: u64, bit: u8 },
    Wipe { at: u64, len: u64 },
    Cut { at: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0usize..40).prop_map(Op::Append),
        20 => (0usize..900).prop_map(Op::Append),
        1 => Just(Op::Append(4000)),
        1 => Just(Op::Age),
        1 => Just(Op::Close),
        1 => Just(Op::Crash),
    ]
}

fn damage() -> impl Strategy<Value = (prop::sample::Index, Damage)> {
    // Half of it hits records, half the header page with its few bytes that matter.
    let at = prop_oneof![4 => HEADER_BYTES..SEGMENT_BYTES, 1 => 0u64..160, 1 => 0u64..HEADER_BYTES];
    let damage = prop_oneof![
        6 => (at.clone(), 0u8..8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        1 => (at.clone(), 1u64..700).prop_map(|(at, len)| Damage::Wipe { at, len }),
        1 => at.prop_map(|at| Damage::Cut { at }),
    ];
    (any::<prop::sample::Index>(), damage)
}

/// One record as it must stand on disk.
#[derive(Debug, Clone)]
struct Placed {
    payload: Vec<u8>,
    base: u64,
    /// Header and payload.
    content: Range<u64>,
}

/// All that was appended, and how the next record will be placed.
#[derive(Debug, Default)]
struct Model {
    records: BTreeMap<Position, Placed>,
    base: u64,
    used: u64,
}

impl Model {
    fn begin(&mut self) {
        (self.base, self.used) = (0, HEADER_BYTES);
    }

    fn place(&mut self, position: Position, payload: Vec<u8>) {
        if self.used + frame_bytes(payload.len()) > SEGMENT_BYTES {
            (self.base, self.used) = (position.offset, HEADER_BYTES);
        }
        let content = self.used..self.used + 16 + payload.len() as u64;
        self.used += frame_bytes(payload.len());
        self.records.insert(position, Placed { payload, base: self.base, content });
    }
}

/// Plays a history; returns the journal and what is in it.
fn play(ops: &[Op]) -> (tempfile::TempDir, Model) {
    let mut dir = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let mut writer = open(dir.path());
    model.begin();
    for (number, op) in ops.iter().enumerate() {
        match op {
            Op::Append(len) => {
                // Some payloads end in zeros, which must not be taken for a blank tail.
                let payload: Vec<u8> =
                    (0..*len).map(|at| (number + at).saturating_sub(len / 2) as u8).collect();
                model.place(writer.append(&payload).unwrap(), payload);
            }
            Op::Age if model.used == HEADER_BYTES => {
                assert!(!writer.roll_older_than(Duration::ZERO).unwrap(), "nothing to close");
            }
            Op::Age => {
                age(&mut writer);
                (model.base, model.used) = (writer.next_position().offset, HEADER_BYTES);
            }
            Op::Close => {
                drop(writer);
                writer = open(dir.path());
                model.begin();
            }
            Op::Crash => {
                let image = crash_image(dir.path());
                drop(writer);
                dir = image;
                writer = open(dir.path());
                model.begin();
            }
        }
    }
    (crash_image(dir.path()), model)
}

/// Bytes of each segment file that may not be what they were.
type Touched = BTreeMap<(Incarnation, u64), Vec<Range<u64>>>;

fn segment_of(path: &Path) -> (Incarnation, u64) {
    let (incarnation, base) = path.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap();
    (incarnation.parse().unwrap(), base.parse().unwrap())
}

fn apply(dir: &Path, damages: &[(prop::sample::Index, Damage)]) -> Touched {
    let files = segment_files(dir);
    let mut touched = Touched::new();
    for (file, damage) in damages {
        let path = &files[file.index(files.len())];
        let mut bytes = fs::read(path).unwrap();
        let len = bytes.len() as u64;
        let range = match *damage {
            Damage::Flip { at, bit } if at < len => {
                bytes[at as usize] ^= 1 << bit;
                at..at + 1
            }
            Damage::Wipe { at, len: wiped } if at < len => {
                let end = (at + wiped).min(len);
                bytes[at as usize..end as usize].fill(0);
                at..end
            }
            Damage::Cut { at } if at < len => {
                bytes.truncate(at as usize);
                at..u64::MAX
            }
            _ => continue,
        };
        fs::write(path, bytes).unwrap();
        touched.entry(segment_of(path)).or_default().push(range);
    }
    touched
}

fn is_touched(touched: &Touched, segment: (Incarnation, u64), bytes: &Range<u64>) -> bool {
    let ranges = touched.get(&segment).into_iter().flatten();
    ranges.into_iter().any(|range| range.start < bytes.end && bytes.start < range.end)
}

/// Reads everything in small steps, with a new reader every few of them.
fn read_in_steps(dir: &Path, max_records: usize, max_bytes: usize) -> Vec<Record> {
    let mut out = Vec::new();
    let mut reader = Reader::open(dir, None);
    for step in 1.. {
        if reader.read(max_records, max_bytes, &mut out).unwrap().caught_up {
            break;
        }
        if step % 5 == 0 {
            reader = Reader::open(dir, reader.position());
        }
    }
    out
}

/// Everything that was read is true, in order and without gaps within an incarnation.
fn check_what_was_read(model: &Model, touched: &Touched, read: &[Record]) -> Result<(), TestCaseError> {
    for pair in read.windows(2) {
        let (this, next) = (&pair[0], pair[1].position);
        let follows = this.next() == next;
        let begins = next.incarnation > this.position.incarnation && next.offset == 0;
        prop_assert!(follows || begins, "{} after {}", next, this.position);
    }
    for record in read {
        for number in 0..record.count() {
            let position = record.position.plus(number);
            let Some(placed) = model.records.get(&position) else {
                return Err(TestCaseError::fail(format!("{position} was never appended")));
            };
            match &record.payload {
                Payload::Intact(bytes) => prop_assert_eq!(bytes, &placed.payload, "{}", position),
                Payload::Corrupt { .. } => {
                    let segment = (position.incarnation, placed.base);
                    prop_assert!(is_touched(touched, segment, &placed.content), "{} is intact", position);
                }
            }
        }
    }
    Ok(())
}

/// Every record is read or reported. Excused are only damaged records behind the end of an incarnation
/// whose last segment can no longer say how many it had.
fn check_what_was_not_read(model: &Model, touched: &Touched, read: &[Record]) -> Result<(), TestCaseError> {
    let reported = |position: &Position| {
        let at = read.partition_point(|record| record.position <= *position);
        at > 0 && *position < read[at - 1].next() && read[at - 1].position.incarnation == position.incarnation
    };
    for (position, placed) in &model.records {
        if reported(position) {
            continue;
        }
        let segment = (position.incarnation, placed.base);
        let is_last_segment = model
            .records
            .range(position..)
            .take_while(|(other, _)| other.incarnation == position.incarnation)
            .all(|(_, other)| other.base == placed.base);
        let excused = is_last_segment
            && is_touched(touched, segment, &(128..136))
            && is_touched(touched, segment, &placed.content);
        prop_assert!(excused, "{} is missing", position);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_read_once_or_reported_and_nothing_is_made_up(
        ops in prop::collection::vec(op(), 1..120),
        damages in prop::collection::vec(damage(), 0..6),
        last_words in 0usize..4,
        max_records in 1usize..40,
        max_bytes in 1usize..5000,
    ) {
        let (dir, mut model) = play(&ops);
        let touched = apply(dir.path(), &damages);
        let mut writer = open(dir.path());
        model.begin();
        for number in 0..last_words {
            let payload = vec![number as u8; 10];
            model.place(writer.append(&payload).unwrap(), payload);
        }
        let read = read_in_steps(dir.path(), max_records, max_bytes);
        check_what_was_read(&model, &touched, &read)?;
        check_what_was_not_read(&model, &touched, &read)?;
    }

    #[test]
    fn without_damage_a_live_reader_gets_exactly_what_was_appended(
        ops in prop::collection::vec(op(), 1..120), max_records in 1usize..40,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer: Option<Writer> = None;
        let mut reader = Reader::open(dir.path(), None);
        let (mut appended, mut read) = (Vec::new(), Vec::new());
        for op in &ops {
            match op {
                Op::Append(len) => {
                    let payload = vec![appended.len() as u8; *len];
                    let position = writer.get_or_insert_with(|| open(dir.path())).append(&payload).unwrap();
                    appended.push((position, payload));
                }
                // As often as it takes to be ready, or never: either is a history.
                Op::Age => {
                    if let Some(writer) = &mut writer {
                        writer.roll_older_than(Duration::ZERO).unwrap();
                    }
                }
                Op::Close => writer = None,
                Op::Crash => drop(reader.read(max_records, 3000, &mut read).unwrap()),
            }
        }
        read.extend(drain(&mut reader, max_records, 3000));
        let read: Vec<_> = read.iter().map(|record| (record.position, intact(record).to_vec())).collect();
        prop_assert_eq!(read, appended);
    }

    #[test]
    fn retiring_takes_nothing_that_is_still_to_be_read(
        ops in prop::collection::vec(op(), 1..120), through: prop::sample::Index,
    ) {
        let (dir, model) = play(&ops);
        // The last incarnation is dead but unsealed; a successor makes it final.
        drop(open(dir.path()));
        let positions: Vec<_> = model.records.keys().copied().collect();
        prop_assume!(!positions.is_empty());
        let at = through.index(positions.len());
        let before = segment_files(dir.path());
        let retired = retire(dir.path(), positions[at], Duration::ZERO).unwrap();
        let after = segment_files(dir.path());
        prop_assert_eq!(retired.segments as usize, before.len() - after.len());
        prop_assert_eq!(&before[before.len() - after.len()..], &after[..], "oldest first, no holes");

        let rest = read_from(dir.path(), Some(positions[at]));
        let rest: Vec<_> = rest.iter().map(|record| record.position).collect();
        prop_assert_eq!(&rest, &positions[at..]);

        let (incarnation, offset) = segment_of(&after[0]);
        let first = Position { incarnation, offset };
        if positions[0] < first {
            let told = Reader::open(dir.path(), Some(positions[0])).read(1, 1, &mut Vec::new());
            let named = matches!(told, Err(ReadError::Removed { first: named, .. }) if named == first);
            prop_assert!(named, "{:?}", told);
        }
    }
}
