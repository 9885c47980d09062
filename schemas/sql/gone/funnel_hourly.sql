-- Rollups, fed by views: clicks, leads and qualifications for every referrer, channel and hour. A
-- click counts in the hour of its id, a conversion in the hour in which it happened. Signed rows add
-- up: a correction moves a count from one referrer to another. Counts of clicks are counts of requests.

CREATE TABLE funnel_hourly
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    channel LowCardinality(String) COMMENT 'Channel of the link that was followed; empty: none.',
    hour DateTime('UTC') COMMENT 'Hour (UTC): of a click that of its id, of a conversion that in which it happened.',
    verdict LowCardinality(String) COMMENT 'Who clicked; empty for leads and qualifications.',
    currency LowCardinality(String) COMMENT 'ISO 4217 of value_minor; empty for clicks and leads.',
    clicks SimpleAggregateFunction(sum, Int64) COMMENT 'Requests of this verdict.',
    leads SimpleAggregateFunction(sum, Int64) COMMENT 'Leads.',
    qualifications SimpleAggregateFunction(sum, Int64) COMMENT 'Qualifications.',
    value_minor SimpleAggregateFunction(sum, Int64) COMMENT 'Value of the qualifications, in minor units of currency.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (program, referrer, channel, hour, verdict, currency)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Clicks, leads and qualifications by referrer, channel and hour. Sums of signed rows.';
