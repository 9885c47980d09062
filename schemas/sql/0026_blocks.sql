-- The account of what was stored. Each block adds one row for each table and month that it put rows into, and one (table '')
-- for itself: `records` of it, and `positions` = hash(end) - hash(first), so that over blocks which follow each other
-- without gap or overlap only the ends are left. Written last and under the block's token; merges fold it to one row a
-- partition, table and month, so that it does not grow with history. `whence verify` holds it against the tables, the
-- commits and the journals. Sums are modulo 2^64; the hash is sipHash64 of an offset.

CREATE TABLE blocks
(
    stream LowCardinality(String),
    partition UInt32,
    incarnation UUID,
    table LowCardinality(String),
    month UInt32,
    first SimpleAggregateFunction(min, UInt64),
    end SimpleAggregateFunction(max, UInt64),
    records SimpleAggregateFunction(sum, Int64),
    rows SimpleAggregateFunction(sum, Int64),
    positions SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (stream, partition, incarnation, table, month)
SETTINGS non_replicated_deduplication_window = 10000;

-- What was stored before there was an account is taken as it stands.
INSERT INTO blocks
SELECT stream, partition, incarnation, table, month, min(offset), max(offset) + 1, sum(is_record), count(),
    sum(sipHash64(offset))
FROM
(
    SELECT 'clicks' AS stream, partition, incarnation, 'clicks' AS table, toYYYYMM(ts) AS month, offset,
        1 AS is_record
    FROM clicks
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'leads' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM leads
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'qualifications' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM qualifications
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'disqualifications' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM disqualifications
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'identifies' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM identifies
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'participants' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM participants
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'shares' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM shares
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'erasures' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM erasures
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'reward_events' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM reward_events
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'subject_keys' AS table, toYYYYMM(received_at) AS month, offset,
        0 AS is_record
    FROM subject_keys
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'click_evidence' AS table, toYYYYMM(received_at) AS month, offset,
        0 AS is_record
    FROM click_evidence
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'reward_terms' AS table, toYYYYMM(received_at) AS month, offset,
        0 AS is_record
    FROM reward_terms
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'rewards' AS table, toYYYYMM(received_at) AS month, offset,
        0 AS is_record
    FROM rewards
    UNION ALL
    SELECT stream AS stream, partition, incarnation, 'rejects' AS table, toYYYYMM(received_at) AS month, offset,
        1 AS is_record
    FROM rejects
)
WHERE (stream, partition, incarnation) NOT IN (SELECT stream, partition, incarnation FROM blocks)
GROUP BY stream, partition, incarnation, table, month
UNION ALL
SELECT stream, partition, incarnation, '', 0, min(offset) AS begin, max(offset) + 1 AS end, toInt64(end - begin), 0,
    toUInt64(sipHash64(end) - sipHash64(begin))
FROM
(
    SELECT 'clicks' AS stream, partition, incarnation, 'clicks' AS table, toYYYYMM(ts) AS month, offset,
        1 AS is_record
    FROM clicks
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'leads' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM leads
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'qualifications' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM qualifications
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'disqualifications' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM disqualifications
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'identifies' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM identifies
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'participants' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM participants
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'shares' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM shares
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'erasures' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM erasures
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'reward_events' AS table, toYYYYMM(received_at) AS month, offset,
        revision = 0 AS is_record
    FROM reward_events
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'subject_keys' AS table, toYYYYMM(received_at) AS month, offset,
        0 AS is_record
    FROM subject_keys
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'click_evidence' AS table, toYYYYMM(received_at) AS month, offset,
        0 AS is_record
    FROM click_evidence
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'reward_terms' AS table, toYYYYMM(received_at) AS month, offset,
        0 AS is_record
    FROM reward_terms
    UNION ALL
    SELECT 'conversions' AS stream, partition, incarnation, 'rewards' AS table, toYYYYMM(received_at) AS month, offset,
        0 AS is_record
    FROM rewards
    UNION ALL
    SELECT stream AS stream, partition, incarnation, 'rejects' AS table, toYYYYMM(received_at) AS month, offset,
        1 AS is_record
    FROM rejects
)
WHERE (stream, partition, incarnation) NOT IN (SELECT stream, partition, incarnation FROM blocks)
GROUP BY stream, partition, incarnation;
