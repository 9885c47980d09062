CREATE TABLE identifies
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    keys Array(FixedString(16)) COMMENT 'Keyed hashes of the lead id and the aliases.',
    source LowCardinality(String) COMMENT 'Where the event came from.',
    live Bool COMMENT 'Whether the event is live.',
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
COMMENT 'That several keys are one person''s.';
