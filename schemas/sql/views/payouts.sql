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
    revision UInt32 COMMENT 'Which change of the reward this is: what has another one since was changed.',
    referrer_name String COMMENT 'The referrer''s name for people, as the registry has it; empty: none.',
    lead Nullable(String) COMMENT 'The caller''s lead id, where the referred gets it; NULL: the referrer gets it, or the lead is forgotten.'
)
AS
SELECT
    s.program AS program, s.referrer AS referrer, s.party AS party, s.reward_id AS reward_id, s.rule AS rule,
    s.open_minor AS amount_minor, s.currency AS currency,
    s.lead_id AS lead_id, s.qualification_id AS qualification_id, s.earned_at AS earned_at, s.changed_at AS approved_at,
    s.decided_by AS decided_by, s.revision AS revision, r.name AS referrer_name,
    if(s.party = 'referred', nullIf(l.lead, ''), NULL) AS lead
FROM (SELECT * FROM reward_states WHERE state = 'approved') AS s
LEFT JOIN
(
    SELECT program, referrer, argMax(name, version) AS name FROM referrers GROUP BY program, referrer
) AS r ON s.program = r.program AND s.referrer = r.referrer
LEFT JOIN
(
    SELECT program, id, any(lead) AS lead FROM leads
    WHERE (program, id) IN (SELECT program, lead_id FROM reward_states WHERE state = 'approved' AND party = 'referred')
    GROUP BY program, id
) AS l ON s.program = l.program AND s.lead_id = l.id
ORDER BY program, referrer, approved_at, reward_id
COMMENT 'What is to be paid.';
