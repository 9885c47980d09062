CREATE MATERIALIZED VIEW rewards_daily_feed TO rewards_daily AS
SELECT
    program, referrer, party, rule, currency,
    toDate(earned_at, 'UTC') AS day,
    toLowCardinality(toString(state)) AS state,
    sum(toInt64(r.sign)) AS rewards,
    sum(r.sign * r.amount_minor) AS amount_minor
FROM rewards AS r
GROUP BY program, referrer, party, rule, currency, day, state;
