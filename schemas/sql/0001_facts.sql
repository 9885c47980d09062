-- Facts: append-only, each row with the position of the record that caused it. Partitioned by the
-- month in which the record was received, so that even an import of ten years touches one or two
-- partitions a block. The deduplication window keeps the insert tokens of that many blocks.

CREATE TABLE clicks
(
    program LowCardinality(String),
    ts DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    id UUID,
    referrer String CODEC(ZSTD(1)),
    link String CODEC(ZSTD(1)),
    channel LowCardinality(String),
    destination String CODEC(ZSTD(1)),
    registry_version UInt64,
    verdict Enum8('unspecified' = 0, 'human' = 1, 'bot' = 2, 'preview' = 3, 'prefetch' = 4, 'head' = 5, 'inactive' = 6),
    reason LowCardinality(String),
    visitor UInt64,
    address UInt64,
    prefix UInt64,
    -- How many requests the row stands for: 1, but for unknown codes that came faster than one network may ask for
    -- them, of which there is one row an interval (reason `unknown_link_limited`).
    requests UInt64 DEFAULT 1,
    live Bool,
    sign Int8,
    incarnation UUID,
    partition UInt32,
    offset UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (program, ts)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE leads
(
    program LowCardinality(String),
    id UUID,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    lead String,
    keys Array(FixedString(16)),
    evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3),
    reason LowCardinality(String),
    referrer String,
    link String,
    channel LowCardinality(String),
    click_id UUID,
    clicked_at DateTime64(3, 'UTC'),
    model LowCardinality(String),
    window_ms UInt64,
    registry_version UInt64,
    source LowCardinality(String),
    live Bool,
    sign Int8,
    revision UInt32,
    incarnation UUID,
    partition UInt32,
    offset UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE qualifications
(
    program LowCardinality(String),
    id UUID,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    name LowCardinality(String),
    lead String,
    keys Array(FixedString(16)),
    lead_id UUID,
    evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3),
    referrer String,
    link String,
    channel LowCardinality(String),
    click_id UUID,
    value_minor Int64,
    currency LowCardinality(String),
    source LowCardinality(String),
    live Bool,
    sign Int8,
    revision UInt32,
    incarnation UUID,
    partition UInt32,
    offset UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE subject_keys
(
    program LowCardinality(String),
    key FixedString(16),
    kind LowCardinality(String),
    event_id UUID,
    received_at DateTime64(3, 'UTC'),
    live Bool,
    evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3),
    referrer String,
    link String,
    channel LowCardinality(String),
    click_id UUID,
    incarnation UUID,
    partition UInt32,
    offset UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, key)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE rejects
(
    received_at DateTime64(3, 'UTC'),
    stream LowCardinality(String),
    program LowCardinality(String),
    event_id UUID,
    kind LowCardinality(String),
    reason LowCardinality(String),
    detail String,
    live Bool,
    payload_bytes UInt32,
    incarnation UUID,
    partition UInt32,
    offset UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (reason, received_at)
SETTINGS non_replicated_deduplication_window = 10000;
