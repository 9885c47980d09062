-- How a link was read out of what was asked for.

ALTER TABLE clicks
    ADD COLUMN IF NOT EXISTS reading LowCardinality(String) COMMENT 'How the link was read out of the request: case, decoded, trimmed, query or channel. Empty: its code as it stands.' AFTER made_by_reason;
