-- What retention has taken out: one row of `blocks` a table and month, of the stream `retention`, written before the
-- month's rows are dropped; `first` and `end` are when it was dropped first and last, in milliseconds since the epoch.
-- Sums of the account stay as they were: of such a month it is the account that counts, and not what still stands.

CREATE OR REPLACE VIEW past_retention
(
    table LowCardinality(String) COMMENT 'The table.',
    month UInt32 COMMENT 'Year and month: 202611.',
    dropped_at DateTime64(3, 'UTC') COMMENT 'When rows of it were dropped first.',
    dropped_last_at DateTime64(3, 'UTC') COMMENT 'When last.'
)
AS
SELECT
    toString(b.table) AS table, b.month AS month,
    fromUnixTimestamp64Milli(toInt64(min(b.first)), 'UTC') AS dropped_at,
    fromUnixTimestamp64Milli(toInt64(max(b.end)), 'UTC') AS dropped_last_at
FROM blocks AS b
WHERE b.stream = 'retention'
GROUP BY b.table, b.month
ORDER BY table, month
COMMENT 'What retention has taken out.';
