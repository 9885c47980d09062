-- Every consumed offset is one fact or one reject. Records of months that are past retention count as the
-- account has them.

CREATE OR REPLACE VIEW reconciliation
(
    stream String COMMENT 'clicks or conversions.',
    incarnation UUID COMMENT 'Incarnation of the topic or journal.',
    partition UInt32 COMMENT 'Partition of the topic, or number of the journal.',
    first_offset UInt64 COMMENT 'The first offset that is stored.',
    next_offset UInt64 COMMENT 'One past the last.',
    records UInt64 COMMENT 'Rows that stand for a record.',
    offsets UInt64 COMMENT 'Different offsets among them.',
    missing Int64 COMMENT 'Offsets without a row: 0, or something is lost.',
    extra Int64 COMMENT 'Rows beyond one an offset: 0, or something is doubled.'
)
AS
SELECT
    stream, incarnation, partition,
    min(r.first) AS first_offset,
    max(r.end) AS next_offset,
    sum(r.rows) AS records,
    sum(r.places) AS offsets,
    next_offset - first_offset - offsets AS missing,
    records - offsets AS extra
FROM
(
    SELECT stream, incarnation, partition, min(offset) AS first, max(offset) + 1 AS end, count() AS rows, uniqExact(offset) AS places
    FROM
    (
        SELECT 'clicks' AS stream, incarnation, partition, offset FROM clicks
        WHERE toYYYYMM(ts) NOT IN (SELECT month FROM past_retention WHERE table = 'clicks')
        UNION ALL
        SELECT 'conversions' AS stream, incarnation, partition, offset FROM leads WHERE revision = 0
        UNION ALL
        SELECT 'conversions' AS stream, incarnation, partition, offset FROM qualifications WHERE revision = 0
        UNION ALL
        SELECT 'conversions' AS stream, incarnation, partition, offset FROM disqualifications WHERE revision = 0
        UNION ALL
        SELECT 'conversions' AS stream, incarnation, partition, offset FROM reinstatements WHERE revision = 0
        UNION ALL
        SELECT 'conversions' AS stream, incarnation, partition, offset FROM identifies WHERE revision = 0
        UNION ALL
        SELECT 'conversions' AS stream, incarnation, partition, offset FROM participants WHERE revision = 0
        UNION ALL
        SELECT 'conversions' AS stream, incarnation, partition, offset FROM shares WHERE revision = 0
        UNION ALL
        SELECT 'conversions' AS stream, incarnation, partition, offset FROM erasures WHERE revision = 0
        UNION ALL
        SELECT 'conversions' AS stream, incarnation, partition, offset FROM reward_events WHERE revision = 0
        UNION ALL
        SELECT toString(stream) AS stream, incarnation, partition, offset FROM rejects
        WHERE toYYYYMM(received_at) NOT IN (SELECT month FROM past_retention WHERE table = 'rejects')
    )
    GROUP BY stream, incarnation, partition
    UNION ALL
    SELECT toString(b.stream), b.incarnation, b.partition, min(b.first), max(b.end), toUInt64(sum(b.records)), toUInt64(sum(b.records))
    FROM blocks AS b
    WHERE b.stream != 'retention' AND b.records > 0 AND (toString(b.table), b.month) IN (SELECT table, month FROM past_retention)
    GROUP BY b.stream, b.incarnation, b.partition
) AS r
GROUP BY stream, incarnation, partition
ORDER BY stream, incarnation, partition
COMMENT 'Every consumed offset is one fact or one reject: missing and extra are 0.';
