-- Rollups, fed by views: clicks, leads and qualifications for every referrer, channel and quarter of an hour, which are the
-- steps between the world's time zones. A click counts in the quarter of its id, a conversion in that in which it happened.
-- Signed rows add up: a correction moves a count from one referrer to another. Counts of clicks are counts of requests.

CREATE TABLE funnel_quarter_hourly
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    channel LowCardinality(String) COMMENT 'Channel of the link that was followed; empty: none.',
    quarter_hour DateTime('UTC') COMMENT 'Beginning of the quarter of an hour (UTC): of a click that of its id, of a conversion that in which it happened.',
    verdict LowCardinality(String) COMMENT 'Who clicked; empty for leads and qualifications.',
    currency LowCardinality(String) COMMENT 'ISO 4217 of value_minor; empty for clicks and leads.',
    clicks SimpleAggregateFunction(sum, Int64) COMMENT 'Clicks of people.',
    other_clicks SimpleAggregateFunction(sum, Int64) COMMENT 'Other requests: of bots, previews and prefetches, HEAD requests, and of anybody on a link that led nowhere.',
    leads SimpleAggregateFunction(sum, Int64) COMMENT 'Persons who became a lead.',
    leads_by_click SimpleAggregateFunction(sum, Int64) COMMENT 'Of leads, those that came by one of clicks.',
    leads_by_code SimpleAggregateFunction(sum, Int64) COMMENT 'Of leads, those credited for a code that they named.',
    qualified SimpleAggregateFunction(sum, Int64) COMMENT 'Persons who reached anything.',
    lead_events SimpleAggregateFunction(sum, Int64) COMMENT 'Leads as they were sent: one person can have several.',
    qualification_events SimpleAggregateFunction(sum, Int64) COMMENT 'Qualifications: one person can have several.',
    value_minor SimpleAggregateFunction(sum, Int64) COMMENT 'Value of the qualifications, in minor units of currency.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(quarter_hour)
ORDER BY (program, referrer, channel, quarter_hour, verdict, currency)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Clicks, leads and qualifications by referrer, channel and quarter of an hour. Sums of signed rows.';
