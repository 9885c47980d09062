CREATE TABLE clicks
(
    program LowCardinality(String) COMMENT 'Program.',
    ts DateTime64(3, 'UTC') COMMENT 'The millisecond in id.' CODEC(Delta(8), ZSTD(1)),
    id UUID COMMENT 'Click id.',
    referrer String COMMENT 'Who shared the link.' CODEC(ZSTD(1)),
    link String COMMENT 'host/code.' CODEC(ZSTD(1)),
    channel LowCardinality(String) COMMENT 'Where it was shared.',
    destination String COMMENT 'Where the visitor was sent.' CODEC(ZSTD(1)),
    registry_version UInt64 COMMENT 'Version of the registry the link was read from.',
    verdict Enum8('unspecified' = 0, 'human' = 1, 'bot' = 2, 'preview' = 3, 'prefetch' = 4, 'head' = 5, 'inactive' = 6) COMMENT 'Who clicked; inactive, whoever it was, if the link led nowhere.',
    reason LowCardinality(String) COMMENT 'Why the verdict.',
    made_by Enum8('unspecified' = 0, 'human' = 1, 'bot' = 2, 'preview' = 3, 'prefetch' = 4, 'head' = 5, 'inactive' = 6) COMMENT 'Who clicked, wherever the link led: human, bot, preview, prefetch or head. Unspecified if the row stands for several requests.',
    made_by_reason LowCardinality(String) COMMENT 'Why made_by; empty where that is unspecified.',
    visitor UInt64 COMMENT 'Keyed hash of the visitor cookie, 0 without one.',
    address UInt64 COMMENT 'Keyed hash of the address, with a daily salt.',
    prefix UInt64 COMMENT 'Keyed hash of its /24 or /48, with a daily salt.',
    requests UInt64 DEFAULT 1 COMMENT 'How many requests the row stands for: 1, but for unknown codes that came faster than one network may ask for them, of which there is one row an interval (reason unknown_link_limited).',
    live Bool COMMENT 'Only live rows reach rollups.',
    sign Int8 COMMENT 'Always 1.',
    incarnation UUID COMMENT 'Incarnation of the topic or journal.',
    partition UInt32 COMMENT 'Partition of the topic, or number of the journal.',
    offset UInt64 COMMENT 'Offset of the record.' CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (program, ts)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Clicks: one row for every request that the edge answered.';
