CREATE TABLE subject_keys
(
    program LowCardinality(String) COMMENT 'Program.',
    key FixedString(16) COMMENT 'Keyed hash of a lead id or alias.',
    kind LowCardinality(String) COMMENT 'lead, qualification, disqualification, identify, participant, or erased: the key is suppressed.',
    event_id UUID COMMENT 'Event id.',
    keys Array(FixedString(16)) COMMENT 'All keys of the event, this one included.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    live Bool COMMENT 'Test events find only test events.',
    email_disposable Bool COMMENT 'Whether the event gave an email address of a mailbox that is thrown away after use.',
    prefix UInt64 COMMENT 'Of a lead: keyed hash of the /24 or /48 of the person''s address with that day''s salt, 0 where it was not said.',
    evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3) COMMENT 'What a lead''s own touches prove.',
    referrer String COMMENT 'Whom they name; of a participant: itself.',
    link String COMMENT 'The link they name.',
    channel LowCardinality(String) COMMENT 'The channel they name.',
    click_id UUID COMMENT 'The click they prove.',
    incarnation UUID COMMENT 'Incarnation of the causing record.',
    partition UInt32 COMMENT 'Partition of the causing record.',
    offset UInt64 COMMENT 'Offset of the causing record.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, key)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'What was said about a person, by each key of the person.';
