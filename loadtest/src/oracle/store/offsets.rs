//! Counts offsets: which are there, and which more than once. One bit an offset.

use super::super::{names::Name, stored::PartitionRow};
use crate::ledger::Id;
use std::collections::{BTreeMap, HashMap};

const WORDS: usize = 1024;
const CHUNK_BITS: u64 = 64 * WORDS as u64;

/// Stream, incarnation and partition.
type PartitionKey = (Name, Id, u32);

/// The offsets of any number of partitions.
#[derive(Debug, Default)]
pub(super) struct Offsets(BTreeMap<PartitionKey, Partition>);

#[derive(Debug)]
struct Partition {
    /// By offset divided by [`CHUNK_BITS`].
    chunks: HashMap<u64, Box<[u64; WORDS]>>,
    first: u64,
    last: u64,
    records: u64,
    offsets: u64,
}

impl Offsets {
    /// Notes one outcome of an offset.
    pub fn add(&mut self, place: PartitionKey, offset: u64) {
        let new =
            || Partition { chunks: HashMap::new(), first: offset, last: offset, records: 0, offsets: 0 };
        let partition = self.0.entry(place).or_insert_with(new);
        partition.records += 1;
        partition.first = partition.first.min(offset);
        partition.last = partition.last.max(offset);
        let chunk = partition.chunks.entry(offset / CHUNK_BITS).or_insert_with(|| Box::new([0; WORDS]));
        let within = offset % CHUNK_BITS;
        let word = &mut chunk[usize::try_from(within / 64).expect("a chunk is small")];
        let bit = 1 << (within % 64);
        partition.offsets += u64::from(*word & bit == 0);
        *word |= bit;
    }

    /// What came together, in order.
    pub fn into_rows(self) -> Vec<PartitionRow> {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let row = |((stream, incarnation, number), found): (PartitionKey, Partition)| PartitionRow {
            stream,
            incarnation,
            partition: number,
            first_offset: found.first,
            next_offset: found.last + 1,
            records: found.records,
            offsets: found.offsets,
            missing: signed(found.last + 1 - found.first - found.offsets),
            extra: signed(found.records - found.offsets),
        };
        self.0.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(offsets: &[u64]) -> (i64, i64) {
        let mut counter = Offsets::default();
        offsets.iter().for_each(|offset| counter.add((Name::EMPTY, Id(1), 0), *offset));
        let row = counter.into_rows()[0];
        (row.missing, row.extra)
    }

    #[test]
    fn gaps_and_repeats_are_counted() {
        assert_eq!(counted(&[3, 4, 5]), (0, 0));
        assert_eq!(counted(&[70_000, 3]), (69_996, 0));
        assert_eq!(counted(&[65_536, 65_535, 65_536, 65_536]), (0, 2));
    }
}
