-- How many requests a click's row stands for: 1, but for unknown codes that came faster than one network may ask for
-- them, of which there is one row an interval (reason `unknown_link_limited`). Counts of clicks are counts of
-- requests.

ALTER TABLE clicks
    ADD COLUMN IF NOT EXISTS requests UInt64 DEFAULT 1 AFTER prefix;

ALTER TABLE funnel_hourly_clicks
    MODIFY QUERY
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
