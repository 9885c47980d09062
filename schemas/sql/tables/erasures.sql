CREATE TABLE erasures
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it was asked for, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    requested_by String COMMENT 'Who asked for it.',
    events UInt64 COMMENT 'Events whose personal columns are blank since.',
    suppressed UInt64 COMMENT 'Keys that are suppressed since.',
    source LowCardinality(String) COMMENT 'Where the event came from.',
    live Bool COMMENT 'Whether the event is live. What it does, it does to test events too.',
    sign Int8 COMMENT 'Always 1.',
    revision UInt32 COMMENT 'Always 0.',
    incarnation UUID COMMENT 'Incarnation of the record.',
    partition UInt32 COMMENT 'Partition of the record.',
    offset UInt64 COMMENT 'Offset of the record.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'That a person was forgotten; whom, it does not say.';
