//! One record's frame: how payload bytes become checkable bytes in a segment, and back.
//!
//! ```text
//! 0      4      8              16            16+len          multiple of 8
//! │ crc  │ len  │ offset       │ payload      │ zeros, a mark │     little-endian
//! ```
//!
//! Between 1 and 8 bytes follow the payload, the last of them a non-zero mark: so zeros at the end of
//! a file are never part of a record, and the allocated rest of a dead segment can be cut unread.
//!
//! `crc` is CRC-32C over (incarnation, len, offset, payload). The incarnation is not stored in the
//! frame: it seeds the checksum. A frame-shaped run of bytes inside somebody's payload therefore
//! passes only if its author knew 74 random bits of this journal, and bytes left over from another
//! journal never pass.
//!
//! Pure: knows no files.

use crate::position::Incarnation;

/// Bytes before the payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 16;
/// Frames start at multiples of this, so that a reader that lost its place finds the next one.
pub(crate) const FRAME_ALIGN: usize = 8;
/// The least a record takes.
pub(crate) const FRAME_BYTES_MIN: usize = frame_bytes(0);

const END_MARK: u8 = 0xa5;

/// Bytes a payload of `len` takes in a segment.
pub(crate) const fn frame_bytes(len: usize) -> usize {
    (FRAME_HEADER_BYTES + len + 1).next_multiple_of(FRAME_ALIGN)
}

/// The checksum of one incarnation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checksum(u32);

impl Checksum {
    pub(crate) fn of(incarnation: Incarnation) -> Self {
        Checksum(crc32c::crc32c(&incarnation.0.to_le_bytes()))
    }

    fn frame(self, len_and_offset: &[u8], payload: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, len_and_offset), payload)
    }
}

/// Completes a frame whose payload is already in place: padding, length, offset and checksum.
///
/// `frame` is exactly `frame_bytes(len)` long and `len` fits a `u32` (segments are smaller).
pub(crate) fn complete_frame(frame: &mut [u8], len: usize, offset: u64, checksum: Checksum) {
    debug_assert_eq!(frame.len(), frame_bytes(len));
    let (padding, mark) = (FRAME_HEADER_BYTES + len, frame.len() - 1);
    frame[padding..mark].fill(0);
    frame[mark] = END_MARK;
    let (header, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
    header[4..8].copy_from_slice(&(len as u32).to_le_bytes());
    header[8..16].copy_from_slice(&offset.to_le_bytes());
    let crc = checksum.frame(&header[4..16], &payload[..len]);
    header[0..4].copy_from_slice(&crc.to_le_bytes());
}

/// What the first 16 bytes of a frame claim. Nothing in it is trusted before [`Self::holds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    crc: u32,
    pub(crate) len: u32,
    pub(crate) offset: u64,
}

impl FrameHeader {
    pub(crate) fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> Self {
        let [c0, c1, c2, c3, l0, l1, l2, l3, offset @ ..] = *bytes;
        FrameHeader {
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            offset: u64::from_le_bytes(offset),
        }
    }

    /// Bytes of the whole frame, padding included.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(self.len as usize) as u64
    }

    /// Bytes of header and payload: what must be there for the record to be whole.
    pub(crate) fn content_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.len)
    }

    /// Whether `payload` is what was appended under this header in `checksum`'s incarnation.
    pub(crate) fn holds(&self, payload: &[u8], checksum: Checksum) -> bool {
        let mut claimed = [0; 12];
        claimed[..4].copy_from_slice(&self.len.to_le_bytes());
        claimed[4..].copy_from_slice(&self.offset.to_le_bytes());
        payload.len() == self.len as usize && checksum.frame(&claimed, payload) == self.crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(payload: &[u8], offset: u64, checksum: Checksum) -> Vec<u8> {
        let mut frame = vec![0xee; frame_bytes(payload.len())];
        frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + payload.len()].copy_from_slice(payload);
        complete_frame(&mut frame, payload.len(), offset, checksum);
        frame
    }

    fn accepts(frame: &[u8], offset: u64, checksum: Checksum) -> bool {
        let header = FrameHeader::parse(frame[..16].try_into().unwrap());
        let end = FRAME_HEADER_BYTES + header.len as usize;
        header.offset == offset && end <= frame.len() && header.holds(&frame[16..end], checksum)
    }

    #[test]
    fn another_incarnation_rejects_the_frame() {
        let frame = framed(b"click", 7, Checksum::of(Incarnation(1)));
        assert!(!accepts(&frame, 7, Checksum::of(Incarnation(2))));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_outside_the_padding_is_noticed(
            payload in proptest::collection::vec(any::<u8>(), 0..200), offset: u64, at: usize, bit in 0u8..8,
        ) {
            let checksum = Checksum::of(Incarnation(42));
            let mut frame = framed(&payload, offset, checksum);
            prop_assert!(accepts(&frame, offset, checksum));
            prop_assert_eq!(frame.len() % FRAME_ALIGN, 0);
            let at = at % (FRAME_HEADER_BYTES + payload.len());
            frame[at] ^= 1 << bit;
            prop_assert!(!accepts(&frame, offset, checksum));
        }
    }
}
