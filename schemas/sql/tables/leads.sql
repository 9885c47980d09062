CREATE TABLE leads
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    keys Array(FixedString(16)) COMMENT 'Keyed hashes of the lead id and the aliases.',
    evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3) COMMENT 'On what it was credited.',
    reason LowCardinality(String) COMMENT 'Why better evidence was refused, or why there is none; empty where there is nothing to say.',
    referrer String COMMENT 'Who is credited; empty: nobody.',
    link String COMMENT 'host/code that led here.',
    channel LowCardinality(String) COMMENT 'Channel of the touch.',
    click_id UUID COMMENT 'The click, nil without a token.',
    clicked_at DateTime64(3, 'UTC') COMMENT 'Time of the click, 0 without a token.',
    model LowCardinality(String) COMMENT 'last_touch or first_touch.',
    window_ms UInt64 COMMENT 'The program''s window at acceptance, milliseconds.',
    existing_customers LowCardinality(String) DEFAULT 'refuse' COMMENT 'refuse or allow: whether a person who was a lead already can be referred again.',
    first_lead UUID COMMENT 'Event id of the person''s first lead, where that is another one.',
    touch_evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3) DEFAULT evidence COMMENT 'What the lead''s own touches prove, whatever came of it.',
    touch_reason LowCardinality(String) DEFAULT reason COMMENT 'Why better evidence was refused.',
    touch_referrer String DEFAULT referrer COMMENT 'Whom they name.',
    touch_link String DEFAULT link COMMENT 'The link they name.',
    touch_channel LowCardinality(String) DEFAULT channel COMMENT 'The channel they name.',
    touch_click_id UUID DEFAULT click_id COMMENT 'The click they prove.',
    touch_clicked_at DateTime64(3, 'UTC') DEFAULT clicked_at COMMENT 'Its time.',
    touches Array(Tuple(click_id UUID, clicked_at DateTime64(3, 'UTC'), referrer String, link String, channel String, refused String)) COMMENT 'All touches, in the order in which the lead names them; refused says why one does not count.',
    registry_version UInt64 COMMENT 'Version of the registry at acceptance.',
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
COMMENT 'Leads: one row for every accepted lead event, credited or not, and two signed rows for every change of its credit.';
