//! Reading a journal: from segment to segment and from incarnation to incarnation.
//!
//! Needs no cooperation of the writer, which may live in this process, in another, or be dead. Never
//! writes, and never decides what may be removed.
//!
//! **When is a segment final?** When its tail word says it is sealed; or when a later incarnation
//! exists, since that one's writer held the lock when it began, so the earlier writer could store
//! nothing any more; or, if the tail word is damaged, when any later segment exists. Until then only
//! published records are read. A final segment is read to the end of its file by checksums: after a
//! power cut its tail word may be older than its records.

use std::io;
use std::path::{Path, PathBuf};

use crate::cursor::{Bounds, Cursor, CursorFault, published};
use crate::directory::segments;
use crate::layout::{HEADER_BYTES, SegmentName, TailCodec};
use crate::position::{Incarnation, Position};
use crate::record::{Batch, ReadOutcome, Record};

/// A segment may be retired between listing and opening; a reader that is that far behind would be
/// told so by the second listing.
const LOCATE_TRIES: usize = 3;

/// Why nothing could be read. The reader has not moved and can be asked again.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Records from `wanted` on were removed before they were read. [`Reader::seek`] to `first`
    /// to go on with what there is, having said so.
    #[error("records from {wanted} on were removed, the first available is {first}")]
    Removed {
        /// Next to read.
        wanted: Position,
        /// The first position there is.
        first: Position,
    },
    /// The position is of an incarnation newer than all there are: of another journal, or this one's
    /// directory was replaced.
    #[error("position {wanted} belongs to another journal, the newest incarnation here is {newest}")]
    Unknown {
        /// Next to read.
        wanted: Position,
        /// The newest incarnation there is.
        newest: Incarnation,
    },
    /// A segment was written by a later version of this code.
    #[error("segment {segment} has version {version}")]
    Version {
        /// The segment's file name.
        segment: String,
        /// Its version.
        version: u32,
    },
    /// The disk failed.
    #[error("cannot read the journal")]
    Io(#[from] io::Error),
}

/// Reads one journal in order. Any number may read the same one.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    /// Next to read; kept in step with the cursor.
    at: Option<Position>,
    cursor: Option<Cursor>,
}

impl Reader {
    /// A reader of the journal in `dir` that starts at `from`, or at the oldest record there is.
    ///
    /// The journal need not exist yet. Touches no disk: whether `from` can be read shows when it is.
    pub fn open(dir: impl Into<PathBuf>, from: Option<Position>) -> Self {
        Reader { dir: dir.into(), at: from, cursor: None }
    }

    /// Next to read; `None` if the reader has not found a first segment yet.
    pub fn position(&self) -> Option<Position> {
        self.at
    }

    /// Goes on from another position.
    pub fn seek(&mut self, to: Position) {
        self.at = Some(to);
        self.cursor = None;
    }

    /// Appends what there is to `out`: at most `max_records` record numbers and `max_bytes` bytes of
    /// payload, but at least one record if there is one. Never waits.
    ///
    /// One call's records are of one incarnation and without gaps. When all of an incarnation was
    /// read and a later one exists, [`ReadOutcome::next`] is in the later one.
    ///
    /// A call that finds nothing new costs a listing of the directory: pause between such calls.
    ///
    /// # Errors
    /// [`ReadError`]. What was appended to `out` before a disk error is valid and not read again.
    pub fn read(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        out: &mut Vec<Record>,
    ) -> Result<ReadOutcome, ReadError> {
        let mut batch = Batch::new(max_records, max_bytes, out);
        let caught_up = loop {
            if batch.is_full() {
                break false;
            }
            match self.step(&mut batch) {
                Ok(Step::Again) => {}
                Ok(Step::Stop { caught_up }) => break caught_up,
                // What was read before is handed over first; the error will come again.
                Err(_) if !batch.is_empty => break false,
                Err(error) => return Err(error),
            }
        };
        let (corrupt_records, torn_tails) = (batch.corrupt_records, batch.torn_tails);
        Ok(ReadOutcome { next: self.at, caught_up, corrupt_records, torn_tails })
    }

    /// Reads what the current segment has, or goes to the next.
    fn step(&mut self, batch: &mut Batch<'_>) -> Result<Step, ReadError> {
        if self.cursor.is_none() && !self.locate()? {
            return Ok(Step::Stop { caught_up: true });
        }
        let cursor = self.cursor.as_mut().expect("located");
        let state = SegmentState::observe(&self.dir, cursor)?;
        let (SegmentState::Growing { bounds, used } | SegmentState::Final { bounds, used, .. }) = state;
        let before = cursor.next();
        let is_exhausted = cursor.read(bounds, used, batch);
        let has_moved = cursor.next() > before;
        self.at = Some(cursor.position());
        if !is_exhausted? {
            return Ok(Step::Stop { caught_up: false });
        }
        match state {
            // What was published by now is another look; whoever got records takes it with the next call.
            SegmentState::Growing { .. } if has_moved && batch.is_empty => Ok(Step::Again),
            SegmentState::Growing { .. } => Ok(Step::Stop { caught_up: !has_moved }),
            SegmentState::Final { is_end_known, .. } => {
                if !is_end_known {
                    cursor.count_torn_tail(batch)?;
                }
                self.advance(batch.is_empty)
            }
        }
    }

    /// Opens the segment that holds the position. `false` if there is no journal yet.
    fn locate(&mut self) -> Result<bool, ReadError> {
        for _ in 0..LOCATE_TRIES {
            let names = segments(&self.dir)?;
            let (Some(first), Some(last)) = (names.first(), names.last()) else { return Ok(false) };
            let wanted = self.at.unwrap_or_else(|| first.first());
            if wanted.incarnation > last.incarnation {
                return Err(ReadError::Unknown { wanted, newest: last.incarnation });
            }
            let behind = names.partition_point(|name| name.first() <= wanted);
            let found = names[..behind].last().filter(|name| name.incarnation == wanted.incarnation);
            let Some(name) = found else {
                let first = names.get(behind).unwrap_or(first).first();
                return Err(ReadError::Removed { wanted, first });
            };
            if let Some(cursor) = open(&self.dir, *name, wanted.offset)? {
                self.at = Some(wanted);
                self.cursor = Some(cursor);
                return Ok(true);
            }
        }
        Err(io::Error::from(io::ErrorKind::NotFound).into())
    }

    /// Goes to the segment behind a final one, unless that would mix incarnations in one batch.
    fn advance(&mut self, is_batch_empty: bool) -> Result<Step, ReadError> {
        let cursor = self.cursor.as_ref().expect("advancing from a segment");
        let here = cursor.name();
        let names = segments(&self.dir)?;
        let Some(name) = names.into_iter().find(|name| *name > here) else {
            return Ok(Step::Stop { caught_up: true });
        };
        let same_incarnation = name.incarnation == here.incarnation;
        if !same_incarnation && !is_batch_empty {
            return Ok(Step::Stop { caught_up: false });
        }
        let wanted = if same_incarnation { cursor.position() } else { name.first() };
        let Some(next) = open(&self.dir, name, wanted.offset)? else { return Ok(Step::Again) };
        let is_missing =
            if same_incarnation { name.base > cursor.next() } else { !next.follows(here.incarnation) };
        if is_missing {
            return Err(ReadError::Removed { wanted: cursor.position(), first: name.first() });
        }
        self.at = Some(wanted);
        self.cursor = Some(next);
        Ok(Step::Again)
    }

    /// Bytes between this reader and the end of the journal, framing included.
    ///
    /// # Errors
    /// When the directory or a segment's tail cannot be read.
    pub fn lag_bytes(&self) -> io::Result<u64> {
        let names = segments(&self.dir)?;
        let at = self.at.map_or(0, |at| names.partition_point(|name| name.first() <= at).saturating_sub(1));
        let mut lag = 0;
        for name in &names[at..] {
            lag += match self.cursor.as_ref().filter(|cursor| cursor.name() == *name) {
                Some(cursor) => cursor.bytes_before(cursor.published()?.used),
                None => used_bytes(&self.dir, *name)?.saturating_sub(HEADER_BYTES as u64),
            };
        }
        Ok(lag)
    }
}

/// What a step came to.
#[derive(Debug)]
enum Step {
    Again,
    Stop { caught_up: bool },
}

/// How a segment stands at one moment.
#[derive(Debug, Clone, Copy)]
enum SegmentState {
    /// More may come.
    Growing { bounds: Bounds, used: u64 },
    /// Nothing will be stored in it any more. If its end is not known, it ends where its records do.
    Final { bounds: Bounds, used: u64, is_end_known: bool },
}

impl SegmentState {
    /// Looks at the tail word first and lists the directory only if that leaves a question.
    fn observe(dir: &Path, cursor: &Cursor) -> io::Result<Self> {
        let name = cursor.name();
        let before = cursor.published()?;
        let counted = before.tail.map(|tail| name.base + u64::from(tail.records));
        let used = before.used;
        if let (Some(end), Some(tail)) = (counted, before.tail) {
            let bounds = Bounds { limit: end, owed: end };
            if tail.sealed {
                return Ok(SegmentState::Final { bounds, used, is_end_known: true });
            }
            if cursor.next() < end {
                return Ok(SegmentState::Growing { bounds, used });
            }
        }
        let names = segments(dir)?;
        let later = names.iter().find(|other| **other > name);
        let is_writer_gone = names.last().is_some_and(|last| last.incarnation > name.incarnation);
        if !(is_writer_gone || counted.is_none() && later.is_some()) {
            let end = counted.unwrap_or(name.base);
            return Ok(SegmentState::Growing { bounds: Bounds { limit: end, owed: end }, used });
        }
        // Once more: the writer may have gone on between the word and the listing.
        let after = cursor.published()?;
        let counted = after.tail.map_or(name.base, |tail| name.base + u64::from(tail.records));
        let known = match later.filter(|later| later.incarnation == name.incarnation) {
            Some(later) => Some(later.base),
            None => after.tail.filter(|tail| tail.sealed).map(|_| counted),
        };
        let bounds = match known {
            Some(end) => Bounds { limit: end, owed: end },
            None => Bounds { limit: u64::MAX, owed: counted },
        };
        let is_end_known = known.is_some();
        Ok(SegmentState::Final { bounds, used: u64::MAX, is_end_known })
    }
}

/// Opens a segment; `None` if it has just been removed.
fn open(dir: &Path, name: SegmentName, wanted_from: u64) -> Result<Option<Cursor>, ReadError> {
    match Cursor::open(dir, name, wanted_from) {
        Ok(cursor) => Ok(Some(cursor)),
        Err(CursorFault::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(CursorFault::Io(error)) => Err(error.into()),
        Err(CursorFault::Version(version)) => Err(ReadError::Version { segment: name.file_name(), version }),
    }
}

/// Bytes in use of a segment that may just have been removed.
fn used_bytes(dir: &Path, name: SegmentName) -> io::Result<u64> {
    match std::fs::File::open(dir.join(name.file_name())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        file => Ok(published(&file?, TailCodec::of(name))?.used),
    }
}
