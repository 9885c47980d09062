CREATE TABLE rewards_daily
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    party LowCardinality(String) COMMENT 'referrer or referred: who gets it.',
    rule LowCardinality(String) COMMENT 'Id of the rule within the program.',
    currency LowCardinality(String) COMMENT 'ISO 4217.',
    day Date COMMENT 'Day (UTC) on which the qualification happened.',
    state LowCardinality(String) COMMENT 'Where the amount stands.',
    rewards SimpleAggregateFunction(sum, Int64) COMMENT 'Rewards with a part in this state.',
    amount_minor SimpleAggregateFunction(sum, Int64) COMMENT 'What it is worth, in minor units of currency.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYear(day)
ORDER BY (program, referrer, party, rule, currency, day, state)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'What stands in each state, by referrer, rule and day.';
