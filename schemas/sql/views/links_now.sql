CREATE OR REPLACE VIEW links_now
(
    link String COMMENT 'host/code.',
    version UInt64 COMMENT 'Version of the registry with this change.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed.',
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Whose link it is.',
    channel LowCardinality(String) COMMENT 'Where it is shared.',
    destination String COMMENT 'Where it leads.',
    disabled Bool COMMENT 'Whether it is switched off.'
)
AS
SELECT n.link AS link, n.version AS version, n.changed_at AS changed_at, n.program AS program, n.referrer AS referrer, n.channel AS channel, n.destination AS destination, n.disabled AS disabled
FROM
(
    SELECT * FROM links ORDER BY link, version DESC LIMIT 1 BY link
) AS n
COMMENT 'Links as they are: one row each.';
