CREATE MATERIALIZED VIEW funnel_hourly_clicks TO funnel_hourly AS
SELECT
    program, referrer, channel,
    toStartOfHour(toDateTime(ts, 'UTC')) AS hour,
    toLowCardinality(toString(verdict)) AS verdict,
    toLowCardinality('') AS currency,
    sum(sign * toInt64(requests)) AS clicks,
    toInt64(0) AS leads,
    toInt64(0) AS qualifications,
    toInt64(0) AS value_minor
FROM clicks
WHERE live
GROUP BY program, referrer, channel, hour, verdict;
