-- What waits for its partner: qualifications without their lead, disqualifications without their
-- qualification, reinstatements without what they undo, leads that nobody is credited with.

CREATE OR REPLACE VIEW unmatched
(
    program LowCardinality(String) COMMENT 'Program.',
    kind String COMMENT 'lead, qualification, disqualification or reinstatement.',
    id UUID COMMENT 'Event id.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    reason String COMMENT 'What it waits for, or why nobody is credited.',
    since DateTime64(3, 'UTC') COMMENT 'When it was received.',
    age_seconds Int64 COMMENT 'Seconds since then.'
)
AS
SELECT program, 'qualification' AS kind, id, any(lead) AS lead, 'no_lead_yet' AS reason, any(received_at) AS since,
    dateDiff('second', since, now64(3, 'UTC')) AS age_seconds
FROM qualifications
WHERE live
GROUP BY program, id
HAVING sum(if(lead_id = toUUID('00000000-0000-0000-0000-000000000000'), sign, 0)) > 0
UNION ALL
SELECT program, 'disqualification' AS kind, id, any(lead) AS lead, 'no_qualification_yet' AS reason,
    any(received_at) AS since, dateDiff('second', since, now64(3, 'UTC')) AS age_seconds
FROM disqualifications
WHERE live
GROUP BY program, id
HAVING sum(if(outcome = 'waiting', sign, 0)) > 0
UNION ALL
SELECT program, 'reinstatement' AS kind, id, any(lead) AS lead, 'nothing_taken_back_yet' AS reason,
    any(received_at) AS since, dateDiff('second', since, now64(3, 'UTC')) AS age_seconds
FROM reinstatements
WHERE live
GROUP BY program, id
HAVING sum(if(outcome = 'waiting', sign, 0)) > 0
UNION ALL
SELECT program, 'lead' AS kind, id, any(lead) AS lead, argMax(l.reason, (revision, sign)) AS reason,
    any(received_at) AS since, dateDiff('second', since, now64(3, 'UTC')) AS age_seconds
FROM leads AS l
WHERE live
GROUP BY program, id
HAVING sum(if(evidence = 'none', sign, 0)) > 0
COMMENT 'What waits for its partner, and leads that nobody is credited with.';
