-- What was found of the click behind a lead when a record looked at it. A click's row may come long after the
-- lead: so what risk goes by is written down first, and everything after is derived from what stands here.
-- The projections find the leads of one visitor and of one address prefix.

CREATE TABLE click_evidence
(
    program LowCardinality(String),
    lead_id UUID,
    click_id UUID,
    clicked_at DateTime64(3, 'UTC'),
    person UUID,
    looked_by LowCardinality(String),
    found Bool,
    verdict Enum8('unspecified' = 0, 'human' = 1, 'bot' = 2, 'preview' = 3, 'prefetch' = 4, 'head' = 5, 'inactive' = 6),
    reason LowCardinality(String),
    visitor UInt64,
    address UInt64,
    prefix UInt64,
    live Bool,
    cause UUID,
    received_at DateTime64(3, 'UTC'),
    incarnation UUID,
    partition UInt32,
    offset UInt64,
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
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;
