-- The way from a referrer who joined to a reward, and where the most is lost. `reached` counts what `unit` says; `rate` is the
-- part of the step before that went on: of those who joined the ones who shared, of those who shared the ones whose link a
-- person clicked, of clicks those that made a lead, of leads the persons who reached anything, of those the ones with a reward.
-- The referrer of `whence try` has joined nothing.

CREATE OR REPLACE VIEW steps
(
    program LowCardinality(String) COMMENT 'Program.',
    place UInt8 COMMENT 'The step''s place, from 1.',
    step String COMMENT 'joined, shared, clicked, lead, qualified or rewarded.',
    unit String COMMENT 'What reached counts: referrers, clicks (of people) or persons.',
    reached Int64 COMMENT 'How many got here.',
    referrers Int64 COMMENT 'Referrers of whom any did.',
    rate Nullable(Float64) COMMENT 'The part of the step before that went on; NULL where no_rate says why.',
    no_rate String COMMENT 'Why there is no rate: first_step, nothing_before (nobody is at the step before), or other_cohort (more got here than were there, as with leads that came by no click). Empty where there is one.',
    biggest_drop Bool COMMENT 'Whether the most is lost on the way to this step.'
)
AS
SELECT
    program, s.place AS place, s.step AS step, s.unit AS unit, s.reached AS reached, s.referrers AS referrers, s.rate AS rate,
    s.no_rate AS no_rate,
    (s.rate IS NOT NULL AND s.place = argMin(s.place, (isNull(s.rate), ifNull(s.rate, 0), s.place)) OVER (PARTITION BY program))::Bool AS biggest_drop
FROM
(
    SELECT
        program, line.1 AS place, line.2 AS step, line.3 AS unit, line.4 AS reached, line.5 AS referrers,
        multiIf(place = 1, 'first_step', line.7 = 0, 'nothing_before', line.6 > line.7, 'other_cohort', '') AS no_rate,
        if(no_rate = '', round(line.6 / line.7, 4), NULL) AS rate
    FROM
    (
        SELECT
            program,
            uniqExactIf(p.referrer, p.has_joined) AS joined, uniqExactIf(p.referrer, p.has_shared) AS shared,
            uniqExactIf(p.referrer, p.has_shared AND p.has_joined) AS joined_and_shared,
            uniqExactIf(p.referrer, p.clicks > 0 AND p.has_shared) AS shared_and_clicked,
            uniqExactIf(p.referrer, p.clicks > 0) AS clicked, uniqExactIf(p.referrer, p.leads > 0) AS led,
            uniqExactIf(p.referrer, p.qualified > 0) AS reached, uniqExactIf(p.referrer, p.rewarded > 0) AS paid,
            arrayJoin([
                (1, 'joined', 'referrers', joined, joined, 0, 0),
                (2, 'shared', 'referrers', shared, shared, joined_and_shared, joined),
                (3, 'clicked', 'clicks', sum(p.clicks), clicked, shared_and_clicked, shared),
                (4, 'lead', 'persons', sum(p.leads), led, sum(p.by_click), sum(p.clicks)),
                (5, 'qualified', 'persons', sum(p.qualified), reached, sum(p.qualified), sum(p.leads)),
                (6, 'rewarded', 'persons', sum(p.rewarded), paid, sum(p.rewarded), sum(p.qualified))
            ]::Array(Tuple(UInt8, String, String, Int64, Int64, Int64, Int64))) AS line
        FROM
        (
            SELECT
                program, m.referrer AS referrer, max(m.has_joined) AS has_joined, max(m.has_shared) AS has_shared,
                sum(m.clicks) AS clicks, sum(m.leads) AS leads, sum(m.by_click) AS by_click, sum(m.qualified) AS qualified,
                sum(m.rewarded) AS rewarded
            FROM
            (
                SELECT program, referrer, true AS has_joined, false AS has_shared, toInt64(0) AS clicks, toInt64(0) AS leads,
                    toInt64(0) AS by_click, toInt64(0) AS qualified, toInt64(0) AS rewarded
                FROM (SELECT program, referrer FROM referrers WHERE referrer != 'whence-try' UNION DISTINCT SELECT program, referrer FROM participants WHERE live)
                UNION ALL
                SELECT DISTINCT program, referrer, false, true, 0, 0, 0, 0, 0 FROM shares WHERE live
                UNION ALL
                SELECT program, referrer, false, false, sum(f.clicks), sum(f.leads), sum(f.leads_by_click), sum(f.qualified), 0
                FROM funnel_daily AS f
                WHERE referrer != ''
                GROUP BY program, referrer
                UNION ALL
                SELECT program, referrer, false, false, 0, 0, 0, 0, toInt64(uniqExact(lead_id))
                FROM reward_states
                WHERE open_minor > 0
                GROUP BY program, referrer
            ) AS m
            GROUP BY program, referrer
            HAVING has_joined OR has_shared OR clicks != 0 OR leads != 0 OR qualified != 0 OR rewarded != 0
        ) AS p
        GROUP BY program
    )
) AS s
ORDER BY program, place
COMMENT 'The steps from a referrer who joined to a reward: how many got to each, and where the most is lost.';
