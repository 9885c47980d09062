-- Up to when everything is in: each click and event that was received before `through` stands in these tables. What
-- holds it back, and since when, is said where something does. Never goes back: of rows the one with the latest `through`
-- counts, and of those the newest.

CREATE TABLE completeness_clock
(
    scope LowCardinality(String),
    through DateTime64(3, 'UTC'),
    said_at DateTime64(3, 'UTC'),
    held_by String,
    held_since DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(through)
ORDER BY scope;

CREATE VIEW completeness AS
SELECT
    p.program AS program, c.through AS complete_through,
    dateDiff('second', c.through, now64(3, 'UTC')) AS behind_seconds,
    c.held_by AS held_by, c.held_since AS held_since, c.said_at AS said_at
FROM (SELECT DISTINCT program FROM programs) AS p
CROSS JOIN (SELECT * FROM completeness_clock FINAL) AS c
ORDER BY program;
