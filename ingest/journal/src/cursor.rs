//! Reading one segment: frames in order, damage found and stepped over.
//!
//! Reads by `pread` only, never by a mapping, so a file that shrinks beneath it is short and not a
//! signal. Knows nothing of other segments; [`crate::reader`] tells it how far it may go.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};

use bytes::Bytes;

use crate::frame::{Checksum, FRAME_HEADER_BYTES, FrameHeader};
use crate::layout::{
    HEADER_BYTES, HEADER_FIELDS_BYTES, HeaderFault, SegmentHeader, SegmentName, TAIL_AT, Tail, TailCodec,
};
use crate::metrics;
use crate::position::{Incarnation, Position};
use crate::read::read_up_to;
use crate::record::Batch;
use crate::resync;

/// Bytes read at once when there is more to read.
const CHUNK_BYTES: u64 = 256 << 10;
/// And when there is little: a page and what a click takes.
const CHUNK_BYTES_MIN: u64 = 4 << 10;
/// A tail word is one aligned store; reading half of it twice in a row would be a wonder.
const TAIL_TRIES: usize = 3;

/// How far a segment may be read, and what it owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Records from here on are not accepted: not published, or of the next segment.
    pub(crate) limit: u64,
    /// Every record below was appended: what cannot be found is corrupt.
    pub(crate) owed: u64,
}

/// The tail of a segment as it was at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    /// `None` if the word is damaged.
    pub(crate) tail: Option<Tail>,
    /// Bytes in use; a hint, kept within the file.
    pub(crate) used: u64,
}

/// Bytes of the segment held in memory.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Bytes,
    start: u64,
    /// Records below were complete when the bytes were read; others may be half there.
    complete_below: u64,
}

/// A segment open for reading.
#[derive(Debug)]
pub(crate) struct Cursor {
    name: SegmentName,
    header: Option<SegmentHeader>,
    file: File,
    checksum: Checksum,
    tail: TailCodec,
    /// Byte where the next frame should start.
    at: u64,
    /// Record number expected there.
    next: u64,
    /// Records below are lost and still to be handed out as such.
    lost_below: u64,
    /// Records below are passed over in silence: the reader did not ask for them.
    wanted_from: u64,
    chunk: Chunk,
    is_torn_tail_counted: bool,
}

/// A segment that cannot be opened.
#[derive(Debug)]
pub(crate) enum CursorFault {
    Io(io::Error),
    Version(u32),
}

impl Cursor {
    /// Opens a segment to hand out the records from `wanted_from` on.
    pub(crate) fn open(dir: &Path, name: SegmentName, wanted_from: u64) -> Result<Self, CursorFault> {
        let file = File::open(dir.join(name.file_name())).map_err(CursorFault::Io)?;
        let header = read_up_to(&file, 0, HEADER_FIELDS_BYTES as u64).map_err(CursorFault::Io)?;
        let header = match SegmentHeader::decode(&header) {
            Ok(header) if header.name == name => Some(header),
            Err(HeaderFault::Version(version)) => return Err(CursorFault::Version(version)),
            // The name says all that is needed; only the link to the incarnation before is lost.
            Ok(_) | Err(HeaderFault::Damaged) => {
                metrics::damaged_header();
                tracing::warn!(segment = name.file_name(), "segment header is damaged, going by its name");
                None
            }
        };
        Ok(Cursor {
            name,
            header,
            file,
            checksum: Checksum::of(name.incarnation),
            tail: TailCodec::of(name),
            at: HEADER_BYTES as u64,
            next: name.base,
            lost_below: 0,
            wanted_from,
            chunk: Chunk::default(),
            is_torn_tail_counted: false,
        })
    }

    pub(crate) fn name(&self) -> SegmentName {
        self.name
    }

    /// Whether this is where the log goes on behind all of `earlier`. A damaged header cannot deny it.
    pub(crate) fn follows(&self, earlier: Incarnation) -> bool {
        self.name.base == 0 && self.header.is_none_or(|header| header.previous == Some(earlier))
    }

    /// Next to read.
    pub(crate) fn position(&self) -> Position {
        let offset = self.next.max(self.wanted_from);
        Position { incarnation: self.name.incarnation, offset }
    }

    /// Record number this cursor has come to; unlike [`Self::position`], never ahead of the segment.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Bytes still to read if the segment is used up to `used`.
    pub(crate) fn bytes_before(&self, used: u64) -> u64 {
        used.saturating_sub(self.at)
    }

    /// How much the writer has published.
    pub(crate) fn published(&self) -> io::Result<Published> {
        published(&self.file, self.tail)
    }

    /// Hands out records until the batch is full (`false`) or the bounds are reached (`true`).
    pub(crate) fn read(&mut self, bounds: Bounds, used: u64, batch: &mut Batch<'_>) -> io::Result<bool> {
        let file_len = self.file.metadata()?.len();
        while self.next < bounds.limit {
            if self.next < self.lost_below {
                if !self.hand_out_lost(batch) {
                    return Ok(false);
                }
                continue;
            }
            if batch.is_full() {
                return Ok(false);
            }
            let Some((header, payload)) = self.frame(bounds, used, file_len)? else {
                if !self.step_over(bounds, file_len)? {
                    return Ok(true);
                }
                continue;
            };
            let position = Position { incarnation: self.name.incarnation, offset: self.next };
            if self.next >= self.wanted_from && !batch.push(position, payload) {
                return Ok(false);
            }
            self.next += 1;
            self.at += header.frame_bytes();
        }
        Ok(true)
    }

    /// Hands out what is known to be lost, as far as the batch has room.
    fn hand_out_lost(&mut self, batch: &mut Batch<'_>) -> bool {
        self.next = self.next.max(self.wanted_from.min(self.lost_below));
        if self.next < self.lost_below {
            if batch.is_full() {
                return false;
            }
            let position = Position { incarnation: self.name.incarnation, offset: self.next };
            let handed_out = batch.push_corrupt(position, self.lost_below - self.next);
            metrics::corrupt_records(handed_out);
            self.next += handed_out;
        }
        true
    }

    /// Looks for the next intact record behind damage. `false` if there is none and nothing is owed.
    fn step_over(&mut self, bounds: Bounds, file_len: u64) -> io::Result<bool> {
        let wanted = resync::Wanted { from: self.at, next: self.next, limit: bounds.limit };
        let found = resync::find(&self.file, file_len, self.checksum, wanted)?;
        self.lost_below = match found {
            Some(found) => {
                self.at = found.at;
                found.offset
            }
            None => bounds.owed,
        };
        let lost = self.lost_below.saturating_sub(self.next);
        if lost > 0 {
            tracing::error!(first = %self.position(), records = lost, "journal records are corrupt");
        }
        Ok(found.is_some() || lost > 0)
    }

    /// The frame at `at`, if it is whole and is record `next`.
    fn frame(
        &mut self,
        bounds: Bounds,
        used: u64,
        file_len: u64,
    ) -> io::Result<Option<(FrameHeader, Bytes)>> {
        const HEADER: u64 = FRAME_HEADER_BYTES as u64;
        let Some(header) = self.bytes(HEADER, bounds, used)? else { return Ok(None) };
        let header = FrameHeader::parse(header[..].try_into().expect("a slice of the header's length"));
        if header.offset != self.next || self.at + header.content_bytes() > file_len {
            return Ok(None);
        }
        let Some(content) = self.bytes(header.content_bytes(), bounds, used)? else { return Ok(None) };
        let payload = content.slice(FRAME_HEADER_BYTES..);
        Ok(header.holds(&payload, self.checksum).then_some((header, payload)))
    }

    /// `len` bytes from `at`, if the file has them.
    fn bytes(&mut self, len: u64, bounds: Bounds, used: u64) -> io::Result<Option<Bytes>> {
        let start = self.at.checked_sub(self.chunk.start);
        let held = start.filter(|start| start + len <= self.chunk.bytes.len() as u64);
        let start = match held {
            Some(start) if self.next < self.chunk.complete_below => start,
            _ => {
                let ahead = used.saturating_sub(self.at).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES);
                let bytes = read_up_to(&self.file, self.at, ahead.max(len))?;
                self.chunk = Chunk { bytes: bytes.into(), start: self.at, complete_below: bounds.limit };
                0
            }
        };
        let range = start as usize..(start + len) as usize;
        Ok((range.end <= self.chunk.bytes.len()).then(|| self.chunk.bytes.slice(range)))
    }

    /// Counts a half-written record behind the last whole one of a dead incarnation, once.
    pub(crate) fn count_torn_tail(&mut self, batch: &mut Batch<'_>) -> io::Result<()> {
        if self.is_torn_tail_counted {
            return Ok(());
        }
        self.is_torn_tail_counted = true;
        if !resync::is_zero_from(&self.file, self.at)? {
            batch.torn_tails += 1;
            metrics::torn_tail();
            tracing::warn!(end = %self.position(), "journal incarnation ends in a torn record");
        }
        Ok(())
    }
}

/// Reads a segment's tail. What the caller then reads of its records is at least as new.
pub(crate) fn published(file: &File, codec: TailCodec) -> io::Result<Published> {
    let len = file.metadata()?.len();
    for _ in 0..TAIL_TRIES {
        let words = read_up_to(file, TAIL_AT as u64, 16)?;
        let Some((word, used)) = words.split_first_chunk() else { break };
        if let Some(tail) = codec.decode(u64::from_le_bytes(*word)) {
            // Pairs with the writer's release store: see the head of `segment`.
            fence(Ordering::Acquire);
            let used = used.first_chunk().map_or(len, |used| u64::from_le_bytes(*used).min(len));
            return Ok(Published { tail: Some(tail), used });
        }
    }
    Ok(Published { tail: None, used: len })
}
