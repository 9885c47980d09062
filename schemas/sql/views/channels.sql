CREATE OR REPLACE VIEW channels
(
    program LowCardinality(String) COMMENT 'Program.',
    channel LowCardinality(String) COMMENT 'Channel of the link that was followed; empty: none.',
    referrers UInt64 COMMENT 'Referrers with a link in it.',
    clicks Int64 COMMENT 'Clicks of people.',
    leads Int64 COMMENT 'Leads.',
    qualifications Int64 COMMENT 'Qualifications.',
    lead_rate Nullable(Float64) COMMENT 'Leads for each click of a person; NULL without clicks.',
    qualification_rate Nullable(Float64) COMMENT 'Qualifications for each lead; NULL without leads.'
)
AS
SELECT
    program, channel,
    uniqExactIf(referrer, referrer != '') AS referrers,
    sum(f.clicks) AS clicks,
    sum(f.leads) AS leads,
    sum(f.qualifications) AS qualifications,
    round(leads / nullIf(clicks, 0), 4) AS lead_rate,
    round(qualifications / nullIf(leads, 0), 4) AS qualification_rate
FROM funnel AS f
GROUP BY program, channel
ORDER BY program, qualifications DESC, leads DESC, clicks DESC, channel
COMMENT 'Channels, the most qualifications first.';
