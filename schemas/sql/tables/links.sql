CREATE TABLE links
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
ENGINE = ReplacingMergeTree(version)
ORDER BY link
COMMENT 'Links as the registry had them: one row a change, the newest version counts.';
