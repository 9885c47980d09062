-- Dimensions: what the registry knew, one row a change; the newest version of an id is its present.

CREATE TABLE programs
(
    program String COMMENT 'Id of the program.',
    version UInt64 COMMENT 'Version of the registry with this change.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed.',
    name String COMMENT 'Name for people.',
    disabled Bool COMMENT 'Whether it is switched off.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY program
COMMENT 'Programs as the registry had them: one row a change, the newest version counts.';
