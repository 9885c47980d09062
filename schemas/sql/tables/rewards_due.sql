-- What stands accrued, by the day on which it is to be approved: the owners of partitions ask every few seconds, and
-- must not read the whole ledger for it. Each accrual is a row, taken out by the line of the next revision; what adds
-- up to 0 is gone with the next merge. `partition` is that of the accrual, while it stands.

CREATE TABLE rewards_due
(
    due_at DateTime64(3, 'UTC') COMMENT 'When it is to be approved.',
    program LowCardinality(String) COMMENT 'Program.',
    reward_id UUID COMMENT 'Id of the reward.',
    revision UInt32 COMMENT 'The change of the reward that accrued it.',
    partition UInt32 COMMENT 'Partition of the record that accrued it.',
    open Int64 COMMENT '1 while it stands; what adds up to 0 is gone with the next merge.'
)
ENGINE = SummingMergeTree(open)
ORDER BY (due_at, program, reward_id, revision)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'What stands accrued, by the moment at which it is to be approved.';
