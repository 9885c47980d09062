-- The other conversions, and what it takes to decide a person's credit anew whenever more is known: what a
-- lead's own touches prove, what was paid before refunds, and the keys that an event names together.

ALTER TABLE leads
    ADD COLUMN IF NOT EXISTS existing_customers LowCardinality(String) DEFAULT 'refuse' AFTER window_ms,
    ADD COLUMN IF NOT EXISTS first_lead UUID AFTER existing_customers,
    ADD COLUMN IF NOT EXISTS touch_evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3) DEFAULT evidence AFTER first_lead,
    ADD COLUMN IF NOT EXISTS touch_reason LowCardinality(String) DEFAULT reason AFTER touch_evidence,
    ADD COLUMN IF NOT EXISTS touch_referrer String DEFAULT referrer AFTER touch_reason,
    ADD COLUMN IF NOT EXISTS touch_link String DEFAULT link AFTER touch_referrer,
    ADD COLUMN IF NOT EXISTS touch_channel LowCardinality(String) DEFAULT channel AFTER touch_link,
    ADD COLUMN IF NOT EXISTS touch_click_id UUID DEFAULT click_id AFTER touch_channel,
    ADD COLUMN IF NOT EXISTS touch_clicked_at DateTime64(3, 'UTC') DEFAULT clicked_at AFTER touch_click_id;

ALTER TABLE qualifications
    ADD COLUMN IF NOT EXISTS paid_minor Int64 DEFAULT value_minor AFTER value_minor;

ALTER TABLE subject_keys
    ADD COLUMN IF NOT EXISTS keys Array(FixedString(16)) AFTER event_id;

CREATE TABLE disqualifications
(
    program LowCardinality(String),
    id UUID,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    reason LowCardinality(String),
    lead String,
    keys Array(FixedString(16)),
    qualification_id UUID,
    value_minor Int64,
    currency LowCardinality(String),
    outcome LowCardinality(String),
    qualifications UInt64,
    taken_minor Int64,
    taken_currency LowCardinality(String),
    excess_minor Int64,
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

CREATE TABLE identifies
(
    program LowCardinality(String),
    id UUID,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    lead String,
    keys Array(FixedString(16)),
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

CREATE TABLE participants
(
    program LowCardinality(String),
    id UUID,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    referrer String,
    keys Array(FixedString(16)),
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

CREATE TABLE shares
(
    program LowCardinality(String),
    id UUID,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    referrer String,
    link String,
    channel LowCardinality(String),
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

CREATE TABLE erasures
(
    program LowCardinality(String),
    id UUID,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    requested_by String,
    events UInt64,
    suppressed UInt64,
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
