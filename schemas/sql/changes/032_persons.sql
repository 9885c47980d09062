-- The unit of the funnel is a person: one lead and one qualification stand for it.
--
-- Leads that were stored before have it on the person's first lead. Qualifications that were stored before have it from
-- the next event of their person on.

ALTER TABLE leads
    ADD COLUMN IF NOT EXISTS person Int8 DEFAULT if(first_lead = toUUID('00000000-0000-0000-0000-000000000000'), sign, 0) COMMENT 'Of the one lead that stands for its person in the program 1, taken back -1; of other leads 0.' AFTER live;

ALTER TABLE qualifications
    ADD COLUMN IF NOT EXISTS person Int8 COMMENT 'Of the person''s first qualification that counts and has a lead 1, taken back -1; of others 0.' AFTER live;

DROP VIEW IF EXISTS outbound_leads;
DROP VIEW IF EXISTS outbound_qualifications;

ALTER TABLE outbound_messages
    ADD COLUMN IF NOT EXISTS is_person Bool COMMENT 'Whether the lead stands for its person in the program, or the qualification is the first of its person that counts.' AFTER flags;
