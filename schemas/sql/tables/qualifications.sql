CREATE TABLE qualifications
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    name LowCardinality(String) COMMENT 'What was reached.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    keys Array(FixedString(16)) COMMENT 'Keyed hashes of the lead id and the aliases.',
    lead_id UUID COMMENT 'Event id of the lead; nil: unmatched, waiting for it.',
    evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3) COMMENT 'The lead''s evidence.',
    referrer String COMMENT 'The lead''s referrer.',
    link String COMMENT 'The lead''s link.',
    channel LowCardinality(String) COMMENT 'The lead''s channel.',
    click_id UUID COMMENT 'The lead''s click.',
    value_minor Int64 COMMENT 'Minor units of currency that are left after what was taken back.',
    paid_minor Int64 DEFAULT value_minor COMMENT 'Minor units before anything was taken back.',
    currency LowCardinality(String) COMMENT 'ISO 4217, or empty.',
    condition LowCardinality(String) COMMENT 'first_payment or spend_at_least: what the person''s history must say for it to count. Empty: nothing.',
    threshold_minor Int64 COMMENT 'Of spend_at_least: the total, minor units of threshold_currency.',
    threshold_currency LowCardinality(String) COMMENT 'ISO 4217, or empty.',
    within_days UInt32 COMMENT 'Of spend_at_least: days within which it is to be reached.',
    reason LowCardinality(String) COMMENT 'Why it does not count: not_first_payment, below_threshold, reached_before, other_currency, outside_window or taken_back. Empty where it counts.',
    source LowCardinality(String) COMMENT 'Where the event came from.',
    live Bool COMMENT 'Only live rows reach rollups.',
    sign Int8 COMMENT '1, -1 on a row that takes another back, 0 on one that does not count.',
    revision UInt32 COMMENT '0 on the record''s own row.',
    incarnation UUID COMMENT 'Incarnation of the causing record.',
    partition UInt32 COMMENT 'Partition of the causing record.',
    offset UInt64 COMMENT 'Offset of the causing record.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'Qualifications: what was reached, with its lead as far as it is known, and two signed rows for every change.';
