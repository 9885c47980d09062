-- What is announced to others: one row a message, fed by views from the facts, so that what is announced is
-- what is stored. A message's id is a hash of what it is about and of its revision (UUIDv8). No personal
-- column is copied: the caller's lead id is read from `leads` when a message is sent.
--
-- Ordered by the position of the record that caused it, and by `rank` within that; `announced_at` is when the
-- row was stored.

CREATE TABLE outbound_messages
(
    partition UInt32,
    incarnation UUID,
    offset UInt64,
    rank UInt8,
    message_id UUID,
    type LowCardinality(String),
    program LowCardinality(String),
    lead_id UUID,
    revision UInt32,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    announced_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'),
    referrer String,
    link String,
    channel LowCardinality(String),
    evidence LowCardinality(String),
    reason String,
    click_id UUID,
    clicked_at DateTime64(3, 'UTC'),
    source LowCardinality(String),
    qualification_id UUID,
    name LowCardinality(String),
    value_minor Int64,
    currency LowCardinality(String),
    reward_id UUID,
    rule LowCardinality(String),
    party LowCardinality(String),
    amount_minor Int64,
    open_minor Int64,
    due_at DateTime64(3, 'UTC'),
    decided_by String,
    reference String,
    flags Array(LowCardinality(String))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (partition, incarnation, offset, rank)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

-- A lead's newest row says all: what took the one before back is not announced.

CREATE MATERIALIZED VIEW outbound_leads TO outbound_messages AS
WITH hex(MD5(concat('lead/', toString(l.id), '/', toString(l.revision)))) AS h
SELECT
    l.partition AS partition, l.incarnation AS incarnation, l.offset AS offset, toUInt8(0) AS rank,
    toUUID(concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-8', substring(h, 14, 3), '-8', substring(h, 18, 3), '-', substring(h, 21, 12))) AS message_id,
    toLowCardinality(if(l.referrer != '', 'lead.credited', 'lead.uncredited')) AS type,
    l.program AS program, l.id AS lead_id, l.revision AS revision, l.occurred_at AS occurred_at, l.received_at AS received_at,
    l.referrer AS referrer, l.link AS link, l.channel AS channel, toLowCardinality(toString(l.evidence)) AS evidence,
    toString(l.reason) AS reason, l.click_id AS click_id, l.clicked_at AS clicked_at, l.source AS source
FROM leads AS l
WHERE l.live AND l.sign = 1;

-- Of what takes a qualification from a lead and what gives it to one anew, both of one revision, only the
-- latter is announced. Those without a lead wait; one that is stored without counting (`sign` 0) is nobody's news.

CREATE MATERIALIZED VIEW outbound_qualifications TO outbound_messages AS
WITH hex(MD5(concat('qualification/', toString(c.id), '/', toString(c.lead_id), '/', toString(c.revision)))) AS h
SELECT
    c.at_partition AS partition, c.at_incarnation AS incarnation, c.at_offset AS offset, toUInt8(1) AS rank,
    toUUID(concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-8', substring(h, 14, 3), '-8', substring(h, 18, 3), '-', substring(h, 21, 12))) AS message_id,
    toLowCardinality(if(c.newest.1 = 1, 'lead.qualified', 'lead.disqualified')) AS type,
    c.program AS program, c.lead_id AS lead_id, c.revision AS revision, c.newest.2 AS occurred_at, c.newest.3 AS received_at,
    c.newest.4 AS referrer, c.newest.5 AS link, c.newest.6 AS channel, toLowCardinality(toString(c.newest.7)) AS evidence,
    c.newest.8 AS click_id, c.newest.9 AS source, c.id AS qualification_id, c.newest.10 AS name,
    c.newest.11 AS value_minor, c.newest.12 AS currency
FROM
(
    SELECT
        q.program AS program, q.id AS id, q.lead_id AS lead_id, q.revision AS revision,
        any(q.partition) AS at_partition, any(q.incarnation) AS at_incarnation, any(q.offset) AS at_offset,
        argMax((q.sign, q.occurred_at, q.received_at, q.referrer, q.link, q.channel, q.evidence, q.click_id, q.source, q.name, q.value_minor, q.currency), q.sign) AS newest
    FROM qualifications AS q
    WHERE q.live AND q.sign != 0 AND q.lead_id != toUUID('00000000-0000-0000-0000-000000000000')
    GROUP BY q.program, q.id, q.lead_id, q.revision
) AS c;

-- Of a change, the lines that put an amount where none of it was before: what stays as it was is `open_minor`.

CREATE MATERIALIZED VIEW outbound_rewards TO outbound_messages AS
WITH hex(MD5(concat('reward/', toString(c.reward_id), '/', toString(c.revision), '/', toString(line.1)))) AS h
SELECT
    c.at_partition AS partition, c.at_incarnation AS incarnation, c.at_offset AS offset, toUInt8(2) AS rank,
    toUUID(concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-8', substring(h, 14, 3), '-8', substring(h, 18, 3), '-', substring(h, 21, 12))) AS message_id,
    toLowCardinality(concat('reward.', toString(line.1))) AS type,
    c.program AS program, c.lead_id AS lead_id, c.revision AS revision, c.earned_at AS occurred_at, c.received_at AS received_at,
    c.referrer AS referrer, line.4 AS reason, c.qualification_id AS qualification_id, c.value_minor AS value_minor,
    c.currency AS currency, c.reward_id AS reward_id, c.rule AS rule, c.party AS party, line.2 AS amount_minor,
    c.open_minor AS open_minor, c.due_at AS due_at, line.3 AS decided_by, line.5 AS reference, c.flags AS flags
FROM
(
    SELECT
        r.program AS program, r.lead_id AS lead_id, r.reward_id AS reward_id, r.revision AS revision,
        any(r.partition) AS at_partition, any(r.incarnation) AS at_incarnation, any(r.offset) AS at_offset,
        any(r.earned_at) AS earned_at, any(r.received_at) AS received_at, any(r.referrer) AS referrer,
        any(r.qualification_id) AS qualification_id, any(r.value_minor) AS value_minor, any(r.currency) AS currency,
        any(r.rule) AS rule, any(r.party) AS party, any(r.due_at) AS due_at, any(r.flags) AS flags,
        groupArrayIf(r.state, r.sign = -1) AS former,
        sumIf(r.amount_minor, r.sign = 1 AND r.state NOT IN ('rejected', 'clawed_back')) AS open_minor,
        groupArrayIf((r.state, r.amount_minor, r.decided_by, r.reason, r.reference), r.sign = 1) AS lines
    FROM rewards AS r
    GROUP BY r.program, r.lead_id, r.reward_id, r.revision
) AS c
ARRAY JOIN c.lines AS line
WHERE NOT has(c.former, line.1);

-- The delivery log: one row a try to send a message to an endpoint.

CREATE TABLE deliveries
(
    program LowCardinality(String),
    endpoint LowCardinality(String),
    message_id UUID,
    attempt UInt32,
    type LowCardinality(String),
    lead_id UUID,
    started_at DateTime64(3, 'UTC'),
    duration_ms UInt32,
    status UInt16,
    outcome Enum8('delivered' = 1, 'retry' = 2, 'dead' = 3),
    error LowCardinality(String),
    next_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(started_at)
ORDER BY (program, endpoint, message_id, attempt)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

-- How far each endpoint is in each partition: what stands before this position is delivered or dead. The
-- endpoint of no program and no name is the topic of facts.

CREATE TABLE delivery_checkpoints
(
    program String,
    endpoint String,
    partition UInt32,
    incarnation UUID,
    next_offset UInt64,
    saved_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(saved_at)
ORDER BY (program, endpoint, partition);

-- Each message that was tried, as it stands with each endpoint.

CREATE VIEW delivery_states AS
SELECT
    program, endpoint, message_id, any(d.type) AS type, any(d.lead_id) AS lead_id,
    multiIf(countIf(d.outcome = 'delivered') > 0, 'delivered', countIf(d.outcome = 'dead') > 0, 'dead', 'retry') AS state,
    max(d.attempt) AS attempts,
    argMax(d.status, (d.attempt, d.started_at)) AS status,
    toString(argMax(d.error, (d.attempt, d.started_at))) AS error,
    min(d.started_at) AS first_at,
    max(d.started_at) AS last_at,
    argMax(d.next_at, (d.attempt, d.started_at)) AS next_at
FROM deliveries AS d
GROUP BY program, endpoint, message_id;

-- What was given up. A new endpoint with `since` sends it again.

CREATE VIEW dead_deliveries AS
SELECT s.program AS program, s.endpoint AS endpoint, s.type AS type, s.message_id AS message_id, s.lead_id AS lead_id,
    s.attempts AS attempts, s.status AS status, s.error AS error, s.first_at AS first_at, s.last_at AS last_at
FROM delivery_states AS s
WHERE s.state = 'dead'
ORDER BY program, endpoint, last_at;
