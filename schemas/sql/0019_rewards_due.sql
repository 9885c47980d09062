-- What stands accrued, by the day on which it is to be approved: the owners of partitions ask every few seconds, and
-- must not read the whole ledger for it. Each accrual is a row, taken out by the line of the next revision; what adds
-- up to 0 is gone with the next merge. `partition` is that of the accrual, while it stands.

CREATE TABLE rewards_due
(
    due_at DateTime64(3, 'UTC'),
    program LowCardinality(String),
    reward_id UUID,
    revision UInt32,
    partition UInt32,
    open Int64
)
ENGINE = SummingMergeTree(open)
ORDER BY (due_at, program, reward_id, revision)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE MATERIALIZED VIEW rewards_due_feed TO rewards_due AS
SELECT
    r.due_at AS due_at, r.program AS program, r.reward_id AS reward_id,
    toUInt32(if(r.sign = 1, r.revision, r.revision - 1)) AS revision,
    r.partition AS partition, toInt64(r.sign) AS open
FROM rewards AS r
WHERE r.state = 'accrued';

-- What was accrued before there was the view. On a cluster it runs on the server that migrates: run it once on one
-- replica of every other shard.

INSERT INTO rewards_due (due_at, program, reward_id, revision, partition, open)
SELECT
    r.due_at, r.program, r.reward_id, toUInt32(if(r.sign = 1, r.revision, r.revision - 1)) AS accrued,
    any(r.partition), sum(toInt64(r.sign)) AS stands
FROM rewards AS r
WHERE r.state = 'accrued'
GROUP BY r.due_at, r.program, r.reward_id, accrued
HAVING stands > 0
    AND (r.due_at, r.program, r.reward_id, accrued) NOT IN (SELECT due_at, program, reward_id, revision FROM rewards_due)
SETTINGS max_bytes_before_external_group_by = 500000000;
