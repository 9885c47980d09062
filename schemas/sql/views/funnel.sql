CREATE OR REPLACE VIEW funnel
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    channel LowCardinality(String) COMMENT 'Channel of the link that was followed; empty: none.',
    clicks Int64 COMMENT 'Clicks of people.',
    other_clicks Int64 COMMENT 'Clicks of bots, previews and prefetches, HEAD requests and clicks on links that are switched off.',
    leads Int64 COMMENT 'Leads.',
    qualifications Int64 COMMENT 'Qualifications.',
    lead_rate Nullable(Float64) COMMENT 'Leads for each click of a person; NULL without clicks.',
    qualification_rate Nullable(Float64) COMMENT 'Qualifications for each lead; NULL without leads.',
    value_minor Map(String, Int64) COMMENT 'Value of the qualifications, in minor units of each currency.'
)
AS
SELECT program, referrer, channel, clicks, other_clicks, leads, qualifications, lead_rate, qualification_rate, value_minor
FROM funnel_over(from = '1970-01-01', to = '2299-12-31', referrer = '', by = '')
ORDER BY program, referrer, channel
COMMENT 'Clicks, leads and qualifications of every referrer and channel.';
