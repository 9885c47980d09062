-- Without those of whom nothing is left, as the funnel has it: what
-- waited for its lead counted for nobody, in no channel, until the lead came.

CREATE OR REPLACE VIEW top_referrers
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred.',
    clicks Int64 COMMENT 'Clicks of people.',
    leads Int64 COMMENT 'Leads.',
    qualifications Int64 COMMENT 'Qualifications.',
    lead_rate Nullable(Float64) COMMENT 'Leads for each click of a person; NULL without clicks.',
    qualification_rate Nullable(Float64) COMMENT 'Qualifications for each lead; NULL without leads.'
)
AS
SELECT
    program, referrer,
    sum(f.clicks) AS clicks,
    sum(f.leads) AS leads,
    sum(f.qualifications) AS qualifications,
    round(leads / nullIf(clicks, 0), 4) AS lead_rate,
    round(qualifications / nullIf(leads, 0), 4) AS qualification_rate
FROM funnel AS f
WHERE referrer != ''
GROUP BY program, referrer
ORDER BY program, qualifications DESC, leads DESC, clicks DESC, referrer
COMMENT 'Referrers, the most qualifications first.';
