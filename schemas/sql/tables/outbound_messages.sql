-- What is announced to others: one row a message, fed by views from the facts, so that what is announced is
-- what is stored. A message's id is a hash of what it is about and of its revision (UUIDv8). No personal
-- column is copied: the caller's lead id is read from `leads` when a message is sent.
--
-- Ordered by the position of the record that caused it, and by `rank` within that; `announced_at` is when the
-- row was stored.

CREATE TABLE outbound_messages
(
    partition UInt32 COMMENT 'Partition of the causing record.',
    incarnation UUID COMMENT 'Incarnation of the causing record.',
    offset UInt64 COMMENT 'Offset of the causing record.',
    rank UInt8 COMMENT 'Order among the messages of one record.',
    message_id UUID COMMENT 'Id of the message: a hash of what it is about and of its revision.',
    type LowCardinality(String) COMMENT 'Type of the message, such as lead.credited.',
    program LowCardinality(String) COMMENT 'Program.',
    lead_id UUID COMMENT 'Event id of the lead that it is about.',
    revision UInt32 COMMENT 'Revision of the fact that it tells.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    announced_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When the row was stored.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    link String COMMENT 'host/code.',
    channel LowCardinality(String) COMMENT 'Channel of the link that was followed; empty: none.',
    evidence LowCardinality(String) COMMENT 'On what the lead was credited, or what flags of a reward rest on.',
    reason String COMMENT 'Why.',
    click_id UUID COMMENT 'The click behind the lead; nil: none.',
    clicked_at DateTime64(3, 'UTC') COMMENT 'Its time.',
    source LowCardinality(String) COMMENT 'Where the event came from.',
    qualification_id UUID COMMENT 'Event id of the qualification; nil: it is about none.',
    name LowCardinality(String) COMMENT 'What was reached.',
    value_minor Int64 COMMENT 'Its value, in minor units of currency.',
    currency LowCardinality(String) COMMENT 'ISO 4217.',
    reward_id UUID COMMENT 'Id of the reward; nil: it is about none.',
    rule LowCardinality(String) COMMENT 'Id of the rule within the program.',
    party LowCardinality(String) COMMENT 'referrer or referred: who gets it.',
    amount_minor Int64 COMMENT 'What it is worth, in minor units of currency.',
    open_minor Int64 COMMENT 'What of it is neither rejected nor taken back, in minor units of currency.',
    due_at DateTime64(3, 'UTC') COMMENT 'When it is to be approved.',
    decided_by String COMMENT 'Who made the last change: rules, timer, or whoever decided.',
    reference String COMMENT 'What the payment is known by.',
    flags Array(LowCardinality(String)) COMMENT 'What looked suspicious.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (partition, incarnation, offset, rank)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'What is announced to endpoints and to the topic of facts: one row a message.';
