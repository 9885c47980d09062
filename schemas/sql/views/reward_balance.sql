CREATE OR REPLACE VIEW reward_balance
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    party LowCardinality(String) COMMENT 'referrer or referred: who gets it.',
    currency LowCardinality(String) COMMENT 'ISO 4217.',
    accrued Int64 COMMENT 'Minor units that wait for their days to pass.',
    held Int64 COMMENT 'Minor units that wait for a person.',
    approved Int64 COMMENT 'Minor units that are to be paid.',
    issued Int64 COMMENT 'Minor units that are paid.',
    rejected Int64 COMMENT 'Minor units that were refused.',
    clawed_back Int64 COMMENT 'Minor units that were taken back after they were approved or paid.'
)
AS
SELECT
    program, referrer, party, currency,
    sumIf(d.amount_minor, state = 'accrued') AS accrued,
    sumIf(d.amount_minor, state = 'held') AS held,
    sumIf(d.amount_minor, state = 'approved') AS approved,
    sumIf(d.amount_minor, state = 'issued') AS issued,
    sumIf(d.amount_minor, state = 'rejected') AS rejected,
    sumIf(d.amount_minor, state = 'clawed_back') AS clawed_back
FROM rewards_daily AS d
GROUP BY program, referrer, party, currency
ORDER BY program, referrer, party, currency
COMMENT 'What stands in each state, by referrer, party and currency.';
