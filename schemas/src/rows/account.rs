//! The account of what was stored: each block adds a row for every table and month that it put rows into, and one for
//! itself, written as its last under its token. A row of facts that is lost, doubled or exchanged later does not add
//! up with it. Formulas: `sql/tables/blocks.sql`.

use super::{
    ClickEvidenceRow, ClickRow, DisqualificationRow, ErasureRow, IdentifyRow, LeadRow, ParticipantRow,
    QualificationRow, ReinstatementRow, RejectRow, RewardEventRow, RewardRow, RewardTermsRow, Row, ShareRow,
    SubjectKeyRow,
    column::{Column, Lc},
    tables::table,
};
use crate::{ids::Incarnation, time::UnixMs};
use siphasher::sip::SipHasher24;
use std::{collections::BTreeMap, hash::Hasher as _};

table!(
    /// What a block stored in one month of one table; or, without a table, the block itself.
    "blocks" BlockRow {
        /// `clicks` or `conversions`.
        stream: Lc,
        /// Partition of the records.
        partition: u32,
        /// Incarnation of the records.
        incarnation: Incarnation,
        /// The table; empty: the block.
        table: Lc,
        /// Year and month of the table's partition, 202611; 0: the block.
        month: u32,
        /// Offset of the block's first record.
        first: Least,
        /// One past the offset of its last.
        end: Most,
        /// Rows that stand for a record itself; of the block: its records.
        records: Total<i64>,
        /// All rows; of the block: 0.
        rows: Total<i64>,
        /// Sum of [`position_hash`] of all rows; of the block: that of `end` less that of `first`. Modulo 2^64.
        positions: Total<u64>,
    }
);

/// A column of which merges keep the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least(pub u64);

/// A column of which merges keep the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most(pub u64);

/// A column that merges add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total<T>(pub T);

macro_rules! aggregated {
    ($($type:ty, $new:expr, $function:literal, $inner:ty;)*) => {$(
        impl Column for $type {
            fn kind() -> String {
                format!(concat!("SimpleAggregateFunction(", $function, ", {})"), <$inner>::kind())
            }
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                <$inner>::take(bytes).map($new)
            }
        }
    )*};
}
aggregated! {
    Least, Least, "min", u64;
    Most, Most, "max", u64;
    Total<i64>, Total, "sum", i64;
    Total<u64>, Total, "sum", u64;
}

/// Records, rows and positions.
pub type Sums = (i64, i64, u64);

impl BlockRow {
    /// The rows of a block's account: that of the block, and those of its tables.
    #[must_use]
    pub fn of<'a>(
        (stream, partition, incarnation): (&str, u32, Incarnation),
        (first, end): (u64, u64),
        tables: impl IntoIterator<Item = (&'a str, BTreeMap<u32, Sums>)>,
    ) -> Vec<BlockRow> {
        let row = |table: &str, month: u32, (records, rows, positions): Sums| BlockRow {
            stream: Lc(stream.into()),
            partition,
            incarnation,
            table: Lc(table.into()),
            month,
            first: Least(first),
            end: Most(end),
            records: Total(records),
            rows: Total(rows),
            positions: Total(positions),
        };
        let records = i64::try_from(end - first).expect("a block has fewer records than 2^63");
        let links = position_hash(end).wrapping_sub(position_hash(first));
        let mut account = vec![row("", 0, (records, 0, links))];
        for (table, months) in tables {
            account.extend(months.into_iter().map(|(month, sums)| row(table, month, sums)));
        }
        account
    }
}

/// A row that the account counts.
pub trait Accounted: Row {
    /// The moment whose month the table is partitioned by.
    fn at(&self) -> UnixMs;

    /// Offset of the causing record.
    fn offset(&self) -> u64;

    /// Whether it stands for the record itself, and is neither a correction nor a consequence.
    fn is_record(&self) -> bool;
}

macro_rules! accounted {
    ($($row:ident: $at:ident, $is_record:expr;)*) => {$(
        impl Accounted for $row {
            fn at(&self) -> UnixMs {
                self.$at
            }

            fn offset(&self) -> u64 {
                self.offset
            }

            fn is_record(&self) -> bool {
                let is_record: fn(&$row) -> bool = $is_record;
                is_record(self)
            }
        }
    )*};
}
accounted! {
    ClickRow: ts, |_| true;
    RejectRow: received_at, |_| true;
    LeadRow: received_at, |row| row.revision == 0;
    QualificationRow: received_at, |row| row.revision == 0;
    DisqualificationRow: received_at, |row| row.revision == 0;
    ReinstatementRow: received_at, |row| row.revision == 0;
    IdentifyRow: received_at, |row| row.revision == 0;
    ParticipantRow: received_at, |row| row.revision == 0;
    ShareRow: received_at, |row| row.revision == 0;
    ErasureRow: received_at, |row| row.revision == 0;
    RewardEventRow: received_at, |row| row.revision == 0;
    SubjectKeyRow: received_at, |_| false;
    ClickEvidenceRow: received_at, |_| false;
    RewardTermsRow: received_at, |_| false;
    RewardRow: received_at, |_| false;
}

/// SipHash-2-4 of an offset: `sipHash64(offset)` of ClickHouse.
#[must_use]
pub fn position_hash(offset: u64) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(&offset.to_le_bytes());
    hasher.finish()
}

/// What rows of one table add to the account, by month: records, rows, positions.
#[must_use]
pub fn sums<R: Accounted>(rows: &[R]) -> BTreeMap<u32, Sums> {
    let mut sums: BTreeMap<u32, Sums> = BTreeMap::new();
    for row in rows {
        let (records, all, positions) = sums.entry(row.at().month()).or_default();
        *records += i64::from(row.is_record());
        *all += 1;
        *positions = positions.wrapping_add(position_hash(row.offset()));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_hashed_as_clickhouse_does() {
        // SELECT sipHash64(toUInt64(number)) FROM numbers(3)
        assert_eq!(
            [0, 1, 2].map(position_hash),
            [16_738_165_381_834_614_119, 9_224_715_256_000_962_398, 13_686_418_376_000_424_449]
        );
    }

    #[test]
    fn over_blocks_that_follow_each_other_only_the_ends_are_left() {
        let incarnation = Incarnation(uuid::Uuid::nil());
        let links = |ranges: &[(u64, u64)]| {
            let rows = ranges.iter().flat_map(|range| BlockRow::of(("clicks", 0, incarnation), *range, []));
            rows.fold(0u64, |sum, row| sum.wrapping_add(row.positions.0))
        };
        assert_eq!(links(&[(0, 5), (5, 9), (9, 10)]), links(&[(0, 10)]));
        for broken in [
            &[(0, 5), (6, 10)][..],
            &[(0, 5), (4, 10)],
            &[(0, 5), (5, 9), (5, 9), (9, 10)],
            &[(0, 4), (6, 8), (4, 10)],
        ] {
            assert_ne!(links(broken), links(&[(0, 10)]), "{broken:?}");
        }
    }

    #[test]
    fn a_month_is_that_of_utc() {
        for (text, month) in [
            ("1970-01-01T00:00:00Z", 197_001),
            ("2026-11-30T23:59:59.999Z", 202_611),
            ("2026-12-01T00:00:00Z", 202_612),
            ("2299-12-31T23:59:59Z", 229_912),
        ] {
            assert_eq!(crate::time::parse(text).unwrap().month(), month, "{text}");
        }
    }
}
