//! Decodes a whole request body.

use std::collections::VecDeque;
use std::io::Read;

use bytes::{Buf, Bytes, BytesMut};

use super::{CodecError, blocks};

/// Decoded bytes are taken in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// How a request body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCoding {
    /// HTTP's own coding.
    pub http: HttpCoding,
    /// ClickHouse's blocks inside (`decompress=1`).
    pub blocks: bool,
}

/// `Content-Encoding` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpCoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Deflate,
    /// RFC 8878.
    Zstd,
    /// LZ4 frames.
    Lz4,
}

impl RequestCoding {
    /// Reads the header and the URL parameter.
    ///
    /// # Errors
    /// `Unknown` for a coding this server does not have.
    pub fn new(content_encoding: Option<&str>, blocks: bool) -> Result<Self, CodecError> {
        let http = match content_encoding.map(str::trim).unwrap_or_default() {
            "" | "identity" => HttpCoding::Identity,
            "gzip" | "x-gzip" => HttpCoding::Gzip,
            "deflate" => HttpCoding::Deflate,
            "zstd" => HttpCoding::Zstd,
            "lz4" => HttpCoding::Lz4,
            other => return Err(CodecError::Unknown(other.to_owned())),
        };
        Ok(Self { http, blocks })
    }

    /// Whether the body is to be used as it came.
    #[must_use]
    pub fn is_plain(self) -> bool {
        self.http == HttpCoding::Identity && !self.blocks
    }
}

/// Decodes `chunks`, all of them and to the end. `reserve` is asked before memory is taken, and told
/// how many bytes.
///
/// # Errors
/// The body is damaged, cut short, or larger than `bytes_max` when decoded; or `reserve`'s error.
pub fn decode(
    chunks: Vec<Bytes>,
    coding: RequestCoding,
    bytes_max: usize,
    reserve: &mut dyn FnMut(usize) -> Result<(), CodecError>,
) -> Result<Vec<Bytes>, CodecError> {
    let mut body = Chunks::new(chunks);
    let mut decoded = 0;
    let mut reserve = |bytes: usize| {
        decoded += bytes;
        if decoded > bytes_max { Err(CodecError::TooLarge { bytes_max }) } else { reserve(bytes) }
    };
    if coding.http != HttpCoding::Identity {
        body = Chunks::new(http(body, coding.http, &mut reserve)?);
    }
    if coding.blocks {
        blocks::unpack(&mut |count| body.next_bytes(count), &mut reserve)
    } else {
        Ok(body.pieces.into())
    }
}

/// Decodes stream after stream until nothing is left: gzip members, Zstandard and LZ4 frames may be
/// concatenated, and a decoder that stops at the end of the first would lose the rest unnoticed.
fn http(
    body: Chunks,
    coding: HttpCoding,
    reserve: &mut dyn FnMut(usize) -> Result<(), CodecError>,
) -> Result<Vec<Bytes>, CodecError> {
    let mut body = body.reader();
    let mut decoded = Decoded { pieces: Vec::new(), piece: Vec::new(), reserve };
    loop {
        let before = body.get_ref().left;
        let streams = &mut body;
        match coding {
            HttpCoding::Identity => return Ok(body.into_inner().pieces.into()),
            HttpCoding::Gzip => decoded.drain(flate2::bufread::GzDecoder::new(streams))?,
            HttpCoding::Deflate => decoded.drain(flate2::bufread::ZlibDecoder::new(streams))?,
            HttpCoding::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(streams);
                decoded.drain(decoder.map_err(|_| CodecError::Damaged)?.single_frame())?;
            }
            HttpCoding::Lz4 => decoded.drain(lz4_flex::frame::FrameDecoder::new(streams))?,
        }
        match body.get_ref().left {
            0 => return Ok(decoded.finish()),
            left if left == before => return Err(CodecError::Damaged),
            _ => {}
        }
    }
}

/// Decoded bytes, in pieces of one size.
struct Decoded<'reserve> {
    pieces: Vec<Bytes>,
    piece: Vec<u8>,
    reserve: &'reserve mut dyn FnMut(usize) -> Result<(), CodecError>,
}

impl Decoded<'_> {
    /// Takes one stream to its end.
    fn drain(&mut self, mut decoder: impl Read) -> Result<(), CodecError> {
        loop {
            if self.piece.len() == self.piece.capacity() {
                (self.reserve)(PIECE_BYTES)?;
                let full = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
                self.pieces.push(full.into());
            }
            let room = self.piece.capacity() - self.piece.len();
            let read = decoder.by_ref().take(room as u64).read_to_end(&mut self.piece);
            let read = read.map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => CodecError::Truncated,
                _ => CodecError::Damaged,
            })?;
            if read < room {
                return Ok(());
            }
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.pieces.push(self.piece.into());
        self.pieces
    }
}

/// A body in pieces, read as one.
struct Chunks {
    pieces: VecDeque<Bytes>,
    left: usize,
}

impl Chunks {
    fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(Bytes::len).sum();
        let mut chunks = Self { pieces: pieces.into(), left };
        chunks.advance(0);
        chunks
    }

    /// The next `count` bytes, without a copy where one piece holds them all.
    fn next_bytes(&mut self, count: usize) -> Option<Bytes> {
        if self.remaining() < count {
            return None;
        }
        if let Some(front) = self.pieces.front_mut()
            && front.len() >= count
        {
            let taken = front.split_to(count);
            self.left -= count;
            self.advance(0);
            return Some(taken);
        }
        let mut taken = BytesMut::with_capacity(count);
        while taken.len() < count {
            let part = self.chunk();
            let part = &part[..part.len().min(count - taken.len())];
            taken.extend_from_slice(part);
            let length = part.len();
            self.advance(length);
        }
        Some(taken.freeze())
    }
}

impl Buf for Chunks {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |front| &front[..])
    }

    fn advance(&mut self, count: usize) {
        if let Some(front) = self.pieces.front_mut() {
            front.advance(count);
        }
        self.left -= count;
        while self.pieces.front().is_some_and(Bytes::is_empty) {
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const PLAIN: RequestCoding = RequestCoding { http: HttpCoding::Identity, blocks: false };

    fn pieces(bytes: &[u8], size: usize) -> Vec<Bytes> {
        bytes.chunks(size).map(Bytes::copy_from_slice).collect()
    }

    fn decoded(body: &[u8], coding: RequestCoding, bytes_max: usize) -> Result<Vec<u8>, CodecError> {
        decode(pieces(body, 7), coding, bytes_max, &mut |_| Ok(())).map(|chunks| chunks.concat())
    }

    fn packed(data: &[u8], http: HttpCoding) -> Vec<u8> {
        let level = flate2::Compression::fast();
        match http {
            HttpCoding::Identity => data.to_vec(),
            HttpCoding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            HttpCoding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            HttpCoding::Zstd => zstd::encode_all(data, 1).unwrap(),
            HttpCoding::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    const CODINGS: [HttpCoding; 4] =
        [HttpCoding::Gzip, HttpCoding::Deflate, HttpCoding::Zstd, HttpCoding::Lz4];

    #[test]
    fn a_cut_body_is_an_error_in_every_coding() {
        for http in CODINGS {
            let packed = packed(&b"whence".repeat(1000), http);
            let cut = decoded(&packed[..packed.len() - 5], RequestCoding { http, blocks: false }, 1 << 30);
            assert!(cut.is_err(), "{http:?}");
        }
    }

    #[test]
    fn a_body_that_unpacks_beyond_the_limit_is_refused() {
        for http in CODINGS {
            let packed = packed(&vec![0; 4 << 20], http);
            let coding = RequestCoding { http, blocks: false };
            assert_eq!(decoded(&packed, coding, 2 << 20), Err(CodecError::TooLarge { bytes_max: 2 << 20 }));
        }
    }

    #[test]
    fn every_coding_comes_back_whole() {
        let data: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        for http in CODINGS {
            let coding = RequestCoding { http, blocks: false };
            assert!(decoded(&packed(&data, http), coding, 1 << 30).unwrap() == data, "{http:?}");
        }
    }

    #[test]
    fn streams_that_follow_one_another_are_all_decoded() {
        let part: Vec<u8> = (0..700_000_u32).map(|at| (at % 241) as u8).collect();
        for http in CODINGS {
            let mut body = Vec::new();
            for _ in 0..5 {
                body.extend(packed(&part, http));
            }
            let coding = RequestCoding { http, blocks: false };
            assert!(decoded(&body, coding, 1 << 30).unwrap() == part.repeat(5), "{http:?}");
            body.extend(b"something else");
            assert!(decoded(&body, coding, 1 << 30).is_err(), "{http:?}");
            let cut = &body[..body.len() - packed(&part, http).len() / 2];
            assert!(decoded(cut, coding, 1 << 30).is_err(), "{http:?}");
        }
    }

    #[test]
    fn blocks_inside_a_coding_are_unpacked_too() {
        let inner = [blocks::pack(b"whence"), blocks::pack(b" from")].concat();
        let coding = RequestCoding { http: HttpCoding::Gzip, blocks: true };
        assert_eq!(decoded(&packed(&inner, HttpCoding::Gzip), coding, 1 << 30).unwrap(), b"whence from");
    }

    #[test]
    fn a_plain_body_is_passed_on_as_it_is() {
        assert_eq!(decoded(b"whence", PLAIN, 0).unwrap(), b"whence");
        assert!(RequestCoding::new(Some("br"), false).is_err());
    }
}
