CREATE TABLE reward_terms
(
    program LowCardinality(String) COMMENT 'Program.',
    qualification_id UUID COMMENT 'Event id of the qualification.',
    terms String COMMENT 'RewardTerms of whence.proto, encoded.' CODEC(ZSTD(1)),
    registry_version UInt64 COMMENT 'Version of the registry at acceptance.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    incarnation UUID COMMENT 'Incarnation of the record.',
    partition UInt32 COMMENT 'Partition of the record.',
    offset UInt64 COMMENT 'Offset of the record.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, qualification_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'The rules that a qualification brought, for when its lead comes or its reward is due.';
