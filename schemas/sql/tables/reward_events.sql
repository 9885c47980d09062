CREATE TABLE reward_events
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    kind LowCardinality(String) COMMENT 'decision or timer.',
    reward_id UUID COMMENT 'The reward.',
    decision LowCardinality(String) COMMENT 'approve, reject, issue or claw_back.',
    outcome LowCardinality(String) COMMENT 'applied, or why nothing changed.',
    decided_by String COMMENT 'Who decided.',
    reason String COMMENT 'Why.',
    reference String COMMENT 'What the payment is known by.',
    paid_minor Int64 COMMENT 'What was paid by it, in minor units; 0: it does not say.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says; of a timer, when it was due.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it, or the timer was made.',
    source LowCardinality(String) COMMENT 'Where the event came from.',
    live Bool COMMENT 'Test events change nothing.',
    revision UInt32 COMMENT 'Always 0: the record''s own row.',
    incarnation UUID COMMENT 'Incarnation of the record.',
    partition UInt32 COMMENT 'Partition of the record.',
    offset UInt64 COMMENT 'Offset of the record.',
    INDEX by_reward reward_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'Decisions about rewards and timers that came for them, and what came of each.';
