//! ClickHouse's compressed blocks.
//!
//! ```text
//! 16 bytes  CityHash128 (version 1.0.2) of everything after it, low half first
//!  1 byte   method: 0x82 LZ4, 0x90 ZSTD, 0x02 none
//!  4 bytes  size of the block with this 9-byte header, little endian
//!  4 bytes  size of the data, little endian
//!           the data
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use cityhash_rs::cityhash_102_128;

use super::CodecError;

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const NONE: u8 = 0x02;
const LZ4: u8 = 0x82;
const ZSTD: u8 = 0x90;
/// ClickHouse refuses larger blocks too (`DBMS_MAX_COMPRESSED_SIZE`).
const BLOCK_BYTES_MAX: usize = 1 << 30;

/// The sizes a block's header gives.
struct Header {
    method: u8,
    packed: usize,
    plain: usize,
}

fn header(bytes: &[u8]) -> Result<Header, CodecError> {
    let size = |at: usize| {
        let field = bytes.get(at..at + 4).ok_or(CodecError::Truncated)?;
        Ok(u32::from_le_bytes(field.try_into().expect("four bytes")) as usize)
    };
    let (method, packed, plain) = (bytes[0], size(1)?, size(5)?);
    if !(HEADER_BYTES..=BLOCK_BYTES_MAX).contains(&packed) || plain > BLOCK_BYTES_MAX {
        return Err(CodecError::Damaged);
    }
    Ok(Header { method, packed, plain })
}

/// Takes whole blocks off the front of `body`, checks and unpacks them one at a time.
///
/// `reserve` is asked before memory is taken for a block's data.
pub fn unpack(
    body: &mut dyn FnMut(usize) -> Option<Bytes>,
    reserve: &mut dyn FnMut(usize) -> Result<(), CodecError>,
) -> Result<Vec<Bytes>, CodecError> {
    let mut unpacked = Vec::new();
    while let Some(first) = body(1) {
        let rest = body(CHECKSUM_BYTES + HEADER_BYTES - 1).ok_or(CodecError::Truncated)?;
        let head = [&first[..], &rest[..]].concat();
        let (checksum, head) = head.split_at(CHECKSUM_BYTES);
        let Header { method, packed, plain } = header(head)?;
        let data = body(packed - HEADER_BYTES).ok_or(CodecError::Truncated)?;
        if checksum_of(&[head, &data[..]].concat()) != checksum {
            return Err(CodecError::Checksum);
        }
        reserve(plain)?;
        unpacked.push(block(method, data, plain)?);
    }
    Ok(unpacked)
}

fn block(method: u8, data: Bytes, plain: usize) -> Result<Bytes, CodecError> {
    let bytes = match method {
        NONE => data,
        LZ4 => lz4_flex::block::decompress(&data, plain).map_err(|_| CodecError::Damaged)?.into(),
        ZSTD => zstd::bulk::decompress(&data, plain).map_err(|_| CodecError::Damaged)?.into(),
        other => return Err(CodecError::Unknown(format!("0x{other:02x}"))),
    };
    if bytes.len() == plain { Ok(bytes) } else { Err(CodecError::Damaged) }
}

/// Packs `data` as one LZ4 block.
pub fn pack(data: &[u8]) -> Bytes {
    let room = lz4_flex::block::get_maximum_output_size(data.len());
    let start = CHECKSUM_BYTES + HEADER_BYTES;
    let mut block = BytesMut::zeroed(start + room);
    let packed = lz4_flex::block::compress_into(data, &mut block[start..])
        .expect("the buffer has the largest size an output can have");
    block.truncate(start + packed);
    let size = |bytes: usize| u32::try_from(bytes).expect("chunks are far below 4 GiB");
    let mut head = &mut block[CHECKSUM_BYTES..start];
    head.put_u8(LZ4);
    head.put_u32_le(size(packed + HEADER_BYTES));
    head.put_u32_le(size(data.len()));
    let checksum = checksum_of(&block[CHECKSUM_BYTES..]);
    block[..CHECKSUM_BYTES].copy_from_slice(&checksum);
    block.freeze()
}

fn checksum_of(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    // ClickHouse writes the two halves low first, this crate's value has the first half on top.
    cityhash_102_128(bytes).rotate_left(64).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack_all(packed: &[u8]) -> Result<Vec<u8>, CodecError> {
        let mut rest = Bytes::copy_from_slice(packed);
        let mut take = |count: usize| (rest.len() >= count).then(|| rest.split_to(count));
        unpack(&mut take, &mut |_| Ok(())).map(|blocks| blocks.concat())
    }

    #[test]
    fn a_changed_byte_is_a_wrong_checksum() {
        let mut packed = pack(b"whence").to_vec();
        let last = packed.len() - 1;
        packed[last] ^= 1;
        assert_eq!(unpack_all(&packed), Err(CodecError::Checksum));
    }

    #[test]
    fn every_cut_is_noticed() {
        let packed = pack(b"whence whence whence whence");
        for length in 1..packed.len() {
            assert_eq!(unpack_all(&packed[..length]), Err(CodecError::Truncated), "{length}");
        }
    }

    #[test]
    fn a_block_of_an_unknown_method_is_named() {
        let mut packed = pack(b"x").to_vec();
        packed[CHECKSUM_BYTES] = 0x77;
        let checksum = checksum_of(&packed[CHECKSUM_BYTES..]);
        packed[..CHECKSUM_BYTES].copy_from_slice(&checksum);
        assert_eq!(unpack_all(&packed), Err(CodecError::Unknown("0x77".into())));
    }

    #[test]
    fn no_memory_stops_before_it_is_taken() {
        let mut rest = pack(b"whence");
        let mut take = |count: usize| (rest.len() >= count).then(|| rest.split_to(count));
        assert_eq!(unpack(&mut take, &mut |_| Err(CodecError::NoMemory)), Err(CodecError::NoMemory));
    }

    proptest! {
        #[test]
        fn packed_bytes_come_back(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5)) {
            let packed: Vec<u8> = blocks.iter().flat_map(|block| pack(block)).collect();
            prop_assert_eq!(unpack_all(&packed), Ok(blocks.concat()));
        }
    }
}
