CREATE OR REPLACE VIEW review_queue_as_of
AS
SELECT
    program, reward_id, referrer, party, rule, open_minor AS amount_minor, currency, lead_id, risk, flags,
    evidence, reason, changed_at AS since, dateDiff('second', since, {at:DateTime64(3, 'UTC')}) AS age_seconds
FROM reward_states_as_of(at = {at:DateTime64(3, 'UTC')})
WHERE state = 'held'
ORDER BY since
COMMENT 'Rewards that waited for a person at a moment.';
