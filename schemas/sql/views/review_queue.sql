CREATE OR REPLACE VIEW review_queue
(
    program LowCardinality(String) COMMENT 'Program.',
    reward_id UUID COMMENT 'Id of the reward.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    party String COMMENT 'referrer or referred: who gets it.',
    rule String COMMENT 'Id of the rule within the program.',
    amount_minor Int64 COMMENT 'What it is worth, in minor units of currency.',
    currency String COMMENT 'ISO 4217.',
    lead_id UUID COMMENT 'Event id of the lead.',
    risk UInt32 COMMENT 'Weight of flags.',
    flags Array(String) COMMENT 'What looked suspicious.',
    evidence String COMMENT 'What the flags or the refusal rest on, in words.',
    reason String COMMENT 'Why it is held.',
    since DateTime64(3, 'UTC') COMMENT 'When it was held.',
    age_seconds Int64 COMMENT 'Seconds since then.'
)
AS
SELECT
    program, reward_id, referrer, party, rule, open_minor AS amount_minor, currency, lead_id, risk, flags,
    evidence, reason, changed_at AS since, dateDiff('second', since, now64(3, 'UTC')) AS age_seconds
FROM reward_states
WHERE state = 'held'
ORDER BY since
COMMENT 'Rewards that wait for a person, the longest first.';
