-- As `reward_states`, of what was received until `at`.

CREATE OR REPLACE VIEW reward_states_as_of
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
    WHERE sign = 1 AND received_at <= {at:DateTime64(3, 'UTC')}
) AS r
GROUP BY program, reward_id
COMMENT 'Each reward as it was believed to stand at a moment.';
