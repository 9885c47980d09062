-- More was to be taken back than there was: nothing was taken for `excess_minor`.

CREATE OR REPLACE VIEW excess_refunds
(
    program LowCardinality(String) COMMENT 'Program.',
    id UUID COMMENT 'Event id of the disqualification.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    qualification_id UUID COMMENT 'Event id of the qualification that it names; nil: all of the person''s.',
    reason String COMMENT 'Why, as the caller says.',
    outcome LowCardinality(String) COMMENT 'repeated (all of it was taken back before), excess (more than was left) or currency (nothing was paid in it).',
    currency LowCardinality(String) COMMENT 'ISO 4217.',
    value_minor Int64 COMMENT 'Minor units that were to be taken back; 0: all.',
    taken_minor Int64 COMMENT 'Minor units that were taken back.',
    excess_minor Int64 COMMENT 'Minor units beyond what was left.',
    received_at DateTime64(3, 'UTC') COMMENT 'When the events API took it.'
)
AS
SELECT program, id, any(lead) AS lead, qualification_id, any(reason) AS reason, outcome, currency, value_minor,
    taken_minor, excess_minor, any(received_at) AS received_at
FROM disqualifications
WHERE live AND outcome IN ('excess', 'currency', 'repeated')
GROUP BY program, id, qualification_id, outcome, currency, value_minor, taken_minor, excess_minor
HAVING sum(sign) > 0
COMMENT 'Refunds of more than there was, or of nothing.';
