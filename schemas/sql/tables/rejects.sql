CREATE TABLE rejects
(
    received_at DateTime64(3, 'UTC') COMMENT 'The time in the record, or the record''s own where none can be read.',
    stream LowCardinality(String) COMMENT 'clicks or conversions.',
    program LowCardinality(String) COMMENT 'Program, where it can be read.',
    event_id UUID COMMENT 'Click or event id, nil where it can''t be read.',
    kind LowCardinality(String) COMMENT 'Kind of event, where it can be read.',
    reason LowCardinality(String) COMMENT 'duplicate, malformed, suppressed, …',
    detail String COMMENT 'What a person needs to find the fault; never text from the record.',
    live Bool COMMENT 'Whether the event said so; false where it can''t be read.',
    payload_bytes UInt32 COMMENT 'Bytes of the record.',
    incarnation UUID COMMENT 'Incarnation of the record.',
    partition UInt32 COMMENT 'Partition of the record.',
    offset UInt64 COMMENT 'Offset of the record.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (reason, received_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Records that became no fact, with the reason.';
