-- Without the groups in which corrections have left nothing.

CREATE OR REPLACE VIEW funnel AS
SELECT
    program, referrer, channel,
    sumIf(f.clicks, verdict = 'human') AS clicks,
    sumIf(f.clicks, verdict NOT IN ('human', '')) AS other_clicks,
    sum(f.leads) AS leads,
    sum(f.qualifications) AS qualifications,
    round(leads / nullIf(clicks, 0), 4) AS lead_rate,
    round(qualifications / nullIf(leads, 0), 4) AS qualification_rate
FROM funnel_daily AS f
GROUP BY program, referrer, channel
HAVING clicks != 0 OR other_clicks != 0 OR leads != 0 OR qualifications != 0
ORDER BY program, referrer, channel;

-- What waits for its partner: qualifications without their lead, disqualifications without their
-- qualification, leads that nobody is credited with.

CREATE OR REPLACE VIEW unmatched AS
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
SELECT program, 'lead' AS kind, id, any(lead) AS lead, argMax(l.reason, (revision, sign)) AS reason,
    any(received_at) AS since, dateDiff('second', since, now64(3, 'UTC')) AS age_seconds
FROM leads AS l
WHERE live
GROUP BY program, id
HAVING sum(if(evidence = 'none', sign, 0)) > 0;

-- More was to be taken back than there was: nothing was taken for `excess_minor`.

CREATE VIEW excess_refunds AS
SELECT program, id, any(lead) AS lead, qualification_id, any(reason) AS reason, outcome, currency, value_minor,
    taken_minor, excess_minor, any(received_at) AS received_at
FROM disqualifications
WHERE live AND outcome IN ('excess', 'currency', 'repeated')
GROUP BY program, id, qualification_id, outcome, currency, value_minor, taken_minor, excess_minor
HAVING sum(sign) > 0;
