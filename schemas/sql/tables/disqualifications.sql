CREATE TABLE disqualifications
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    reason LowCardinality(String) COMMENT 'refund, chargeback, …, as the caller says.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    keys Array(FixedString(16)) COMMENT 'Keyed hashes of the lead id and the aliases.',
    qualification_id UUID COMMENT 'Event id of the qualification it names; nil: all of the person''s so far.',
    value_minor Int64 COMMENT 'Minor units of currency to take back; 0: all.',
    currency LowCardinality(String) COMMENT 'ISO 4217, or empty.',
    outcome LowCardinality(String) COMMENT 'waiting (for what it takes back), applied, repeated (all of it was taken back before), excess (more than was left), currency (nothing was paid in it).',
    qualifications UInt64 COMMENT 'Qualifications that it took back, whole or in part.',
    taken_minor Int64 COMMENT 'Minor units that it took back, 0 where they are of several currencies.',
    taken_currency LowCardinality(String) COMMENT 'Their currency.',
    excess_minor Int64 COMMENT 'Minor units beyond what was left.',
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
COMMENT 'Refunds, chargebacks and whatever else takes qualifications back.';
