CREATE TABLE shares
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    referrer String COMMENT 'Who shared.',
    link String COMMENT 'host/code, or empty.',
    channel LowCardinality(String) COMMENT 'Where.',
    prefix UInt64 COMMENT 'Keyed hash of the /24 or /48 of the referrer''s address with that day''s salt, 0 where it was not said.',
    source LowCardinality(String) COMMENT 'Where the event came from.',
    live Bool COMMENT 'Whether the event is live.',
    sign Int8 COMMENT 'Always 1.',
    revision UInt32 COMMENT 'Always 0.',
    incarnation UUID COMMENT 'Incarnation of the record.',
    partition UInt32 COMMENT 'Partition of the record.',
    offset UInt64 COMMENT 'Offset of the record.',
    PROJECTION by_prefix
    (
        SELECT program, prefix, referrer, live, incarnation, partition, offset
        ORDER BY program, prefix, referrer
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'Links that referrers shared.';
