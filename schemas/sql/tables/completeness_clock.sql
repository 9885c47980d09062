-- Up to when everything is in: each click and event that was received before `through` stands in these tables. What
-- holds it back, and since when, is said where something does. Never goes back: of rows the one with the latest `through`
-- counts, and of those the newest.

CREATE TABLE completeness_clock
(
    scope LowCardinality(String) COMMENT 'Empty: everything.',
    through DateTime64(3, 'UTC') COMMENT 'All that was received before this is stored.',
    said_at DateTime64(3, 'UTC') COMMENT 'When that was found.',
    held_by String COMMENT 'What holds it back; empty: nothing.',
    held_since DateTime64(3, 'UTC') COMMENT 'Since when.'
)
ENGINE = ReplacingMergeTree(through)
ORDER BY scope
COMMENT 'Up to when everything is in.';
