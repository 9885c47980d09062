CREATE OR REPLACE VIEW completeness
(
    program String COMMENT 'Program.',
    complete_through DateTime64(3, 'UTC') COMMENT 'All that was received before this is stored.',
    behind_seconds Int64 COMMENT 'Seconds since then.',
    held_by String COMMENT 'What holds it back; empty: nothing.',
    held_since DateTime64(3, 'UTC') COMMENT 'Since when.',
    said_at DateTime64(3, 'UTC') COMMENT 'When that was found.'
)
AS
-- A program's conversions are in the partition that Kafka's own hash of its name gives, of as many as the newest rows say.
WITH
    clock AS (SELECT * FROM completeness_clock FINAL),
    toUInt32OrZero((SELECT extract(argMax(scope, said_at), '/([0-9]+)$') FROM clock WHERE scope != '')) AS partitions,
    concat('conversions-', toString(bitAnd(kafkaMurmurHash(p.program), 2147483647) % greatest(partitions, 1)), '/', toString(partitions)) AS own
SELECT
    p.program AS program, c.through AS complete_through,
    dateDiff('second', c.through, now64(3, 'UTC')) AS behind_seconds,
    c.held_by AS held_by, c.held_since AS held_since, c.said_at AS said_at
FROM (SELECT DISTINCT program FROM programs) AS p
CROSS JOIN clock AS c
WHERE c.scope = if(partitions = 0, '', own)
ORDER BY program
COMMENT 'Up to when everything of a program is in.';
