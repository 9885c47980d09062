-- The account of what was stored. Each block adds one row for each table and month that it put rows into, and one (table '')
-- for itself: `records` of it, and `positions` = hash(end) - hash(first), so that over blocks which follow each other
-- without gap or overlap only the ends are left. Written last and under the block's token; merges fold it to one row a
-- partition, table and month, so that it does not grow with history. `whence verify` holds it against the tables, the
-- commits and the journals. Sums are modulo 2^64; the hash is sipHash64 of an offset.

CREATE TABLE blocks
(
    stream LowCardinality(String) COMMENT 'clicks or conversions.',
    partition UInt32 COMMENT 'Partition of the records.',
    incarnation UUID COMMENT 'Incarnation of the records.',
    table LowCardinality(String) COMMENT 'The table; empty: the block.',
    month UInt32 COMMENT 'Year and month of the table''s partition, 202611; 0: the block.',
    first SimpleAggregateFunction(min, UInt64) COMMENT 'Offset of the block''s first record.',
    end SimpleAggregateFunction(max, UInt64) COMMENT 'One past the offset of its last.',
    records SimpleAggregateFunction(sum, Int64) COMMENT 'Rows that stand for a record itself; of the block: its records.',
    rows SimpleAggregateFunction(sum, Int64) COMMENT 'All rows; of the block: 0.',
    positions SimpleAggregateFunction(sum, UInt64) COMMENT 'Sum of sipHash64(offset) of all rows; of the block sipHash64(end) - sipHash64(first). Modulo 2^64.'
)
ENGINE = AggregatingMergeTree
ORDER BY (stream, partition, incarnation, table, month)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'The account of what was stored, which whence verify holds the tables against.';
