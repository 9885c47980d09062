CREATE TABLE reinstatements
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    reason LowCardinality(String) COMMENT 'dispute_won, refund_failed, …, as the caller says.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    keys Array(FixedString(16)) COMMENT 'Keyed hashes of the lead id and the aliases.',
    disqualification_id UUID COMMENT 'Event id of the disqualification that it undoes; nil: those of payments that happened no later.',
    payments Array(FixedString(16)) COMMENT 'The names it has for the payment, hashed.',
    value_minor Int64 COMMENT 'Minor units of currency to give again; 0: all.',
    currency LowCardinality(String) COMMENT 'ISO 4217, or empty.',
    outcome LowCardinality(String) COMMENT 'waiting (for what it undoes), applied, nothing (nothing was taken back, or all of it was given again before), excess (more than was taken back), currency (nothing was taken back in it).',
    given_minor Int64 COMMENT 'Minor units that it gave again, 0 where they are of several currencies.',
    given_currency LowCardinality(String) COMMENT 'Their currency.',
    excess_minor Int64 COMMENT 'Minor units beyond what was taken back.',
    source LowCardinality(String) COMMENT 'Where the event came from.',
    live Bool COMMENT 'Only live rows reach rollups.',
    sign Int8 COMMENT '1, or -1 on a row that takes another back.',
    revision UInt32 COMMENT '0 on the record''s own row.',
    incarnation UUID COMMENT 'Incarnation of the causing record.',
    partition UInt32 COMMENT 'Partition of the causing record.',
    offset UInt64 COMMENT 'Offset of the causing record.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'Won disputes, failed refunds and whatever else gives again what was taken back.';
