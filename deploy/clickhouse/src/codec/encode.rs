//! Encodes a response body chunk by chunk: every chunk can be decoded as soon as it arrives.

use std::io::Write;

use bytes::Bytes;

use super::blocks;

/// How a response body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseCoding {
    /// As it is.
    Identity,
    /// ClickHouse's blocks (`compress=1`).
    Blocks,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// LZ4 frames.
    Lz4,
}

impl ResponseCoding {
    /// Chooses a coding: blocks if they are asked for, otherwise the first of `accepted` that this
    /// server has.
    #[must_use]
    pub fn choose(blocks: bool, accepted: Option<&str>) -> Self {
        if blocks {
            return Self::Blocks;
        }
        let accepted = accepted.unwrap_or_default();
        accepted
            .split(',')
            .filter_map(|entry| {
                let mut parts = entry.split(';');
                let name = parts.next()?.trim();
                let refused = parts.any(|part| matches!(part.trim(), "q=0" | "q=0.0"));
                if refused { None } else { Self::named(name) }
            })
            .next()
            .unwrap_or(Self::Identity)
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "lz4" => Some(Self::Lz4),
            _ => None,
        }
    }

    /// The value of `Content-Encoding`.
    #[must_use]
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::Identity | Self::Blocks => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
            Self::Lz4 => Some("lz4"),
        }
    }
}

const INTO_MEMORY: &str = "writing into memory does not fail";

/// Packs the chunks of one response into one gzip member, Zstandard frame or LZ4 frame (clients read
/// no second one), flushed after every chunk.
pub enum Encoder {
    /// As it is.
    Identity,
    /// A block a chunk.
    Blocks,
    /// One gzip member.
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    /// One Zstandard frame.
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    /// One LZ4 frame.
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
}

impl Encoder {
    /// An encoder at the start of a body.
    #[must_use]
    pub fn new(coding: ResponseCoding) -> Self {
        match coding {
            ResponseCoding::Identity => Self::Identity,
            ResponseCoding::Blocks => Self::Blocks,
            ResponseCoding::Gzip => {
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()))
            }
            ResponseCoding::Zstd => {
                Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1).expect(INTO_MEMORY))
            }
            ResponseCoding::Lz4 => Self::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(Vec::new()))),
        }
    }

    /// Packs one chunk; what comes out can be decoded without the next one.
    pub fn chunk(&mut self, data: Bytes) -> Bytes {
        match self {
            Self::Identity => data,
            Self::Blocks if data.is_empty() => data,
            Self::Blocks => blocks::pack(&data),
            Self::Gzip(encoder) => {
                flushed(encoder, &data);
                std::mem::take(encoder.get_mut()).into()
            }
            Self::Zstd(encoder) => {
                flushed(encoder, &data);
                std::mem::take(encoder.get_mut()).into()
            }
            Self::Lz4(encoder) => {
                flushed(encoder, &data);
                std::mem::take(encoder.get_mut()).into()
            }
        }
    }

    /// What ends the body.
    #[must_use]
    pub fn finish(self) -> Bytes {
        match self {
            Self::Identity | Self::Blocks => Bytes::new(),
            Self::Gzip(encoder) => encoder.finish().expect(INTO_MEMORY).into(),
            Self::Zstd(encoder) => encoder.finish().expect(INTO_MEMORY).into(),
            Self::Lz4(encoder) => encoder.finish().expect(INTO_MEMORY).into(),
        }
    }
}

fn flushed(encoder: &mut dyn Write, data: &[u8]) {
    encoder.write_all(data).expect(INTO_MEMORY);
    encoder.flush().expect(INTO_MEMORY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_coding_is_chosen_and_a_refused_one_is_not() {
        use ResponseCoding::{Blocks, Gzip, Identity, Lz4, Zstd};
        let choose = |accepted| ResponseCoding::choose(false, Some(accepted));
        assert_eq!(choose("br, zstd, gzip"), Zstd);
        assert_eq!(choose("gzip;q=0, lz4"), Lz4);
        assert_eq!(choose("gzip;q=0.5"), Gzip);
        assert_eq!(choose("br"), Identity);
        assert_eq!(ResponseCoding::choose(true, Some("gzip")), Blocks);
    }

    #[test]
    fn what_is_encoded_in_chunks_is_decoded_as_one_body() {
        use super::super::{HttpCoding, RequestCoding, decode};
        let data: Vec<u8> = (0..700_000_u32).map(|at| (at % 253) as u8).collect();
        for (coding, http, blocks) in [
            (ResponseCoding::Identity, HttpCoding::Identity, false),
            (ResponseCoding::Blocks, HttpCoding::Identity, true),
            (ResponseCoding::Gzip, HttpCoding::Gzip, false),
            (ResponseCoding::Zstd, HttpCoding::Zstd, false),
            (ResponseCoding::Lz4, HttpCoding::Lz4, false),
        ] {
            let mut encoder = Encoder::new(coding);
            let mut body: Vec<Bytes> =
                data.chunks(100_000).map(|chunk| encoder.chunk(Bytes::copy_from_slice(chunk))).collect();
            body.push(encoder.finish());
            let decoded = decode(body, RequestCoding { http, blocks }, 1 << 30, &mut |_| Ok(()));
            assert!(decoded.unwrap().concat() == data, "{coding:?}");
        }
    }
}
