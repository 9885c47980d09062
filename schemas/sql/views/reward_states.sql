-- All of a row is of one line: after the credit has moved, a reward may be another referrer's.

CREATE OR REPLACE VIEW reward_states
(
    program LowCardinality(String) COMMENT 'Program.',
    reward_id UUID COMMENT 'Id of the reward.',
    state Enum8('accrued' = 1, 'held' = 2, 'approved' = 3, 'issued' = 4, 'rejected' = 5, 'clawed_back' = 6) COMMENT 'Where the part of it stands that is open, or all of it.',
    open_minor Int64 COMMENT 'What of it is neither rejected nor taken back, in minor units of currency.',
    currency String COMMENT 'ISO 4217.',
    party String COMMENT 'referrer or referred: who gets it.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    rule String COMMENT 'Id of the rule within the program.',
    lead_id UUID COMMENT 'Event id of the lead.',
    qualification_id UUID COMMENT 'Event id of the qualification.',
    rules_version UInt64 COMMENT 'Version of the registry that the rule was taken from.',
    earned_at DateTime64(3, 'UTC') COMMENT 'When the qualification happened.',
    due_at DateTime64(3, 'UTC') COMMENT 'When it is to be approved.',
    decided_by String COMMENT 'Who made the last change: rules, timer, or whoever decided.',
    reason String COMMENT 'Why it was changed last.',
    reference String COMMENT 'What the payment is known by.',
    risk UInt32 COMMENT 'Weight of flags.',
    flags Array(String) COMMENT 'What looked suspicious.',
    evidence String COMMENT 'What the flags or the refusal rest on, in words.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When the part of it that is open was changed last.',
    revision UInt32 COMMENT 'Changes so far.'
)
AS
SELECT
    program, reward_id,
    argMax(r.state, place) AS state,
    argMax(if(r.state IN ('rejected', 'clawed_back'), 0, r.amount_minor), place) AS open_minor,
    argMax(r.currency, place) AS currency, argMax(r.party, place) AS party,
    argMax(r.referrer, place) AS referrer, argMax(r.rule, place) AS rule,
    argMax(r.lead_id, place) AS lead_id, argMax(r.qualification_id, place) AS qualification_id,
    argMax(r.rules_version, place) AS rules_version, argMax(r.earned_at, place) AS earned_at,
    argMax(r.due_at, place) AS due_at,
    argMax(r.decided_by, place) AS decided_by, argMax(r.reason, place) AS reason,
    argMax(r.reference, place) AS reference, argMax(r.risk, place) AS risk, argMax(r.flags, place) AS flags,
    argMax(r.evidence, place) AS evidence, argMax(r.received_at, place) AS changed_at,
    max(r.revision) AS revision
FROM (
    SELECT *, (revision, state NOT IN ('rejected', 'clawed_back')) AS place
    FROM rewards
    WHERE sign = 1
) AS r
GROUP BY program, reward_id
COMMENT 'Each reward as it stands.';
