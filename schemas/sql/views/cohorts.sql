-- Leads by the week (from Monday) in which they came, and how many of them had reached anything
-- within so many days. Both are persons, and the first thing that a person reached counts: all is dated by the lead.

CREATE OR REPLACE VIEW cohorts
(
    program LowCardinality(String) COMMENT 'Program.',
    week Date COMMENT 'Monday of the week (UTC) in which the leads came.',
    leads UInt64 COMMENT 'Persons who became a lead in that week.',
    qualified_7d UInt64 COMMENT 'Of them, those who reached anything within 7 days.',
    qualified_30d UInt64 COMMENT 'Within 30 days.',
    qualified_90d UInt64 COMMENT 'Within 90 days.',
    qualified UInt64 COMMENT 'Of them, those who reached anything so far.',
    qualification_rate Float64 COMMENT 'qualified / leads.'
)
AS
SELECT
    program,
    toStartOfWeek(lead_at, 1, 'UTC') AS week,
    count() AS leads,
    countIf(is_qualified AND days < 7) AS qualified_7d,
    countIf(is_qualified AND days < 30) AS qualified_30d,
    countIf(is_qualified AND days < 90) AS qualified_90d,
    countIf(is_qualified) AS qualified,
    round(qualified / leads, 4) AS qualification_rate
FROM
(
    SELECT l.program AS program, l.lead_at AS lead_at, q.qualified > 0 AS is_qualified,
        dateDiff('second', l.lead_at, q.first_at) / 86400 AS days
    FROM
    (
        SELECT program, id, occurred_at AS lead_at
        FROM leads
        WHERE live
        GROUP BY program, id, occurred_at
        HAVING sum(person) > 0
    ) AS l
    LEFT JOIN
    (
        SELECT program, lead_id, occurred_at AS first_at, sum(person) AS qualified
        FROM qualifications
        WHERE live AND person != 0
        GROUP BY program, lead_id, occurred_at
        HAVING qualified > 0
    ) AS q ON l.program = q.program AND l.id = q.lead_id
)
GROUP BY program, week
ORDER BY program, week
COMMENT 'Leads by the week in which they came, and how many reached anything.';
