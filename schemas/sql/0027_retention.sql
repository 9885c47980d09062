-- What retention has taken out: one row of `blocks` a table and month, of the stream `retention`, written before the
-- month's rows are dropped; `first` and `end` are when it was dropped first and last, in milliseconds since the epoch.
-- Sums of the account stay as they were: of such a month it is the account that counts, and not what still stands.

CREATE VIEW past_retention AS
SELECT
    toString(b.table) AS table, b.month AS month,
    fromUnixTimestamp64Milli(toInt64(min(b.first)), 'UTC') AS dropped_at,
    fromUnixTimestamp64Milli(toInt64(max(b.end)), 'UTC') AS dropped_last_at
FROM blocks AS b
WHERE b.stream = 'retention'
GROUP BY b.table, b.month
ORDER BY table, month;

-- Every consumed offset is one fact or one reject (see 0008). Records of months that are past retention count as the
-- account has them.

CREATE OR REPLACE VIEW reconciliation AS
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
ORDER BY stream, incarnation, partition;
