-- What came of what was paid: the value that is left of a referrer's qualifications, by channel and currency, and
-- the rewards for them in the same currency, of both parties. `roi` is (value - cost) / cost, where the cost is all
-- that stands open.

CREATE OR REPLACE VIEW reward_roi
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred.',
    channel String COMMENT 'Channel of the credited touch.',
    currency LowCardinality(String) COMMENT 'ISO 4217; empty: of qualifications without a value.',
    qualification_events Int64 COMMENT 'Qualifications that count: one person can have several.',
    value_minor Int64 COMMENT 'Value of the qualifications, in minor units of currency.',
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
    program, referrer, channel, currency,
    sum(v.qualifications) AS qualification_events, sum(v.value_minor) AS value_minor,
    sum(v.accrued) AS accrued, sum(v.held) AS held, sum(v.approved) AS approved, sum(v.issued) AS issued,
    sum(v.clawed_back) AS clawed_back,
    accrued + held + approved + issued AS cost_minor,
    if(no_roi = '', round((value_minor - cost_minor) / cost_minor, 4), NULL) AS roi,
    multiIf(cost_minor = 0, 'no_cost', NOT max(v.has_value), 'no_value', '') AS no_roi
FROM
(
    SELECT
        program, referrer, toString(channel) AS channel, toString(currency) AS currency,
        toInt64(sign) AS qualifications, sign * q.value_minor AS value_minor, currency != '' AND sign != 0 AS has_value,
        toInt64(0) AS accrued, toInt64(0) AS held, toInt64(0) AS approved, toInt64(0) AS issued, toInt64(0) AS clawed_back
    FROM qualifications AS q
    WHERE live AND referrer != ''
    UNION ALL
    SELECT
        r.program, r.referrer, c.channel, r.currency,
        toInt64(0), toInt64(0), false, r.accrued, r.held, r.approved, r.issued, r.clawed_back
    FROM
    (
        SELECT
            program, referrer, qualification_id, toString(r.currency) AS currency,
            sumIf(r.sign * r.amount_minor, r.state = 'accrued') AS accrued,
            sumIf(r.sign * r.amount_minor, r.state = 'held') AS held,
            sumIf(r.sign * r.amount_minor, r.state = 'approved') AS approved,
            sumIf(r.sign * r.amount_minor, r.state = 'issued') AS issued,
            sumIf(r.sign * r.amount_minor, r.state = 'clawed_back') AS clawed_back
        FROM rewards AS r
        GROUP BY program, referrer, qualification_id, currency
    ) AS r
    LEFT JOIN
    (
        SELECT program, id, referrer, argMax(toString(channel), revision) AS channel
        FROM qualifications
        WHERE live AND referrer != '' AND sign = 1
        GROUP BY program, id, referrer
    ) AS c ON r.program = c.program AND r.qualification_id = c.id AND r.referrer = c.referrer
) AS v
GROUP BY program, referrer, channel, currency
ORDER BY program, referrer, channel, currency
COMMENT 'What came of what was paid, by referrer, channel and currency.';
