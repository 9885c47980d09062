CREATE OR REPLACE VIEW payouts_as_of
AS
SELECT
    s.program AS program, s.referrer AS referrer, s.party AS party, s.reward_id AS reward_id, s.rule AS rule,
    s.open_minor AS amount_minor, s.currency AS currency,
    s.lead_id AS lead_id, s.qualification_id AS qualification_id, s.earned_at AS earned_at, s.changed_at AS approved_at,
    s.decided_by AS decided_by, s.revision AS revision, r.name AS referrer_name,
    if(s.party = 'referred', nullIf(l.lead, ''), NULL) AS lead
FROM (SELECT * FROM reward_states_as_of(at = {at:DateTime64(3, 'UTC')}) WHERE state = 'approved') AS s
LEFT JOIN
(
    SELECT program, referrer, argMax(name, version) AS name FROM referrers GROUP BY program, referrer
) AS r ON s.program = r.program AND s.referrer = r.referrer
LEFT JOIN
(
    SELECT program, id, any(lead) AS lead FROM leads
    WHERE (program, id) IN (SELECT program, lead_id FROM reward_states_as_of(at = {at:DateTime64(3, 'UTC')}) WHERE state = 'approved' AND party = 'referred')
    GROUP BY program, id
) AS l ON s.program = l.program AND s.lead_id = l.id
ORDER BY program, referrer, approved_at, reward_id
COMMENT 'What was to be paid at a moment.';
