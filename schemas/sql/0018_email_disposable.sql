-- Whether an event gave an email address of a mailbox that is thrown away after use: the address itself is not kept.

ALTER TABLE subject_keys
    ADD COLUMN IF NOT EXISTS email_disposable Bool AFTER live;
