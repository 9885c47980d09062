//! A copy of a journal as it stands at one moment, while it is written; and one journal made of two copies.
//!
//! Segments that get no more records are linked, not copied: the copy costs no space until the original goes. The newest
//! is copied up to its last published record. Nothing here decides what a reader has dealt with: checkpoints are their
//! owners' files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::cursor::published;
use crate::directory::{LOCK, WriterLock, segments};
use crate::layout::{SegmentName, TAIL_AT, TailCodec, USED_AT};
use crate::position::Position;
use crate::read::read_up_to;
use crate::reader::{ReadError, Reader};

const COPY_BYTES: u64 = 1 << 20;
/// Records of one read while a journal is looked through.
const READ_RECORDS: usize = 10_000;
const READ_BYTES: usize = 16 << 20;

/// Puts what the journal in `dir` holds now into the empty folder `to`, on the same file system. Blocks.
///
/// A reader of the copy finds at least what was appended before this was called.
///
/// # Errors
/// The disk's. A segment that is retired meanwhile is left out.
pub fn snapshot(dir: &Path, to: &Path) -> io::Result<()> {
    let names = segments(dir)?;
    for (at, name) in names.iter().enumerate() {
        let (from, into) = (dir.join(name.file_name()), to.join(name.file_name()));
        let copied = match at + 1 == names.len() {
            true => copy_published(&from, &into, *name),
            false => fs::hard_link(&from, &into),
        };
        match copied {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => copied?,
        }
    }
    // Holds the last incarnation, which a writer of the copy must come after.
    match fs::copy(dir.join(LOCK), to.join(LOCK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What is published of a segment that is being written. A copy of the file as it is would have halves of records that
/// are written meanwhile, and whole ones behind them: to a reader, damage.
fn copy_published(from: &Path, to: &Path, name: SegmentName) -> io::Result<()> {
    let source = File::open(from)?;
    let (codec, before) = (TailCodec::of(name), published(&source, TailCodec::of(name))?);
    let mut copy = File::create(to)?;
    let mut at = 0;
    while at < before.used {
        let bytes = read_up_to(&source, at, COPY_BYTES.min(before.used - at))?;
        if bytes.is_empty() {
            break;
        }
        copy.write_all(&bytes)?;
        at += bytes.len() as u64;
    }
    // The head may count records that came later.
    if let Some(tail) = before.tail {
        copy.write_all_at(&codec.encode(tail).to_le_bytes(), TAIL_AT as u64)?;
        copy.write_all_at(&before.used.to_le_bytes(), USED_AT as u64)?;
    }
    Ok(())
}

/// Adds to the journal in `into` what the one in `from` has more: segments, and records of those that both have. Nobody
/// may write either. Blocks.
///
/// # Errors
/// The disk's, or `WouldBlock` where somebody writes one of them.
pub fn merge(from: &Path, into: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    let busy =
        || io::Error::new(io::ErrorKind::WouldBlock, "the journal has a writer: stop its process first");
    let _locks = (WriterLock::take(from)?.ok_or_else(busy)?, WriterLock::take(into)?.ok_or_else(busy)?);
    let own = segments(into)?;
    for name in segments(from)? {
        let (source, target) = (from.join(name.file_name()), into.join(name.file_name()));
        if !own.contains(&name) || records(&source, name)? > records(&target, name)? {
            copy(&source, &target)?;
        }
    }
    if own.last() <= segments(from)?.last() {
        fs::copy(from.join(LOCK), into.join(LOCK))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    io::copy(&mut source, &mut target)?;
    target.sync_all()
}

/// Records that a segment says it has; a damaged one: none.
fn records(path: &Path, name: SegmentName) -> io::Result<u32> {
    Ok(published(&File::open(path)?, TailCodec::of(name))?.tail.map_or(0, |tail| tail.records))
}

/// Records that lack in a journal between two that it has, or before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The first that lacks.
    pub from: Position,
    /// The first behind them.
    pub to: Position,
}

/// Reads the journal in `dir` from a position to its end, and says what lacks. Blocks as long as that takes.
///
/// # Errors
/// See [`ReadError`].
pub fn missing(dir: &Path, from: Position) -> Result<Vec<Missing>, ReadError> {
    let mut reader = Reader::open(dir, Some(from));
    let (mut missing, mut records) = (Vec::new(), Vec::new());
    loop {
        match reader.read(READ_RECORDS, READ_BYTES, &mut records) {
            Ok(outcome) if outcome.caught_up => return Ok(missing),
            Ok(_) => records.clear(),
            Err(ReadError::Removed { wanted, first }) => {
                missing.push(Missing { from: wanted, to: first });
                reader.seek(first);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JournalConfig, Payload, Quota, SEGMENT_BYTES_MIN, Writer};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn config(dir: &Path) -> JournalConfig {
        JournalConfig { dir: dir.to_owned(), segment_bytes: SEGMENT_BYTES_MIN, quota: Quota::bytes(1 << 30) }
    }

    fn read(dir: &Path) -> Vec<Vec<u8>> {
        let (mut reader, mut records) = (Reader::open(dir, None), Vec::new());
        while !reader.read(1000, 1 << 20, &mut records).unwrap().caught_up {}
        let payload = |record: crate::Record| match record.payload {
            Payload::Intact(bytes) => bytes.to_vec(),
            Payload::Corrupt { .. } => panic!("damaged at {}", record.position),
        };
        records.into_iter().map(payload).collect()
    }

    fn number(number: u32) -> Vec<u8> {
        [&number.to_le_bytes()[..], &[7; 300]].concat()
    }

    #[test]
    fn a_copy_made_while_it_is_written_has_whole_records_without_gap() {
        let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let done = AtomicBool::new(false);
        // The writer is ahead of the looks by so many: otherwise it fills the disk.
        let (sent, appended) = std::sync::mpsc::sync_channel(4_000);
        std::thread::scope(|scope| {
            let (dir, done) = (dir.path(), &done);
            scope.spawn(move || {
                let mut writer = Writer::open(config(dir)).unwrap();
                for next in 0.. {
                    writer.append(&number(next)).unwrap();
                    if done.load(Ordering::Relaxed) || sent.send(next).is_err() {
                        return;
                    }
                }
            });
            for copy in 0..5 {
                let to = copies.path().join(copy.to_string());
                fs::create_dir(&to).unwrap();
                let before = appended.recv().unwrap().max(appended.try_iter().last().unwrap_or(0));
                snapshot(dir, &to).unwrap();
                // Its writer makes the copied segments final: all there is in them counts.
                drop(Writer::open(config(&to)).unwrap());
                let found = read(&to);
                assert!(found.len() > before as usize, "{} of {before}", found.len());
                for (at, record) in found.iter().enumerate() {
                    assert_eq!(record[..4], (at as u32).to_le_bytes());
                }
            }
            done.store(true, Ordering::Relaxed);
            drop(appended);
        });
    }

    #[test]
    fn two_copies_make_one_journal_and_what_neither_has_is_said() {
        let dirs = tempfile::tempdir().unwrap();
        let [dir, early, late] = ["journal", "early", "late"].map(|name| dirs.path().join(name));
        [&early, &late].iter().for_each(|dir| fs::create_dir(dir).unwrap());
        let mut writer = Writer::open(config(&dir)).unwrap();
        let mut next = 0;
        let mut fill = |count: u32| {
            (0..count).for_each(|_| {
                writer.append(&number(next)).unwrap();
                next += 1;
            });
        };
        let segment = SEGMENT_BYTES_MIN as u32 / 300;
        fill(segment + segment / 2);
        snapshot(&dir, &early).unwrap();
        fill(2 * segment);
        drop(writer);
        // What the second copy lacks of the beginning is in the first.
        let names = segments(&dir).unwrap();
        fs::remove_file(dir.join(names[0].file_name())).unwrap();
        snapshot(&dir, &late).unwrap();
        merge(&late, &early).unwrap();
        assert_eq!(missing(&early, names[0].first()).unwrap(), []);
        assert_eq!(read(&early).len(), next as usize);
        fs::remove_file(early.join(names[1].file_name())).unwrap();
        let lacks = missing(&early, names[0].first()).unwrap();
        assert_eq!(lacks, [Missing { from: names[1].first(), to: names[2].first() }]);
    }
}
