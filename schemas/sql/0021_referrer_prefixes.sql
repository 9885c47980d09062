-- From where referrers joined and shared and persons became leads, as far as the caller says: keyed hashes of the /24
-- or /48 with the salt of that day, as clicks have them; 0 where it was not said. The projections find whether a
-- referrer was seen in a prefix.

ALTER TABLE subject_keys
    ADD COLUMN IF NOT EXISTS prefix UInt64 AFTER email_disposable;

ALTER TABLE participants
    ADD COLUMN IF NOT EXISTS prefix UInt64 AFTER keys;

ALTER TABLE participants
    ADD PROJECTION IF NOT EXISTS by_prefix
    (
        SELECT program, prefix, referrer, live, incarnation, partition, offset
        ORDER BY program, prefix, referrer
    );

ALTER TABLE shares
    ADD COLUMN IF NOT EXISTS prefix UInt64 AFTER channel;

ALTER TABLE shares
    ADD PROJECTION IF NOT EXISTS by_prefix
    (
        SELECT program, prefix, referrer, live, incarnation, partition, offset
        ORDER BY program, prefix, referrer
    );
