CREATE MATERIALIZED VIEW funnel_clicks TO funnel_quarter_hourly AS
SELECT
    program, referrer, channel,
    toStartOfFifteenMinutes(toDateTime(ts, 'UTC')) AS quarter_hour,
    toLowCardinality(toString(c.verdict)) AS verdict,
    sumIf(sign * toInt64(requests), c.verdict = 'human') AS clicks,
    sumIf(sign * toInt64(requests), c.verdict != 'human') AS other_clicks
FROM clicks AS c
WHERE live
GROUP BY program, referrer, channel, quarter_hour, verdict;
