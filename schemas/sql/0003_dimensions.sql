-- Dimensions: what the registry knew, one row a change; the newest version of an id is its present.

CREATE TABLE programs
(
    program String,
    version UInt64,
    changed_at DateTime64(3, 'UTC'),
    name String,
    disabled Bool
)
ENGINE = ReplacingMergeTree(version)
ORDER BY program;

CREATE TABLE referrers
(
    program LowCardinality(String),
    referrer String,
    version UInt64,
    changed_at DateTime64(3, 'UTC'),
    name String,
    disabled Bool
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (program, referrer);

CREATE TABLE links
(
    link String,
    version UInt64,
    changed_at DateTime64(3, 'UTC'),
    program LowCardinality(String),
    referrer String,
    channel LowCardinality(String),
    destination String,
    disabled Bool
)
ENGINE = ReplacingMergeTree(version)
ORDER BY link;
