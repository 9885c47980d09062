//! What a reader hands out.

use bytes::Bytes;

use crate::position::Position;

/// One record, or a run of records that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position of the record, or of the first of the run.
    pub position: Position,
    /// Its bytes, or how many are lost.
    pub payload: Payload,
}

impl Record {
    /// Record numbers this stands for: 1, or the length of the corrupt run.
    pub fn count(&self) -> u64 {
        match self.payload {
            Payload::Intact(_) => 1,
            Payload::Corrupt { count } => count,
        }
    }

    /// The position after this: what to store once it is dealt with.
    pub fn next(&self) -> Position {
        self.position.plus(self.count())
    }
}

/// The contents of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Exactly the bytes that were appended, as their checksum shows.
    ///
    /// Shares memory with its neighbours of the same read (up to 256 KiB): copy what must live long.
    Intact(Bytes),
    /// `count` records from this position on were appended and are damaged. Each must be accounted
    /// for (a reject per offset), or counts no longer reconcile.
    Corrupt {
        /// At least 1; never more than the read's `max_records` allows for.
        count: u64,
    },
}

/// How a read went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Next to read; `None` as long as there is no journal at all.
    pub next: Option<Position>,
    /// There was nothing more to read at the moment of the call. `false` says only that there may be.
    pub caught_up: bool,
    /// Record numbers handed out as [`Payload::Corrupt`] by this read.
    pub corrupt_records: u64,
    /// Dead incarnations this read found to end in a half-written record. Such a record was never
    /// acknowledged, so it is counted and nothing more.
    pub torn_tails: u64,
}

/// What one read may still hand out, and what it has handed out.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    out: &'a mut Vec<Record>,
    records_left: u64,
    bytes_left: usize,
    pub(crate) is_empty: bool,
    pub(crate) corrupt_records: u64,
    pub(crate) torn_tails: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(max_records: usize, max_bytes: usize, out: &'a mut Vec<Record>) -> Self {
        Batch {
            out,
            records_left: max_records as u64,
            bytes_left: max_bytes,
            is_empty: true,
            corrupt_records: 0,
            torn_tails: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records_left == 0 || self.bytes_left == 0 && !self.is_empty
    }

    /// Takes a record unless it is one too many bytes; the first always fits.
    pub(crate) fn push(&mut self, position: Position, payload: Bytes) -> bool {
        if payload.len() > self.bytes_left && !self.is_empty {
            self.bytes_left = 0;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(payload.len());
        self.records_left -= 1;
        self.is_empty = false;
        self.out.push(Record { position, payload: Payload::Intact(payload) });
        true
    }

    /// Takes as many corrupt records of `count` (at least one) as there is room for.
    pub(crate) fn push_corrupt(&mut self, position: Position, count: u64) -> u64 {
        let count = count.min(self.records_left);
        self.records_left -= count;
        self.is_empty = false;
        self.corrupt_records += count;
        self.out.push(Record { position, payload: Payload::Corrupt { count } });
        count
    }
}
