-- Top referrers and channels (see 0011) without those of whom nothing is left, as the funnel (see 0006) has it: what
-- waited for its lead counted for nobody, in no channel, until the lead came.

CREATE OR REPLACE VIEW top_referrers AS
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
ORDER BY program, qualifications DESC, leads DESC, clicks DESC, referrer;

CREATE OR REPLACE VIEW channels AS
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
ORDER BY program, qualifications DESC, leads DESC, clicks DESC, channel;
