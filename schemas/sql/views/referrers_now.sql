CREATE OR REPLACE VIEW referrers_now
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Id of the referrer within the program.',
    version UInt64 COMMENT 'Version of the registry with this change.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed.',
    name String COMMENT 'Name for people.',
    disabled Bool COMMENT 'Whether it is switched off.'
)
AS
SELECT n.program AS program, n.referrer AS referrer, n.version AS version, n.changed_at AS changed_at, n.name AS name, n.disabled AS disabled
FROM
(
    SELECT * FROM referrers ORDER BY program, referrer, version DESC LIMIT 1 BY program, referrer
) AS n
COMMENT 'Referrers as they are: one row each.';
