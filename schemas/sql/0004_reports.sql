-- Reports.

CREATE VIEW funnel AS
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
ORDER BY program, referrer, channel;

CREATE VIEW rejects_by_reason AS
SELECT stream, program, kind, reason, live, count() AS records, min(received_at) AS first_at, max(received_at) AS last_at
FROM rejects
GROUP BY stream, program, kind, reason, live
ORDER BY records DESC;

-- What waits for its partner: qualifications without their lead, leads that nobody is credited with.

CREATE VIEW unmatched AS
SELECT program, 'qualification' AS kind, id, any(lead) AS lead, 'no_lead_yet' AS reason, any(received_at) AS since,
    dateDiff('second', since, now64(3, 'UTC')) AS age_seconds
FROM qualifications
WHERE live
GROUP BY program, id
HAVING sum(if(lead_id = toUUID('00000000-0000-0000-0000-000000000000'), sign, 0)) > 0
UNION ALL
SELECT program, 'lead' AS kind, id, any(lead) AS lead, any(l.reason) AS reason, any(received_at) AS since,
    dateDiff('second', since, now64(3, 'UTC')) AS age_seconds
FROM leads AS l
WHERE live
GROUP BY program, id
HAVING sum(if(evidence = 'none', sign, 0)) > 0;

-- Every consumed offset is one fact or one reject: `missing` and `extra` are 0, for every partition of
-- every incarnation of both streams.

CREATE VIEW reconciliation AS
SELECT
    stream, incarnation, partition,
    min(offset) AS first_offset,
    max(offset) + 1 AS next_offset,
    count() AS records,
    uniqExact(offset) AS offsets,
    next_offset - first_offset - offsets AS missing,
    records - offsets AS extra
FROM
(
    SELECT 'clicks' AS stream, incarnation, partition, offset FROM clicks
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM leads WHERE revision = 0
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM qualifications WHERE revision = 0
    UNION ALL
    SELECT toString(stream) AS stream, incarnation, partition, offset FROM rejects
)
GROUP BY stream, incarnation, partition
ORDER BY stream, incarnation, partition;
