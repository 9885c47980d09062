-- Without what is credited to nobody, which the report of the console has, too.

CREATE OR REPLACE VIEW top_referrers
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred.',
    clicks Int64 COMMENT 'Clicks of people.',
    other_clicks Int64 COMMENT 'Clicks of bots, previews and prefetches, HEAD requests and clicks on links that are switched off.',
    leads Int64 COMMENT 'Leads.',
    qualifications Int64 COMMENT 'Qualifications.',
    lead_rate Nullable(Float64) COMMENT 'Leads for each click of a person; NULL without clicks.',
    qualification_rate Nullable(Float64) COMMENT 'Qualifications for each lead; NULL without leads.',
    value_minor Map(String, Int64) COMMENT 'Value of the qualifications, in minor units of each currency.'
)
AS
SELECT program, referrer, clicks, other_clicks, leads, qualifications, lead_rate, qualification_rate, value_minor
FROM funnel_over(from = '1970-01-01', to = '2299-12-31', referrer = '', by = 'referrer')
WHERE referrer != ''
ORDER BY program, qualifications DESC, leads DESC, clicks DESC, referrer
COMMENT 'Referrers, the most qualifications first.';
