//! ClickHouse's format `Native` as a client of a given protocol version reads it.
//!
//! The format has two wire forms. The plain one is what files and inserts hold, and all that the library writes. A client
//! that names a version (`client_protocol_version`) reads that of the native protocol, which differs in two places:
//!
//! ```text
//! block  = [info: version > 0] columns:varint rows:varint column*
//! info   = field 1, is_overflows: u8 = 0; field 2, bucket_num: i32 = -1; 0 ends the fields
//! column = name:string type:string [custom serialization: u8 = 0, version >= 54454] data
//! ```
//!
//! To put these bytes where they belong, the length of each column's data must be known, which only its type tells:
//! [`types`] reads types, [`walk`] steps over data as it streams by, with no block in memory. Source of the formats:
//! ClickHouse's `NativeWriter`, `BlockInfo` and the serializations of its types, tried with 26.7.3. Results alone: a
//! server reads the rows of inserts in the plain form whatever the version.

mod types;
mod walk;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::engine::Exception;
use walk::Walk;

/// `DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION`: a byte before the data of each column.
const WITH_CUSTOM_SERIALIZATION: u64 = 54_454;
/// `DBMS_MIN_REVISION_WITH_LOW_CARDINALITY_TYPE`: older clients do not know `LowCardinality`.
pub const WITH_LOW_CARDINALITY: u64 = 54_405;

/// Field 1, `is_overflows`, 0; field 2, `bucket_num`, -1; no more fields.
const BLOCK_INFO: [u8; 8] = [1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0];

/// The protocol version of a client; 0 is the plain form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version(u64);

impl Version {
    /// Whether a result in `format` reads differently to this client than what the library writes.
    pub fn changes(self, format: &str) -> bool {
        self.0 > 0 && format.eq_ignore_ascii_case("Native")
    }

    /// The version of this text; `None` if it is not a number, or older than `LowCardinality`, which the library does
    /// not convert.
    pub fn read(text: &str) -> Option<Self> {
        let version = text.parse().ok()?;
        (version == 0 || version >= WITH_LOW_CARDINALITY).then_some(Self(version))
    }

    fn has_custom_serialization(self) -> bool {
        self.0 >= WITH_CUSTOM_SERIALIZATION
    }
}

/// Why a result was not rewritten to its end.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// A type whose data has no length that can be told from outside, such as states of aggregate functions.
    #[error(
        "the type {type_name} of column {column} is not served in format Native to a client that sends client_protocol_version: convert the column (finalizeAggregation, CAST) or name another format"
    )]
    Unsupported {
        /// The column's name.
        column: String,
        /// Its type.
        type_name: String,
    },
    /// Types in types beyond what anybody has.
    #[error(
        "types nested this deep are not served in format Native to a client that sends client_protocol_version: name another format"
    )]
    TooDeep,
    /// The result ended in the middle, or is not what its types say.
    #[error("the result in format Native is damaged: {0}")]
    Damaged(&'static str),
    /// The result could not be read, or nobody takes it.
    #[error("the result in format Native could not be passed on")]
    Io(#[from] std::io::Error),
}

impl NativeError {
    /// The ClickHouse exception that says the same.
    pub fn exception(&self) -> Exception {
        let (code, name) = match self {
            Self::Unsupported { .. } | Self::TooDeep => (48, "NOT_IMPLEMENTED"),
            Self::Damaged(_) => (117, "INCORRECT_DATA"),
            Self::Io(_) => (210, "NETWORK_ERROR"),
        };
        Exception::new(code, name, &self.to_string())
    }
}

/// Copies a result in the plain form to `output` in the form of `version`.
///
/// # Errors
/// A type that is not served, a result that ends in the middle, or a side that is gone.
pub async fn rewrite(
    input: impl AsyncRead + Unpin + Send,
    output: impl AsyncWrite + Unpin + Send,
    version: Version,
) -> Result<(), NativeError> {
    let mut walk = Walk::new(input, output);
    while !walk.at_end().await? {
        walk.put(&BLOCK_INFO).await?;
        let columns = walk.varint().await?;
        let rows = walk.varint().await?;
        for _ in 0..columns {
            let column = walk.text().await?;
            let type_name = walk.text().await?;
            if version.has_custom_serialization() {
                walk.put(&[0]).await?;
            }
            if rows > 0 {
                let Some(kind) = types::parse(&type_name) else {
                    return Err(NativeError::Unsupported { column, type_name });
                };
                walk.column(&kind, rows).await?;
            }
        }
    }
    walk.finish().await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Three rows of a text, of a dictionary in arrays, of a variant and of a JSON, as 26.7.3 writes them.
    fn block() -> Vec<Vec<u8>> {
        let number = |value: u64| value.to_le_bytes().to_vec();
        let named = |name: &str, type_name: &str| {
            let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            [text(name), text(type_name)].concat()
        };
        let long = [&[0xc8, 0x01][..], &[b'y'; 200]].concat();
        let texts = [&[0, 1, b'a'][..], &long].concat();
        let array = [number(2), number(2), number(3)].concat();
        let dictionary = [number(0x600), number(2), vec![0, 1, b'v'], number(3), vec![0, 1, 1]].concat();
        let variant = [number(0), vec![0, 255, 1], vec![1, b'x'], number(7)].concat();
        let json = [
            number(0),
            vec![2, 1, 1, b'a'], // version, max_dynamic_paths, paths
            number(1),
            vec![1, 1, 5],
            b"Int64".to_vec(),
            number(0),                 // Dynamic: version, max_types, types; variant
            vec![1, b'x', 0, 1, b'z'], // the path that the type names
            vec![0, 255, 255],
            number(9), // the path that the data names
            number(0),
            number(1),
            number(1),
            vec![1, b'p', 1, b'q'], // the others
        ];
        vec![
            vec![4, 3],
            named("s", "String"),
            texts,
            named("l", "Array(LowCardinality(Nullable(String)))"),
            [number(1), array, dictionary].concat(),
            named("v", "Variant(String, UInt64)"),
            variant,
            named("j", "JSON(max_dynamic_paths=2, b String)"),
            json.concat(),
        ]
    }

    fn rewritten(block: &[Vec<u8>], version: u64) -> Vec<u8> {
        let custom: &[u8] = if version >= WITH_CUSTOM_SERIALIZATION { &[0] } else { &[] };
        let mut bytes = BLOCK_INFO.to_vec();
        for (at, part) in block.iter().enumerate() {
            bytes.extend_from_slice(part);
            if at % 2 == 1 {
                bytes.extend_from_slice(custom);
            }
        }
        bytes
    }

    /// Rewrites `plain` as it comes in pieces of `piece` bytes.
    async fn rewrite_pieces(plain: Vec<u8>, piece: usize, version: u64) -> Result<Vec<u8>, NativeError> {
        let (mut sender, input) = tokio::io::duplex(piece);
        let (output, mut receiver) = tokio::io::duplex(piece);
        let sending = async move {
            // A side that has failed takes no more.
            let _ = sender.write_all(&plain).await;
        };
        let mut got = Vec::new();
        let rewriting = rewrite(input, output, Version(version));
        let ((), outcome, read) = tokio::join!(sending, rewriting, receiver.read_to_end(&mut got));
        read?;
        outcome.map(|()| got)
    }

    #[tokio::test]
    async fn blocks_are_rewritten_however_they_are_cut() {
        let block = block();
        let plain = block.concat().repeat(3);
        for version in [WITH_LOW_CARDINALITY, WITH_CUSTOM_SERIALIZATION] {
            let expected = rewritten(&block, version).repeat(3);
            for piece in (1..50).chain([1000, 100_000]) {
                assert!(rewrite_pieces(plain.clone(), piece, version).await.unwrap() == expected, "{piece}");
            }
        }
    }

    #[tokio::test]
    async fn a_result_that_ends_in_the_middle_is_damaged() {
        let plain = block().concat();
        for length in 1..plain.len() {
            let cut = rewrite_pieces(plain[..length].to_vec(), 64, WITH_CUSTOM_SERIALIZATION).await;
            assert!(matches!(cut, Err(NativeError::Damaged(_))), "{length}");
        }
    }

    #[tokio::test]
    async fn types_that_name_types_without_end_are_too_deep() {
        let dynamic = [&3_u64.to_le_bytes()[..], b"\x01\x07Dynamic"].concat();
        let block = [&b"\x01\x01\x01d\x07Dynamic"[..], &dynamic.repeat(1000)].concat();
        let outcome = rewrite_pieces(block, 64, WITH_LOW_CARDINALITY).await;
        assert!(matches!(outcome, Err(NativeError::TooDeep)), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_type_that_cannot_be_stepped_over_is_named() {
        let block = b"\x01\x01\x01s\x1eAggregateFunction(sum, UInt64)12345678".to_vec();
        let refused = rewrite_pieces(block, 64, WITH_LOW_CARDINALITY).await.unwrap_err();
        assert!(refused.to_string().contains("AggregateFunction(sum, UInt64) of column s"), "{refused}");
        assert_eq!(refused.exception().code, 48);
    }
}
