CREATE MATERIALIZED VIEW funnel_hourly_qualifications TO funnel_hourly AS
SELECT
    program, referrer, channel,
    toStartOfHour(toDateTime(occurred_at, 'UTC')) AS hour,
    toLowCardinality('') AS verdict,
    currency,
    toInt64(0) AS clicks,
    toInt64(0) AS leads,
    sum(toInt64(sign)) AS qualifications,
    sum(sign * value_minor) AS value_minor
FROM qualifications
WHERE live
GROUP BY program, referrer, channel, hour, currency;
