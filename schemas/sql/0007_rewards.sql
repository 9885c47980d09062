-- Rewards: a ledger of signed lines, each with the position of the record that caused it. A change takes
-- the amount out of the state it was in and puts it where it is now, so that sum(sign * amount_minor) of a
-- state is what stands there, for any dimension and as of any time of receipt.

CREATE TABLE rewards
(
    program LowCardinality(String),
    lead_id UUID,
    reward_id UUID,
    revision UInt32,
    sign Int8,
    state Enum8('accrued' = 1, 'held' = 2, 'approved' = 3, 'issued' = 4, 'rejected' = 5, 'clawed_back' = 6),
    amount_minor Int64,
    currency LowCardinality(String),
    party LowCardinality(String),
    referrer String,
    rule LowCardinality(String),
    rules_version UInt64,
    qualification_id UUID,
    value_minor Int64,
    earned_at DateTime64(3, 'UTC'),
    due_at DateTime64(3, 'UTC'),
    decided_by String,
    reason String,
    reference String,
    risk UInt32,
    flags Array(LowCardinality(String)),
    evidence String,
    cause UUID,
    received_at DateTime64(3, 'UTC'),
    incarnation UUID,
    partition UInt32,
    offset UInt64,
    INDEX by_reward reward_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, lead_id, reward_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE reward_terms
(
    program LowCardinality(String),
    qualification_id UUID,
    terms String CODEC(ZSTD(1)),
    registry_version UInt64,
    received_at DateTime64(3, 'UTC'),
    incarnation UUID,
    partition UInt32,
    offset UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, qualification_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE reward_events
(
    program LowCardinality(String),
    id UUID,
    kind LowCardinality(String),
    reward_id UUID,
    decision LowCardinality(String),
    outcome LowCardinality(String),
    decided_by String,
    reason String,
    reference String,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    source LowCardinality(String),
    live Bool,
    revision UInt32,
    incarnation UUID,
    partition UInt32,
    offset UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

-- What stands in each state, for every referrer, rule and day of the qualification.

CREATE TABLE rewards_daily
(
    program LowCardinality(String),
    referrer String,
    party LowCardinality(String),
    rule LowCardinality(String),
    currency LowCardinality(String),
    day Date,
    state LowCardinality(String),
    rewards SimpleAggregateFunction(sum, Int64),
    amount_minor SimpleAggregateFunction(sum, Int64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYear(day)
ORDER BY (program, referrer, party, rule, currency, day, state)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW rewards_daily_feed TO rewards_daily AS
SELECT
    program, referrer, party, rule, currency,
    toDate(earned_at, 'UTC') AS day,
    toLowCardinality(toString(state)) AS state,
    sum(toInt64(r.sign)) AS rewards,
    sum(r.sign * r.amount_minor) AS amount_minor
FROM rewards AS r
GROUP BY program, referrer, party, rule, currency, day, state;
