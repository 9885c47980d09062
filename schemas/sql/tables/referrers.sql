CREATE TABLE referrers
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Id of the referrer within the program.',
    version UInt64 COMMENT 'Version of the registry with this change.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed.',
    name String COMMENT 'Name for people.',
    disabled Bool COMMENT 'Whether it is switched off.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (program, referrer)
COMMENT 'Referrers as the registry had them: one row a change, the newest version counts.';
