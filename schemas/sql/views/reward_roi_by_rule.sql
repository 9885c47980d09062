-- The same for each rule, over the qualifications that earned it. A qualification counts for every rule that it earned: the
-- values of several rules don't add up. What a cap or the budget refused has earned nothing.

CREATE OR REPLACE VIEW reward_roi_by_rule
(
    program LowCardinality(String) COMMENT 'Program.',
    rule LowCardinality(String) COMMENT 'Id of the rule within the program.',
    party LowCardinality(String) COMMENT 'referrer or referred: who gets it.',
    currency LowCardinality(String) COMMENT 'ISO 4217.',
    qualification_events UInt64 COMMENT 'Qualifications that earned it.',
    capped UInt64 COMMENT 'Qualifications that would have earned it without a cap or budget; they are in no other column.',
    value_minor Int64 COMMENT 'Their value, in minor units of currency; those of several rules do not add up.',
    accrued Int64 COMMENT 'Minor units that wait for their days to pass.',
    held Int64 COMMENT 'Minor units that wait for a person.',
    approved Int64 COMMENT 'Minor units that are to be paid.',
    issued Int64 COMMENT 'Minor units that are paid.',
    clawed_back Int64 COMMENT 'Minor units that were taken back after they were approved or paid.',
    cost_minor Int64 COMMENT 'All that stands open: accrued, held, approved and issued, in minor units.',
    roi Nullable(Float64) COMMENT '(value - cost) / cost; NULL where no_roi says why.',
    no_roi String COMMENT 'Why there is no roi: no_cost, or no_value (nothing was reached that has a value in this currency). Empty where there is one.'
)
AS
SELECT
    program, rule, party, currency,
    countIf(v.is_earned) AS qualification_events, countIf(NOT v.is_earned) AS capped,
    sumIf(v.value, v.is_earned) AS value_minor,
    sum(v.accrued) AS accrued, sum(v.held) AS held, sum(v.approved) AS approved, sum(v.issued) AS issued,
    sum(v.clawed_back) AS clawed_back,
    accrued + held + approved + issued AS cost_minor,
    if(no_roi = '', round((value_minor - cost_minor) / cost_minor, 4), NULL) AS roi,
    multiIf(cost_minor = 0, 'no_cost', NOT max(v.has_value), 'no_value', '') AS no_roi
FROM
(
    SELECT
        r.program AS program, r.rule AS rule, r.party AS party, r.currency AS currency,
        r.is_earned AS is_earned, q.currency = r.currency AS has_value, if(has_value, q.value, 0) AS value,
        r.accrued AS accrued, r.held AS held, r.approved AS approved, r.issued AS issued, r.clawed_back AS clawed_back
    FROM
    (
        SELECT
            program, toString(r.rule) AS rule, toString(r.party) AS party, qualification_id,
            toString(r.currency) AS currency,
            countIf(r.sign = 1 AND r.state != 'rejected') > 0 AS is_earned,
            sumIf(r.sign * r.amount_minor, r.state = 'accrued') AS accrued,
            sumIf(r.sign * r.amount_minor, r.state = 'held') AS held,
            sumIf(r.sign * r.amount_minor, r.state = 'approved') AS approved,
            sumIf(r.sign * r.amount_minor, r.state = 'issued') AS issued,
            sumIf(r.sign * r.amount_minor, r.state = 'clawed_back') AS clawed_back
        FROM rewards AS r
        GROUP BY program, rule, party, qualification_id, currency
    ) AS r
    LEFT JOIN
    (
        SELECT program, id, toString(q.currency) AS currency, sum(q.sign * q.value_minor) AS value
        FROM qualifications AS q
        WHERE live AND referrer != ''
        GROUP BY program, id, currency
    ) AS q ON r.program = q.program AND r.qualification_id = q.id
) AS v
GROUP BY program, rule, party, currency
ORDER BY program, rule, party, currency
COMMENT 'What came of what was paid, by rule, party and currency.';
