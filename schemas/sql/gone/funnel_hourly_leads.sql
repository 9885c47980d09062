CREATE MATERIALIZED VIEW funnel_hourly_leads TO funnel_hourly AS
SELECT
    program, referrer, channel,
    toStartOfHour(toDateTime(occurred_at, 'UTC')) AS hour,
    toLowCardinality('') AS verdict,
    toLowCardinality('') AS currency,
    toInt64(0) AS clicks,
    sum(toInt64(sign)) AS leads,
    toInt64(0) AS qualifications,
    toInt64(0) AS value_minor
FROM leads
WHERE live
GROUP BY program, referrer, channel, hour;
