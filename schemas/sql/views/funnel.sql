CREATE OR REPLACE VIEW funnel
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred; empty: nobody, for the reason.',
    channel LowCardinality(String) COMMENT 'Channel of the link that was followed; empty: none, for the reason.',
    reason String COMMENT 'Why there is no referrer or channel: unknown_link (clicks on links that are not there), no_credit (leads that nobody is credited with, and what they reached; unmatched says why) or no_channel. Empty where there are both.',
    clicks Int64 COMMENT 'Clicks of people.',
    other_clicks Int64 COMMENT 'Other requests: of bots, previews and prefetches, HEAD requests, and of anybody on a link that led nowhere.',
    leads Int64 COMMENT 'Persons who became a lead.',
    leads_by_click Int64 COMMENT 'Of leads, those that came by one of clicks.',
    leads_by_code Int64 COMMENT 'Of leads, those credited for a code that they named, also by import.',
    leads_otherwise Int64 COMMENT 'Of leads, the rest: they came from a page that was fetched ahead or by a known address, or nobody is credited with them.',
    qualified Int64 COMMENT 'Persons who reached anything.',
    lead_events Int64 COMMENT 'Leads as they were sent: one person can have several.',
    qualification_events Int64 COMMENT 'Qualifications that count: one person can have several.',
    lead_rate Nullable(Float64) COMMENT 'leads_by_click / clicks; NULL where no_lead_rate says why.',
    no_lead_rate String COMMENT 'Why there is no lead_rate: no_clicks, or other_cohort (more leads than clicks on these days). Empty where there is one.',
    qualification_rate Nullable(Float64) COMMENT 'qualified / leads; NULL where no_qualification_rate says why.',
    no_qualification_rate String COMMENT 'Why there is no qualification_rate: no_leads, or other_cohort (more qualified than leads on these days). Empty where there is one.',
    value_minor Map(String, Int64) COMMENT 'Value of the qualifications, in minor units of each currency.'
)
AS
SELECT program, referrer, channel, reason, clicks, other_clicks, leads, leads_by_click, leads_by_code, leads_otherwise, qualified, lead_events, qualification_events, lead_rate, no_lead_rate, qualification_rate, no_qualification_rate, value_minor
FROM funnel_over(from = '1970-01-01', to = '2299-12-31', referrer = '', by = '')
ORDER BY program, referrer, channel, reason
COMMENT 'Clicks, leads and qualifications of every referrer and channel.';
