-- The funnel's formulas, for all that counts by it.
--
--     SELECT * FROM funnel_over(from = '2026-01-01', to = '2026-01-31', referrer = '', by = '') WHERE program = 'p'
--
-- `referrer` is the one to count, empty for all; `by` is 'referrer' or 'channel', empty for both, and what it leaves out is empty.
-- Groups in which corrections have left nothing are left out.
--
-- Leads and qualified are persons, each counted once in its program. They are counted on the days on which they happened,
-- so that of chosen days there can be more of them than of what they came from: a rate beyond 1 is none, for the reason
-- other_cohort. `cohorts` dates all by the lead.

CREATE OR REPLACE VIEW funnel_over
AS
SELECT
    program,
    if({by:String} = 'channel', '', of_both.referrer) AS referrer,
    if({by:String} = 'referrer', '', of_both.channel) AS channel,
    multiIf(
        {by:String} = 'referrer' AND of_both.referrer != '', '',
        {by:String} = 'channel' AND of_both.channel != '', '',
        of_both.referrer = '' AND of_both.is_click, 'unknown_link',
        of_both.referrer = '', 'no_credit',
        of_both.channel = '', 'no_channel',
        '') AS reason,
    uniqExactIf(of_both.referrer, of_both.referrer != '') AS referrers,
    sum(of_both.clicks) AS clicks,
    sum(of_both.other_clicks) AS other_clicks,
    sum(of_both.leads) AS leads,
    sum(of_both.leads_by_click) AS leads_by_click,
    sum(of_both.leads_by_code) AS leads_by_code,
    leads - leads_by_click - leads_by_code AS leads_otherwise,
    sum(of_both.qualified) AS qualified,
    sum(of_both.lead_events) AS lead_events,
    sum(of_both.qualification_events) AS qualification_events,
    multiIf(clicks = 0 AND leads_by_click = 0, 'no_clicks', leads_by_click > clicks, 'other_cohort', '') AS no_lead_rate,
    multiIf(leads = 0 AND qualified = 0, 'no_leads', qualified > leads, 'other_cohort', '') AS no_qualification_rate,
    if(no_lead_rate = '', round(leads_by_click / clicks, 4), NULL) AS lead_rate,
    if(no_qualification_rate = '', round(qualified / leads, 4), NULL) AS qualification_rate,
    mapFilter((c, minor) -> minor != 0, sumMap(of_both.value_minor)) AS value_minor
FROM
(
    SELECT
        program, f.referrer AS referrer, toString(f.channel) AS channel, f.verdict != '' AS is_click,
        sum(f.clicks) AS clicks,
        sum(f.other_clicks) AS other_clicks,
        sum(f.leads) AS leads,
        sum(f.leads_by_click) AS leads_by_click,
        sum(f.leads_by_code) AS leads_by_code,
        sum(f.qualified) AS qualified,
        sum(f.lead_events) AS lead_events,
        sum(f.qualification_events) AS qualification_events,
        sumMap(map(toString(f.currency), f.value_minor)) AS value_minor
    FROM funnel_daily AS f
    WHERE day >= {from:Date32} AND day <= {to:Date32}
        AND ({referrer:String} = '' OR f.referrer = {referrer:String})
    GROUP BY program, referrer, channel, is_click
    HAVING clicks != 0 OR other_clicks != 0 OR leads != 0 OR qualified != 0 OR lead_events != 0 OR qualification_events != 0
) AS of_both
GROUP BY program, referrer, channel, reason
HAVING clicks != 0 OR other_clicks != 0 OR leads != 0 OR qualified != 0 OR lead_events != 0 OR qualification_events != 0
COMMENT 'Clicks, leads and qualifications of days, by referrer, by channel or by both.';
