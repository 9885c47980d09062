CREATE MATERIALIZED VIEW funnel_qualifications TO funnel_quarter_hourly AS
SELECT
    program, referrer, channel,
    toStartOfFifteenMinutes(toDateTime(occurred_at, 'UTC')) AS quarter_hour,
    currency,
    sum(toInt64(person)) AS qualified,
    sum(toInt64(sign)) AS qualification_events,
    sum(sign * q.value_minor) AS value_minor
FROM qualifications AS q
WHERE live
GROUP BY program, referrer, channel, quarter_hour, currency;
