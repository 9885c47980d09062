-- How long credited leads took to reach what they reached, by its name: seconds from the lead to the first
-- qualification of that name.

CREATE OR REPLACE VIEW time_to_qualify
(
    program LowCardinality(String) COMMENT 'Program.',
    channel LowCardinality(String) COMMENT 'Channel of the link that was followed; empty: none.',
    name LowCardinality(String) COMMENT 'What was reached.',
    lead_events UInt64 COMMENT 'Leads that reached it; a person can have several.',
    median_seconds Int64 COMMENT 'Seconds from the lead to the first qualification of that name: half took no longer.',
    p90_seconds Int64 COMMENT 'Nine of ten took no longer.',
    max_seconds Int64 COMMENT 'None took longer.'
)
AS
SELECT
    program, channel, name,
    count() AS lead_events,
    quantileExact(0.5)(seconds) AS median_seconds,
    quantileExact(0.9)(seconds) AS p90_seconds,
    max(seconds) AS max_seconds
FROM
(
    SELECT q.program AS program, q.channel AS channel, q.name AS name,
        greatest(dateDiff('second', l.lead_at, q.first_at), 0) AS seconds
    FROM
    (
        SELECT program, channel, name, lead_id, min(occurred_at) AS first_at
        FROM
        (
            SELECT program, channel, name, lead_id, id, occurred_at
            FROM qualifications
            WHERE live AND referrer != ''
            GROUP BY program, channel, name, lead_id, id, occurred_at
            HAVING sum(sign) > 0
        )
        GROUP BY program, channel, name, lead_id
    ) AS q
    INNER JOIN
    (
        SELECT program, id, any(occurred_at) AS lead_at FROM leads WHERE live GROUP BY program, id
    ) AS l ON q.program = l.program AND q.lead_id = l.id
)
GROUP BY program, channel, name
ORDER BY program, channel, name
COMMENT 'How long credited leads took to reach what they reached.';
