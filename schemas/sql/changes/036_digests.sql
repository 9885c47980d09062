-- What an event said, so that another one under its id is told.

ALTER TABLE leads
    ADD COLUMN IF NOT EXISTS digest UInt64 COMMENT 'Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.' AFTER live;

ALTER TABLE qualifications
    ADD COLUMN IF NOT EXISTS digest UInt64 COMMENT 'Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.' AFTER live;

ALTER TABLE disqualifications
    ADD COLUMN IF NOT EXISTS digest UInt64 COMMENT 'Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.' AFTER live;

ALTER TABLE reinstatements
    ADD COLUMN IF NOT EXISTS digest UInt64 COMMENT 'Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.' AFTER live;

ALTER TABLE identifies
    ADD COLUMN IF NOT EXISTS digest UInt64 COMMENT 'Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.' AFTER live;

ALTER TABLE participants
    ADD COLUMN IF NOT EXISTS digest UInt64 COMMENT 'Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.' AFTER live;

ALTER TABLE shares
    ADD COLUMN IF NOT EXISTS digest UInt64 COMMENT 'Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.' AFTER live;

ALTER TABLE erasures
    ADD COLUMN IF NOT EXISTS digest UInt64 COMMENT 'Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.' AFTER live;

ALTER TABLE reward_events
    ADD COLUMN IF NOT EXISTS digest UInt64 COMMENT 'Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.' AFTER live;
