//! A segment file: its name, its header page and its tail word.
//!
//! ```text
//! 0        magic "WHENCEJ\0"        32  previous incarnation, 0 = none known
//! 8        version (u32)            48  offset of the first record
//! 16       incarnation              60  crc32c of bytes 0..60
//! 128      tail word                136 bytes in use (informational)
//! 4096     first frame                                   all little-endian
//! ```
//!
//! The name carries incarnation and base offset too, so that a damaged header costs nothing but a
//! count. Pure: knows no files.

use crate::position::{Incarnation, Position};

/// Bytes before the first frame: one page, so that the tail word shares no page with records.
pub(crate) const HEADER_BYTES: usize = 4096;
/// Where the tail word stands: on a cache line of its own, since readers poll it.
pub(crate) const TAIL_AT: usize = 128;
/// Where the number of bytes in use stands.
pub(crate) const USED_AT: usize = 136;
/// The encoded part of the header.
pub(crate) const HEADER_FIELDS_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"WHENCEJ\0";
const VERSION: u32 = 1;
const SUFFIX: &str = ".seg";

/// A segment's identity, ordered as the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) incarnation: Incarnation,
    pub(crate) base: u64,
}

impl SegmentName {
    /// `<incarnation, 32 hex digits>-<base offset, 20 digits>.seg`: sorts as the log is read.
    pub(crate) fn file_name(&self) -> String {
        format!("{:032x}-{:020}{SUFFIX}", self.incarnation.0, self.base)
    }

    pub(crate) fn parse(file_name: &str) -> Option<Self> {
        let (incarnation, base) = file_name.strip_suffix(SUFFIX)?.split_once('-')?;
        let incarnation = Incarnation(u128::from_str_radix(incarnation, 16).ok()?);
        let name = SegmentName { incarnation, base: base.parse().ok()? };
        (incarnation.is_well_formed() && name.file_name() == file_name).then_some(name)
    }

    /// Position of the segment's first record.
    pub(crate) fn first(&self) -> Position {
        Position { incarnation: self.incarnation, offset: self.base }
    }
}

/// The fixed part of the header page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) name: SegmentName,
    /// The incarnation before this one. A reader that arrives from any other has missed one.
    pub(crate) previous: Option<Incarnation>,
}

/// Why a header could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Short, flipped or foreign bytes: the file name says what is needed.
    Damaged,
    /// Intact, but of a version this code cannot read.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_FIELDS_BYTES] {
        let mut out = [0; HEADER_FIELDS_BYTES];
        out[0..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.name.incarnation.0.to_le_bytes());
        out[32..48].copy_from_slice(&self.previous.map_or(0, |previous| previous.0).to_le_bytes());
        out[48..56].copy_from_slice(&self.name.base.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let bytes: &[u8; HEADER_FIELDS_BYTES] = bytes.first_chunk().ok_or(HeaderFault::Damaged)?;
        if &bytes[0..8] != MAGIC || u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err(HeaderFault::Damaged);
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(HeaderFault::Version(u32_at(bytes, 8)));
        }
        let previous = Incarnation(u128_at(bytes, 32));
        Ok(SegmentHeader {
            name: SegmentName { incarnation: Incarnation(u128_at(bytes, 16)), base: u64_at(bytes, 48) },
            previous: (previous.0 != 0).then_some(previous),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of 4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of 8 bytes"))
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("a slice of 16 bytes"))
}

/// How much of a segment may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Complete records, from the segment's base.
    pub(crate) records: u32,
    /// The writer will never append here again.
    pub(crate) sealed: bool,
}

/// Encodes and checks the tail word of one segment.
///
/// The low half holds the seal (top bit) and the count, the high half a check of it keyed by the
/// segment, so that a word read while it was being written, left over or flipped is not believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TailCodec(u32);

const SEALED: u32 = 1 << 31;

impl TailCodec {
    pub(crate) fn of(name: SegmentName) -> Self {
        let seed = crc32c::crc32c(&name.incarnation.0.to_le_bytes());
        TailCodec(crc32c::crc32c_append(seed, &name.base.to_le_bytes()))
    }

    pub(crate) fn encode(self, tail: Tail) -> u64 {
        let low = tail.records | if tail.sealed { SEALED } else { 0 };
        u64::from(self.check(low)) << 32 | u64::from(low)
    }

    pub(crate) fn decode(self, word: u64) -> Option<Tail> {
        let low = word as u32;
        let intact = (word >> 32) as u32 == self.check(low);
        intact.then_some(Tail { records: low & !SEALED, sealed: low & SEALED != 0 })
    }

    /// Multiplying by an odd number (here 2^32 over the golden ratio) maps no two words to one
    /// check, and costs a nanosecond where a CRC would cost several on every append.
    fn check(self, low: u32) -> u32 {
        low.wrapping_mul(0x9E37_79B1) ^ self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(base: u64) -> SegmentName {
        SegmentName { incarnation: Incarnation::mint(None), base }
    }

    #[test]
    fn foreign_file_names_are_not_segments() {
        for foreign in ["", "lock", "next.blank", "x-1.seg", "0-0.seg", "click.seg", ".seg"] {
            assert_eq!(SegmentName::parse(foreign), None, "{foreign}");
        }
        let unversioned = SegmentName { incarnation: Incarnation(u128::MAX), base: 0 };
        assert_eq!(SegmentName::parse(&unversioned.file_name()), None);
    }

    #[test]
    fn names_sort_as_the_log_is_read() {
        let older = name(9);
        let newer = SegmentName { incarnation: Incarnation(older.incarnation.0 + 1), base: 0 };
        let ten = SegmentName { base: 10, ..older };
        assert!(older.file_name() < ten.file_name() && ten.file_name() < newer.file_name());
        assert_eq!(SegmentName::parse(&ten.file_name()), Some(ten));
    }

    #[test]
    fn a_flipped_bit_damages_the_header() {
        let header = SegmentHeader { name: name(3), previous: Some(Incarnation(5)) };
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        for bit in 0..HEADER_FIELDS_BYTES * 8 {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Damaged));
        }
    }

    #[test]
    fn a_later_version_is_named_not_guessed() {
        let mut bytes = SegmentHeader { name: name(0), previous: None }.encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Version(2)));
    }

    proptest! {
        #[test]
        fn a_flipped_or_foreign_tail_word_is_not_believed(records in 0u32..1 << 31, sealed: bool, bit in 0u32..64) {
            let codec = TailCodec::of(name(1));
            let tail = Tail { records, sealed };
            let word = codec.encode(tail);
            prop_assert_eq!(codec.decode(word), Some(tail));
            prop_assert_eq!(codec.decode(word ^ 1 << bit), None);
            prop_assert_eq!(TailCodec::of(name(2)).decode(word), None);
        }
    }
}
