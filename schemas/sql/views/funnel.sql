-- Groups in which corrections have left nothing are left out.

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
    qualification_rate Nullable(Float64) COMMENT 'Qualifications for each lead; NULL without leads.'
)
AS
SELECT
    program, referrer, channel,
    sumIf(f.clicks, verdict = 'human') AS clicks,
    sumIf(f.clicks, verdict NOT IN ('human', '')) AS other_clicks,
    sum(f.leads) AS leads,
    sum(f.qualifications) AS qualifications,
    round(leads / nullIf(clicks, 0), 4) AS lead_rate,
    round(qualifications / nullIf(leads, 0), 4) AS qualification_rate
FROM funnel_daily AS f
GROUP BY program, referrer, channel
HAVING clicks != 0 OR other_clicks != 0 OR leads != 0 OR qualifications != 0
ORDER BY program, referrer, channel
COMMENT 'Clicks, leads and qualifications of every referrer and channel.';
