-- Rollups, fed by views: clicks, leads and qualifications for every referrer, channel and hour. A
-- click counts in the hour of its id, a conversion in the hour in which it happened. Signed rows add
-- up: a correction moves a count from one referrer to another. Counts of clicks are counts of requests.

CREATE TABLE funnel_hourly
(
    program LowCardinality(String),
    referrer String,
    channel LowCardinality(String),
    hour DateTime('UTC'),
    verdict LowCardinality(String),
    currency LowCardinality(String),
    clicks SimpleAggregateFunction(sum, Int64),
    leads SimpleAggregateFunction(sum, Int64),
    qualifications SimpleAggregateFunction(sum, Int64),
    value_minor SimpleAggregateFunction(sum, Int64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (program, referrer, channel, hour, verdict, currency)
SETTINGS non_replicated_deduplication_window = 10000;

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

-- The day's rollup is fed by the hour's inserts, which are groups already: it costs next to nothing.

CREATE TABLE funnel_daily
(
    program LowCardinality(String),
    referrer String,
    channel LowCardinality(String),
    day Date,
    verdict LowCardinality(String),
    currency LowCardinality(String),
    clicks SimpleAggregateFunction(sum, Int64),
    leads SimpleAggregateFunction(sum, Int64),
    qualifications SimpleAggregateFunction(sum, Int64),
    value_minor SimpleAggregateFunction(sum, Int64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYear(day)
ORDER BY (program, referrer, channel, day, verdict, currency)
SETTINGS non_replicated_deduplication_window = 10000;

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
