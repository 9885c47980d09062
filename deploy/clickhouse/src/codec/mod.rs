//! Compression of request and response bodies.
//!
//! Two layers, as in ClickHouse: HTTP's own (`Content-Encoding`), and ClickHouse's blocks inside the
//! body (`compress=1`, `decompress=1`; module `blocks`). Whole request bodies are decoded and checked
//! before anyone acts on them; responses are encoded chunk by chunk. Knows nothing of SQL.

mod blocks;
mod decode;
mod encode;

#[cfg(test)]
use decode::HttpCoding;
pub use decode::{RequestCoding, decode};
pub use encode::{Encoder, ResponseCoding};

use crate::engine::Exception;

/// Why a body could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The body is cut short.
    #[error("the compressed body ends early")]
    Truncated,
    /// The bytes do not match their checksum.
    #[error("the checksum of a compressed block does not match")]
    Checksum,
    /// The bytes are not what they claim to be.
    #[error("the compressed body is damaged")]
    Damaged,
    /// A compression this server does not know.
    #[error("unknown compression method {0}")]
    Unknown(String),
    /// Decoded, the body is larger than a body may be.
    #[error("the decoded body exceeds {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// There is no memory left for bodies at this moment.
    #[error("no memory is left for request bodies")]
    NoMemory,
}

impl CodecError {
    /// The ClickHouse exception that says the same.
    #[must_use]
    pub fn exception(&self) -> Exception {
        let (code, name) = match self {
            Self::Truncated => (33, "CANNOT_READ_ALL_DATA"),
            Self::Checksum => (40, "CHECKSUM_DOESNT_MATCH"),
            Self::Damaged => (271, "CANNOT_DECOMPRESS"),
            Self::Unknown(_) => (89, "UNKNOWN_COMPRESSION_METHOD"),
            Self::TooLarge { .. } => (307, "TOO_MANY_BYTES"),
            Self::NoMemory => (241, "MEMORY_LIMIT_EXCEEDED"),
        };
        Exception::new(code, name, &self.to_string())
    }
}
