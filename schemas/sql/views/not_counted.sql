CREATE OR REPLACE VIEW not_counted
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id of the qualification.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    lead_id UUID COMMENT 'Event id of the lead; nil: there is none yet.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    name LowCardinality(String) COMMENT 'What was reached.',
    reason LowCardinality(String) COMMENT 'Why it does not count.',
    condition LowCardinality(String) COMMENT 'What the person''s history must say for it to count; empty: nothing.',
    threshold_minor Int64 COMMENT 'Of spend_at_least: the total, in minor units of threshold_currency.',
    threshold_currency LowCardinality(String) COMMENT 'ISO 4217, or empty.',
    within_days UInt32 COMMENT 'Of spend_at_least: days within which it is to be reached.',
    value_minor Int64 COMMENT 'Its value, in minor units of currency.',
    currency LowCardinality(String) COMMENT 'ISO 4217.',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, as the caller says.'
)
AS
SELECT
    q.program AS program, q.id AS id, q.lead AS lead, q.lead_id AS lead_id, q.referrer AS referrer, q.name AS name,
    q.reason AS reason, q.condition AS condition, q.threshold_minor AS threshold_minor,
    q.threshold_currency AS threshold_currency, q.within_days AS within_days, q.value_minor AS value_minor,
    q.currency AS currency, q.occurred_at AS occurred_at
FROM
(
    SELECT * FROM qualifications
    WHERE live AND (program, id) IN (SELECT program, id FROM qualifications WHERE live AND sign = 0)
    ORDER BY revision DESC, sign DESC LIMIT 1 BY program, id
) AS q
WHERE q.sign = 0
ORDER BY program, occurred_at, id
COMMENT 'Qualifications that are stored and do not count: their condition on the person''s history is not met, or another event tells of the payment.';
