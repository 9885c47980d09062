-- The funnel's formulas, for all that counts by it.
--
--     SELECT * FROM funnel_over(from = '2026-01-01', to = '2026-01-31', referrer = '', by = '') WHERE program = 'p'
--
-- `referrer` is the one to count, empty for all; `by` is 'referrer' or 'channel', empty for both, and what it leaves out is empty.
-- Groups in which corrections have left nothing are left out.

CREATE OR REPLACE VIEW funnel_over
AS
SELECT
    program,
    if({by:String} = 'channel', '', of_both.referrer) AS referrer,
    if({by:String} = 'referrer', '', of_both.channel) AS channel,
    uniqExactIf(of_both.referrer, of_both.referrer != '') AS referrers,
    sum(of_both.clicks) AS clicks,
    sum(of_both.other_clicks) AS other_clicks,
    sum(of_both.leads) AS leads,
    sum(of_both.qualifications) AS qualifications,
    round(leads / nullIf(clicks, 0), 4) AS lead_rate,
    round(qualifications / nullIf(leads, 0), 4) AS qualification_rate,
    mapFilter((c, minor) -> minor != 0, sumMap(of_both.value_minor)) AS value_minor
FROM
(
    SELECT
        program, f.referrer AS referrer, toString(f.channel) AS channel,
        sumIf(f.clicks, verdict = 'human') AS clicks,
        sumIf(f.clicks, verdict NOT IN ('human', '')) AS other_clicks,
        sum(f.leads) AS leads,
        sum(f.qualifications) AS qualifications,
        sumMap(map(toString(f.currency), f.value_minor)) AS value_minor
    FROM funnel_daily AS f
    WHERE day >= {from:Date32} AND day <= {to:Date32}
        AND ({referrer:String} = '' OR f.referrer = {referrer:String})
    GROUP BY program, referrer, channel
    HAVING clicks != 0 OR other_clicks != 0 OR leads != 0 OR qualifications != 0
) AS of_both
GROUP BY program, referrer, channel
HAVING clicks != 0 OR other_clicks != 0 OR leads != 0 OR qualifications != 0
COMMENT 'Clicks, leads and qualifications of days, by referrer, by channel or by both.';
