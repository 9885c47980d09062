-- Payments and leads that several events tell of.

ALTER TABLE leads
    ADD COLUMN IF NOT EXISTS record UUID COMMENT 'The source''s record that it is, hashed; nil: it is a lead of its own.' AFTER first_lead,
    COMMENT COLUMN first_lead 'Event id of the person''s first lead, where that is another one; of an event about a record that another one stands for, the id of that.',
    COMMENT COLUMN sign '1, -1 on a row that takes another back, 0 on one that does not count: an earlier event tells of the same record.';

ALTER TABLE qualifications
    ADD COLUMN IF NOT EXISTS payments Array(FixedString(16)) COMMENT 'The names that its source has for the payment (invoice, intent, charge, session), hashed.' AFTER within_days,
    COMMENT COLUMN reason 'Why it does not count: not_first_payment, below_threshold, reached_before, other_currency, outside_window, taken_back or same_payment (another event tells of the payment). Empty where it counts.';

ALTER TABLE disqualifications
    ADD COLUMN IF NOT EXISTS payments Array(FixedString(16)) COMMENT 'The names it has for the payment, hashed.' AFTER qualification_id,
    COMMENT COLUMN qualification_id 'Event id of the qualification it names; nil: that of payments, or all of the person''s so far.',
    COMMENT COLUMN outcome 'waiting (for what it takes back), applied, repeated (all of it was taken back before), excess (more than was left), currency (nothing was paid in it), reinstated (all that it took was given again).';

ALTER TABLE identifies
    ADD COLUMN IF NOT EXISTS payments Array(FixedString(16)) COMMENT 'The names that it has for one payment, hashed.' AFTER keys;

ALTER TABLE subject_keys
    ADD COLUMN IF NOT EXISTS payments Array(FixedString(16)) COMMENT 'Those of them that are names of one payment.' AFTER keys,
    ADD COLUMN IF NOT EXISTS record UUID COMMENT 'Of a lead: the source''s record that it is, hashed; nil: it is a lead of its own.' AFTER payments,
    COMMENT COLUMN kind 'lead, qualification, disqualification, reinstatement, identify, participant, or erased: the key is suppressed.';
