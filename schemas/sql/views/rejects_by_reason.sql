CREATE OR REPLACE VIEW rejects_by_reason
(
    stream LowCardinality(String) COMMENT 'clicks or conversions.',
    program LowCardinality(String) COMMENT 'Program.',
    kind LowCardinality(String) COMMENT 'Kind of event, where it could be read.',
    reason LowCardinality(String) COMMENT 'Why they became no facts.',
    live Bool COMMENT 'Whether it is live; tests are not.',
    records UInt64 COMMENT 'How many.',
    first_at DateTime64(3, 'UTC') COMMENT 'When the first was.',
    last_at DateTime64(3, 'UTC') COMMENT 'When the last was.'
)
AS
SELECT stream, program, kind, reason, live, count() AS records, min(received_at) AS first_at, max(received_at) AS last_at
FROM rejects
GROUP BY stream, program, kind, reason, live
ORDER BY records DESC
COMMENT 'Records that became no fact, by reason.';
