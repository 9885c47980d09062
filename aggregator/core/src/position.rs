//! Where a record stands, what a commit remembers, and what names an insert.

use std::{fmt, str::FromStr};
use whence_schemas::{ids::Incarnation, topics::Stream};

/// A partition of a stream: of a topic, or one journal of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The stream.
    pub stream: Stream,
    /// Its number within the stream.
    pub number: u32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stream.word(), self.number)
    }
}

/// The records `first..end` of one incarnation of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// Incarnation of the topic or journal.
    pub incarnation: Incarnation,
    /// The partition.
    pub partition: Partition,
    /// Offset of the first record.
    pub first: u64,
    /// One past the offset of the last record.
    pub end: u64,
}

impl BlockRange {
    /// What was stored by positions before this block: everything a block may look at.
    #[must_use]
    pub fn horizon(&self) -> Horizon {
        Horizon { incarnation: self.incarnation, partition: self.partition, before: self.first }
    }

    /// The token of the block's inserts: the same block has the same token for ever.
    #[must_use]
    pub fn token(&self) -> InsertToken {
        InsertToken(format!("{}-{}-{}-{}", self.incarnation, self.partition, self.first, self.end))
    }
}

/// Names an insert: ClickHouse stores what comes twice under one token once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InsertToken(pub String);

/// All that was stored before a block of a partition: rows of other incarnations, and rows of this one
/// with a smaller offset. (Rows of other partitions are of other keys.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Incarnation of the block.
    pub incarnation: Incarnation,
    /// Partition of the block.
    pub partition: Partition,
    /// First offset of the block.
    pub before: u64,
}

impl Horizon {
    /// Whether a row caused by the record at this position is before the block.
    #[must_use]
    pub fn includes(&self, incarnation: Incarnation, partition: u32, offset: u64) -> bool {
        incarnation != self.incarnation || partition != self.partition.number || offset < self.before
    }
}

/// What a partition's owner has told the source: everything before `next` is stored; where `intent`
/// is given, the records `next..intent` may be stored in part, and are replayed as exactly that block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Incarnation that the offsets are of.
    pub incarnation: Incarnation,
    /// First offset that is not certainly stored.
    pub next: u64,
    /// End of the block in flight.
    pub intent: Option<u64>,
}

/// The version of the metadata's format.
const METADATA_VERSION: &str = "1";

/// Why a committed offset's metadata can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the committed offset's metadata {0:?} was not written by this version of whence")]
pub struct MetadataError(String);

impl MetadataError {
    /// Of this text.
    pub fn of(metadata: &str) -> MetadataError {
        MetadataError(metadata.to_owned())
    }
}

impl Commit {
    /// The text that is committed beside the offset: `1 INCARNATION END`, END being `-` without an intent.
    #[must_use]
    pub fn metadata(&self) -> String {
        match self.intent {
            Some(end) => format!("{METADATA_VERSION} {} {end}", self.incarnation),
            None => format!("{METADATA_VERSION} {} -", self.incarnation),
        }
    }

    /// The commit of this offset and metadata.
    pub fn from_metadata(next: u64, metadata: &str) -> Result<Commit, MetadataError> {
        let error = || MetadataError(metadata.to_owned());
        let parts: Vec<_> = metadata.split(' ').collect();
        let [METADATA_VERSION, incarnation, end] = parts[..] else { return Err(error()) };
        let incarnation = uuid::Uuid::from_str(incarnation).map(Incarnation).map_err(|_| error())?;
        let intent = match end {
            "-" => None,
            end => Some(end.parse().map_err(|_| error())?),
        };
        if intent.is_some_and(|end| end <= next) {
            return Err(error());
        }
        Ok(Commit { incarnation, next, intent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    #[test]
    fn foreign_metadata_is_refused_not_guessed() {
        for text in
            ["", "1", "2 00000000000000000000000000000001 -", "1 x -", "1 00000000000000000000000000000001 5"]
        {
            assert!(Commit::from_metadata(5, text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_names_incarnation_stream_partition_and_range() {
        let partition = Partition { stream: Stream::Clicks, number: 3 };
        let range =
            BlockRange { incarnation: Incarnation(Uuid::from_u128(1)), partition, first: 10, end: 20 };
        assert_eq!(range.token().0, "00000000000000000000000000000001-clicks-3-10-20");
    }

    #[test]
    fn the_horizon_ends_before_the_block() {
        let partition = Partition { stream: Stream::Clicks, number: 3 };
        let now = Incarnation(Uuid::from_u128(1));
        let horizon = BlockRange { incarnation: now, partition, first: 10, end: 20 }.horizon();
        assert!(horizon.includes(now, 3, 9));
        assert!(!horizon.includes(now, 3, 10));
        assert!(horizon.includes(now, 4, 10), "another partition");
        assert!(horizon.includes(Incarnation(Uuid::from_u128(2)), 3, 10), "another incarnation");
    }

    proptest! {
        #[test]
        fn metadata_survives_the_journey(next in 0u64..1 << 60, more in proptest::option::of(1u64..1 << 20), id: u128) {
            let commit = Commit { incarnation: Incarnation(Uuid::from_u128(id)), next, intent: more.map(|m| next + m) };
            prop_assert_eq!(Commit::from_metadata(next, &commit.metadata()), Ok(commit));
        }
    }
}
