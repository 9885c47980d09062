-- A `reward_decision` event with `issue` and the payment's reference takes a reward out of here.

CREATE OR REPLACE VIEW payouts
(
    program LowCardinality(String) COMMENT 'Program.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    party String COMMENT 'referrer or referred: who gets it.',
    reward_id UUID COMMENT 'Id of the reward.',
    rule String COMMENT 'Id of the rule within the program.',
    amount_minor Int64 COMMENT 'What it is worth, in minor units of currency.',
    currency String COMMENT 'ISO 4217.',
    lead_id UUID COMMENT 'Event id of the lead.',
    qualification_id UUID COMMENT 'Event id of the qualification.',
    earned_at DateTime64(3, 'UTC') COMMENT 'When the qualification happened.',
    approved_at DateTime64(3, 'UTC') COMMENT 'When it was approved.',
    decided_by String COMMENT 'Who approved it.',
    revision UInt32 COMMENT 'Which change of the reward this is: what has another one since was changed.'
)
AS
SELECT
    program, referrer, party, reward_id, rule, open_minor AS amount_minor, currency, lead_id, qualification_id,
    earned_at, changed_at AS approved_at, decided_by, revision
FROM reward_states
WHERE state = 'approved'
ORDER BY program, referrer, approved_at, reward_id
COMMENT 'What is to be paid.';
