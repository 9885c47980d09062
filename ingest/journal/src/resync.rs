//! Finding the next record behind damage.
//!
//! Every frame starts at a multiple of 8, carries its record number and a checksum seeded with its
//! incarnation. So a scan in steps of 8 for "a checksum that holds, over a number that can stand here"
//! finds real records and nothing else.

use std::fs::File;
use std::io;

use crate::frame::{Checksum, FRAME_ALIGN, FRAME_BYTES_MIN, FRAME_HEADER_BYTES, FrameHeader};
use crate::read::read_up_to;

/// Bytes scanned at once.
const WINDOW_BYTES: u64 = 64 << 10;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Byte from which on to look, a multiple of 8.
    pub(crate) from: u64,
    /// The least record number that will do.
    pub(crate) next: u64,
    /// Record numbers from here on will not do.
    pub(crate) limit: u64,
}

impl Wanted {
    /// Whether a record of this number can stand at `at`: the records between need room too.
    ///
    /// This leaves so few candidates that checking a checksum for each costs nothing, even when the
    /// damaged bytes were written by somebody who wants it to.
    fn admits(&self, offset: u64, at: u64) -> bool {
        let room = (at - self.from) / FRAME_BYTES_MIN as u64;
        (self.next..self.limit).contains(&offset) && offset - self.next <= room
    }
}

/// Where the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) at: u64,
    pub(crate) offset: u64,
}

/// The first intact record at or behind `wanted.from`.
pub(crate) fn find(
    file: &File,
    file_len: u64,
    checksum: Checksum,
    wanted: Wanted,
) -> io::Result<Option<Found>> {
    let mut start = wanted.from;
    while start + (FRAME_HEADER_BYTES as u64) <= file_len {
        let window = read_up_to(file, start, WINDOW_BYTES)?;
        let headers = window.windows(FRAME_HEADER_BYTES).step_by(FRAME_ALIGN);
        for (step, bytes) in headers.enumerate() {
            let at = start + (step * FRAME_ALIGN) as u64;
            let header = FrameHeader::parse(bytes.try_into().expect("a window of the header's length"));
            if wanted.admits(header.offset, at)
                && at + header.content_bytes() <= file_len
                && is_intact(file, at, header, checksum)?
            {
                return Ok(Some(Found { at, offset: header.offset }));
            }
        }
        if (window.len() as u64) < WINDOW_BYTES {
            break;
        }
        // The last header that straddles the window's end starts the next one.
        start += WINDOW_BYTES - FRAME_ALIGN as u64;
    }
    Ok(None)
}

fn is_intact(file: &File, at: u64, header: FrameHeader, checksum: Checksum) -> io::Result<bool> {
    let payload = read_up_to(file, at + FRAME_HEADER_BYTES as u64, u64::from(header.len))?;
    Ok(header.holds(&payload, checksum))
}

/// Whether there is nothing but zeros from `at` to the end of the file.
pub(crate) fn is_zero_from(file: &File, mut at: u64) -> io::Result<bool> {
    loop {
        let window = read_up_to(file, at, WINDOW_BYTES)?;
        if window.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if (window.len() as u64) < WINDOW_BYTES {
            return Ok(true);
        }
        at += WINDOW_BYTES;
    }
}
