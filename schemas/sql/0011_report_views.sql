-- Reports on referrers, channels and time. What was taken back is left out; tests never come here.

CREATE VIEW top_referrers AS
SELECT
    program, referrer,
    sumIf(f.clicks, verdict = 'human') AS clicks,
    sum(f.leads) AS leads,
    sum(f.qualifications) AS qualifications,
    round(leads / nullIf(clicks, 0), 4) AS lead_rate,
    round(qualifications / nullIf(leads, 0), 4) AS qualification_rate
FROM funnel_daily AS f
WHERE referrer != ''
GROUP BY program, referrer
ORDER BY program, qualifications DESC, leads DESC, clicks DESC, referrer;

CREATE VIEW channels AS
SELECT
    program, channel,
    uniqExactIf(referrer, referrer != '') AS referrers,
    sumIf(f.clicks, verdict = 'human') AS clicks,
    sum(f.leads) AS leads,
    sum(f.qualifications) AS qualifications,
    round(leads / nullIf(clicks, 0), 4) AS lead_rate,
    round(qualifications / nullIf(leads, 0), 4) AS qualification_rate
FROM funnel_daily AS f
GROUP BY program, channel
ORDER BY program, qualifications DESC, leads DESC, clicks DESC, channel;

-- How long credited leads took to reach what they reached, by its name: seconds from the lead to the first
-- qualification of that name.

CREATE VIEW time_to_qualify AS
SELECT
    program, channel, name,
    count() AS leads,
    quantileExact(0.5)(seconds) AS median_seconds,
    quantileExact(0.9)(seconds) AS p90_seconds,
    max(seconds) AS max_seconds
FROM
(
    SELECT q.program AS program, q.channel AS channel, q.name AS name,
        greatest(dateDiff('second', l.lead_at, q.first_at), 0) AS seconds
    FROM
    (
        SELECT program, channel, name, lead_id, min(occurred_at) AS first_at
        FROM
        (
            SELECT program, channel, name, lead_id, id, occurred_at
            FROM qualifications
            WHERE live AND referrer != ''
            GROUP BY program, channel, name, lead_id, id, occurred_at
            HAVING sum(sign) > 0
        )
        GROUP BY program, channel, name, lead_id
    ) AS q
    INNER JOIN
    (
        SELECT program, id, any(occurred_at) AS lead_at FROM leads WHERE live GROUP BY program, id
    ) AS l ON q.program = l.program AND q.lead_id = l.id
)
GROUP BY program, channel, name
ORDER BY program, channel, name;

-- Credited leads by the week (from Monday) in which they came, and how many of them had reached anything
-- within so many days.

CREATE VIEW cohorts AS
SELECT
    program,
    toStartOfWeek(lead_at, 1, 'UTC') AS week,
    count() AS leads,
    countIf(is_qualified AND days < 7) AS qualified_7d,
    countIf(is_qualified AND days < 30) AS qualified_30d,
    countIf(is_qualified AND days < 90) AS qualified_90d,
    countIf(is_qualified) AS qualified,
    round(qualified / leads, 4) AS qualification_rate
FROM
(
    SELECT l.program AS program, l.lead_at AS lead_at, q.qualifications > 0 AS is_qualified,
        dateDiff('second', l.lead_at, q.first_at) / 86400 AS days
    FROM
    (
        SELECT program, id, occurred_at AS lead_at
        FROM leads
        WHERE live AND referrer != ''
        GROUP BY program, id, occurred_at
        HAVING sum(sign) > 0
    ) AS l
    LEFT JOIN
    (
        SELECT program, lead_id, min(occurred_at) AS first_at, count() AS qualifications
        FROM
        (
            SELECT program, lead_id, id, occurred_at
            FROM qualifications
            WHERE live AND lead_id != toUUID('00000000-0000-0000-0000-000000000000')
            GROUP BY program, lead_id, id, occurred_at
            HAVING sum(sign) > 0
        )
        GROUP BY program, lead_id
    ) AS q ON l.program = q.program AND l.id = q.lead_id
)
GROUP BY program, week
ORDER BY program, week;
