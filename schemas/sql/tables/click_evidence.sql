-- What was found of the click behind a lead when a record looked at it. A click's row may come long after the
-- lead: so what risk goes by is written down first, and everything after is derived from what stands here.
-- The projections find the leads of one visitor and of one address prefix.

CREATE TABLE click_evidence
(
    program LowCardinality(String) COMMENT 'Program.',
    lead_id UUID COMMENT 'The lead whose touch proves the click.',
    click_id UUID COMMENT 'The click.',
    clicked_at DateTime64(3, 'UTC') COMMENT 'Its time, as its id says.',
    person UUID COMMENT 'The first lead of the person as known when the lead came, or the lead itself.',
    looked_by LowCardinality(String) COMMENT 'What looked: lead, qualification (any record that makes one count) or timer (before an approval).',
    found Bool COMMENT 'Whether the click''s row was stored; if not, all of the next five are empty.',
    verdict Enum8('unspecified' = 0, 'human' = 1, 'bot' = 2, 'preview' = 3, 'prefetch' = 4, 'head' = 5, 'inactive' = 6) COMMENT 'Who clicked.',
    reason LowCardinality(String) COMMENT 'Why the verdict.',
    visitor UInt64 COMMENT 'As in clicks.',
    address UInt64 COMMENT 'As in clicks.',
    prefix UInt64 COMMENT 'As in clicks.',
    live Bool COMMENT 'Whether the lead is live.',
    cause UUID COMMENT 'The event that looked.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it, or the timer was made.',
    incarnation UUID COMMENT 'Incarnation of the record that looked.',
    partition UInt32 COMMENT 'Partition of the record that looked.',
    offset UInt64 COMMENT 'Offset of the record that looked.',
    PROJECTION by_visitor
    (
        SELECT program, visitor, person, clicked_at, live, incarnation, partition, offset
        ORDER BY program, visitor
    ),
    PROJECTION by_prefix
    (
        SELECT program, prefix, person, clicked_at, live, incarnation, partition, offset
        ORDER BY program, prefix
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (program, lead_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'What was found of the click behind a lead when a record looked at it.';
