CREATE MATERIALIZED VIEW funnel_daily_feed TO funnel_daily AS
SELECT
    program, referrer, channel,
    toDate(hour, 'UTC') AS day,
    verdict, currency,
    sum(clicks) AS clicks,
    sum(leads) AS leads,
    sum(qualifications) AS qualifications,
    sum(value_minor) AS value_minor
FROM funnel_hourly
GROUP BY program, referrer, channel, day, verdict, currency;
