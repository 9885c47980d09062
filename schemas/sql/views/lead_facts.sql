-- A lead event has one row here, whatever was corrected: its newest.

CREATE OR REPLACE VIEW lead_facts
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3) COMMENT 'On what it was credited.',
    reason LowCardinality(String) COMMENT 'Why better evidence was refused, or why there is none; empty where there is nothing to say.',
    referrer String COMMENT 'Who is credited; empty: nobody.',
    link String COMMENT 'host/code that led here.',
    channel LowCardinality(String) COMMENT 'Channel of the touch.',
    click_id UUID COMMENT 'The click, nil without a token.',
    clicked_at DateTime64(3, 'UTC') COMMENT 'Time of the click, 0 without a token.',
    first_lead UUID COMMENT 'Event id of the person''s first lead, where that is another one; of an event about a record that another one stands for, the id of that.',
    record UUID COMMENT 'The source''s record that it is, hashed; nil: it is a lead of its own.',
    registry_version UInt64 COMMENT 'Version of the registry at acceptance.',
    source LowCardinality(String) COMMENT 'Where the event came from.',
    live Bool COMMENT 'Whether the event is live.',
    counts Bool COMMENT 'Whether it counts: no earlier event tells of the same record.',
    is_person Bool COMMENT 'Whether it is the one lead that stands for its person in the program.'
)
AS
SELECT
    f.program AS program, f.id AS id, f.occurred_at AS occurred_at, f.received_at AS received_at, f.lead AS lead,
    f.evidence AS evidence, f.reason AS reason, f.referrer AS referrer, f.link AS link, f.channel AS channel,
    f.click_id AS click_id, f.clicked_at AS clicked_at, f.first_lead AS first_lead, f.record AS record,
    f.registry_version AS registry_version, f.source AS source, f.live AS live,
    (f.sign = 1)::Bool AS counts, (f.person = 1)::Bool AS is_person
FROM
(
    SELECT * FROM leads ORDER BY program, id, revision DESC, sign DESC LIMIT 1 BY program, id
) AS f
COMMENT 'Lead events as they stand: one row each.';
