-- Who made a click, also where its link led nowhere.

ALTER TABLE clicks
    ADD COLUMN IF NOT EXISTS made_by Enum8('unspecified' = 0, 'human' = 1, 'bot' = 2, 'preview' = 3, 'prefetch' = 4, 'head' = 5, 'inactive' = 6) COMMENT 'Who clicked, wherever the link led: human, bot, preview, prefetch or head. Unspecified if the row stands for several requests.' AFTER reason,
    ADD COLUMN IF NOT EXISTS made_by_reason LowCardinality(String) COMMENT 'Why made_by; empty where that is unspecified.' AFTER made_by,
    COMMENT COLUMN verdict 'Who clicked; inactive, whoever it was, if the link led nowhere.';
