//! The records of the topics and their one codec.
//!
//! The types are made from `proto/whence/v1/*.proto`. [`encode`] and [`decode`] are the only way
//! into and out of a record's bytes.

use bytes::Bytes;
use prost::Message;

#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/whence.v1.rs"));
}

pub use proto::*;

/// The largest record that is written or read, in bytes: well under Kafka's default of 1 MiB.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not a Protobuf message of this type.
    #[error("not a Protobuf record of this topic")]
    Protobuf(#[from] prost::DecodeError),
    /// More than [`RECORD_BYTES_MAX`].
    #[error("the record has {0} bytes, more than {RECORD_BYTES_MAX}")]
    TooLarge(usize),
}

/// The record's bytes.
#[must_use]
pub fn encode<M: Message>(message: &M) -> Bytes {
    message.encode_to_vec().into()
}

/// The message in a record's bytes. Fields this version does not know are passed over.
pub fn decode<M: Message + Default>(record: &[u8]) -> Result<M, DecodeError> {
    if record.len() > RECORD_BYTES_MAX {
        return Err(DecodeError::TooLarge(record.len()));
    }
    Ok(M::decode(record)?)
}

impl Verdict {
    /// The verdict's word in tables and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Unspecified => "unspecified",
            Verdict::Human => "human",
            Verdict::Bot => "bot",
            Verdict::Preview => "preview",
            Verdict::Prefetch => "prefetch",
            Verdict::Head => "head",
            Verdict::Inactive => "inactive",
        }
    }
}
