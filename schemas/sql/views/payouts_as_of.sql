CREATE OR REPLACE VIEW payouts_as_of
AS
SELECT
    program, referrer, party, reward_id, rule, open_minor AS amount_minor, currency, lead_id, qualification_id,
    earned_at, changed_at AS approved_at, decided_by, revision
FROM reward_states_as_of(at = {at:DateTime64(3, 'UTC')})
WHERE state = 'approved'
ORDER BY program, referrer, approved_at, reward_id
COMMENT 'What was to be paid at a moment.';
