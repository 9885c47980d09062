-- The day's rollup is fed by the hour's inserts, which are groups already: it costs next to nothing.

CREATE TABLE funnel_daily
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    channel LowCardinality(String) COMMENT 'Channel of the link that was followed; empty: none.',
    day Date COMMENT 'Day (UTC): of a click that of its id, of a conversion that on which it happened.',
    verdict LowCardinality(String) COMMENT 'Who clicked; empty for leads and qualifications.',
    currency LowCardinality(String) COMMENT 'ISO 4217 of value_minor; empty for clicks and leads.',
    clicks SimpleAggregateFunction(sum, Int64) COMMENT 'Requests of this verdict.',
    leads SimpleAggregateFunction(sum, Int64) COMMENT 'Leads.',
    qualifications SimpleAggregateFunction(sum, Int64) COMMENT 'Qualifications.',
    value_minor SimpleAggregateFunction(sum, Int64) COMMENT 'Value of the qualifications, in minor units of currency.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYear(day)
ORDER BY (program, referrer, channel, day, verdict, currency)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'The same by day.';
