-- A qualification event has one row here, whatever was corrected: its newest. One that was taken back whole is worth 0, does not
-- count, and has the lead that it had then.

CREATE OR REPLACE VIEW qualification_facts
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.',
    name LowCardinality(String) COMMENT 'What was reached.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    lead_id UUID COMMENT 'Event id of the lead; nil: unmatched, waiting for it.',
    evidence Enum8('none' = 0, 'token' = 1, 'code' = 2, 'alias' = 3) COMMENT 'The lead''s evidence.',
    referrer String COMMENT 'The lead''s referrer.',
    link String COMMENT 'The lead''s link.',
    channel LowCardinality(String) COMMENT 'The lead''s channel.',
    click_id UUID COMMENT 'The lead''s click.',
    value_minor Int64 COMMENT 'Minor units of currency that are left after what was taken back.',
    paid_minor Int64 COMMENT 'Minor units before anything was taken back.',
    currency LowCardinality(String) COMMENT 'ISO 4217, or empty.',
    condition LowCardinality(String) COMMENT 'first_payment or spend_at_least: what the person''s history must say for it to count. Empty: nothing.',
    threshold_minor Int64 COMMENT 'Of spend_at_least: the total, minor units of threshold_currency.',
    threshold_currency LowCardinality(String) COMMENT 'ISO 4217, or empty.',
    within_days UInt32 COMMENT 'Of spend_at_least: days within which it is to be reached.',
    reason String COMMENT 'Why it does not count: not_first_payment, below_threshold, reached_before, other_currency, outside_window, taken_back or same_payment (another event tells of the payment). Empty where it counts.',
    source LowCardinality(String) COMMENT 'Where the event came from.',
    live Bool COMMENT 'Whether the event is live.',
    counts Bool COMMENT 'Whether it counts: it was not taken back whole, and its condition is met.',
    is_person Bool COMMENT 'Whether it is the first of its person that counts and has a lead.'
)
AS
SELECT
    f.program AS program, f.id AS id, f.occurred_at AS occurred_at, f.received_at AS received_at, f.name AS name,
    f.lead AS lead, f.lead_id AS lead_id, f.evidence AS evidence, f.referrer AS referrer, f.link AS link,
    f.channel AS channel, f.click_id AS click_id, if(f.sign < 0, 0, f.value_minor) AS value_minor, f.paid_minor AS paid_minor,
    f.currency AS currency, f.condition AS condition, f.threshold_minor AS threshold_minor,
    f.threshold_currency AS threshold_currency, f.within_days AS within_days, if(f.sign < 0, 'taken_back', toString(f.reason)) AS reason,
    f.source AS source, f.live AS live,
    (f.sign = 1)::Bool AS counts, (f.person = 1)::Bool AS is_person
FROM
(
    SELECT * FROM qualifications ORDER BY program, id, revision DESC, sign DESC LIMIT 1 BY program, id
) AS f
COMMENT 'Qualification events as they stand: one row each.';
