-- The keys of a person who was forgotten cease to lead to the person's events.

ALTER TABLE erasures
    ADD COLUMN IF NOT EXISTS rewards UInt64 COMMENT 'Rewards of the person''s, counted when the keys ceased to lead to them; 0 until then.' AFTER suppressed,
    ADD COLUMN IF NOT EXISTS linked Bool DEFAULT events > 0 COMMENT 'Whether the keys still lead to the person''s events: until all copies of these are blank.' AFTER rewards;

ALTER TABLE subject_keys
    COMMENT COLUMN key 'Keyed hash of a lead id or alias; in the events of a forgotten person, a random name in its place.';
