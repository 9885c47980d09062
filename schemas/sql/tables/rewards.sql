-- Rewards: a ledger of signed lines, each with the position of the record that caused it. A change takes
-- the amount out of the state it was in and puts it where it is now, so that sum(sign * amount_minor) of a
-- state is what stands there, for any dimension and as of any time of receipt.

CREATE TABLE rewards
(
    program LowCardinality(String) COMMENT 'Program.',
    lead_id UUID COMMENT 'The lead that earned it.',
    reward_id UUID COMMENT 'UUIDv5 of program, lead and rule: a lead has one reward by a rule.',
    revision UInt32 COMMENT 'Counts the changes of the reward, from 0.',
    sign Int8 COMMENT '1, or -1 on a line that takes another back.',
    state Enum8('accrued' = 1, 'held' = 2, 'approved' = 3, 'issued' = 4, 'rejected' = 5, 'clawed_back' = 6) COMMENT 'Where the amount stands.',
    amount_minor Int64 COMMENT 'Minor units of currency; never negative.',
    currency LowCardinality(String) COMMENT 'ISO 4217.',
    party LowCardinality(String) COMMENT 'referrer or referred: who gets it.',
    referrer String COMMENT 'Who referred the lead.',
    rule LowCardinality(String) COMMENT 'Id of the rule within the program.',
    rules_version UInt64 COMMENT 'Version of the registry that the rule was taken from.',
    qualification_id UUID COMMENT 'The qualification that earned it.',
    value_minor Int64 COMMENT 'Its value when the reward was accrued, in minor units.',
    earned_at DateTime64(3, 'UTC') COMMENT 'When it happened: caps of a period go by this.',
    due_at DateTime64(3, 'UTC') COMMENT 'When it is to be approved.',
    decided_by String COMMENT 'Who made this change: rules, timer, or whoever decided.',
    reason String COMMENT 'Why.',
    reference String COMMENT 'What the payment is known by.',
    risk UInt32 COMMENT 'Weight of flags.',
    flags Array(LowCardinality(String)) COMMENT 'What looked suspicious.',
    evidence String COMMENT 'What the flags or the refusal rest on, in words.',
    cause UUID COMMENT 'The event that caused the change.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it, or the timer was made.',
    incarnation UUID COMMENT 'Incarnation of the causing record.',
    partition UInt32 COMMENT 'Partition of the causing record.',
    offset UInt64 COMMENT 'Offset of the causing record.',
    INDEX by_reward reward_id TYPE bloom_filter(0.001) GRANULARITY 1,
    PROJECTION by_referrer
    (
        SELECT program, referrer, rule, sign, amount_minor, state, earned_at, incarnation, partition, offset
        ORDER BY program, referrer
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, lead_id, reward_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'The ledger of rewards: signed lines, so that the sum of sign * amount_minor of a state is what stands there.';
