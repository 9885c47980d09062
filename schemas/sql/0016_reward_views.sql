-- Each reward as it stands, and as it was believed at a moment. All of a row is of one line: after the credit has
-- moved, a reward may be another referrer's.

CREATE OR REPLACE VIEW reward_states AS
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
GROUP BY program, reward_id;

CREATE VIEW reward_states_as_of AS
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
GROUP BY program, reward_id;

-- What is to be paid. `revision` says which change of the reward that is: what has another one since was changed.

CREATE OR REPLACE VIEW payouts AS
SELECT
    program, referrer, party, reward_id, rule, open_minor AS amount_minor, currency, lead_id, qualification_id,
    earned_at, changed_at AS approved_at, decided_by, revision
FROM reward_states
WHERE state = 'approved'
ORDER BY program, referrer, approved_at, reward_id;

CREATE VIEW payouts_as_of AS
SELECT
    program, referrer, party, reward_id, rule, open_minor AS amount_minor, currency, lead_id, qualification_id,
    earned_at, changed_at AS approved_at, decided_by, revision
FROM reward_states_as_of(at = {at:DateTime64(3, 'UTC')})
WHERE state = 'approved'
ORDER BY program, referrer, approved_at, reward_id;

CREATE VIEW review_queue_as_of AS
SELECT
    program, reward_id, referrer, party, rule, open_minor AS amount_minor, currency, lead_id, risk, flags,
    evidence, reason, changed_at AS since, dateDiff('second', since, {at:DateTime64(3, 'UTC')}) AS age_seconds
FROM reward_states_as_of(at = {at:DateTime64(3, 'UTC')})
WHERE state = 'held'
ORDER BY since;

-- What came of what was paid: the value that is left of a referrer's qualifications, by channel and currency, and
-- the rewards for them in the same currency, of both parties. `roi` is (value - cost) / cost, where the cost is all
-- that stands open; NULL without any.

CREATE VIEW reward_roi AS
SELECT
    program, referrer, channel, currency,
    sum(v.qualifications) AS qualifications, sum(v.value_minor) AS value_minor,
    sum(v.accrued) AS accrued, sum(v.held) AS held, sum(v.approved) AS approved, sum(v.issued) AS issued,
    sum(v.clawed_back) AS clawed_back,
    accrued + held + approved + issued AS cost_minor,
    round((value_minor - cost_minor) / nullIf(cost_minor, 0), 4) AS roi
FROM
(
    SELECT
        program, referrer, toString(channel) AS channel, toString(currency) AS currency,
        toInt64(sign) AS qualifications, sign * q.value_minor AS value_minor,
        toInt64(0) AS accrued, toInt64(0) AS held, toInt64(0) AS approved, toInt64(0) AS issued, toInt64(0) AS clawed_back
    FROM qualifications AS q
    WHERE live AND referrer != '' AND currency != ''
    UNION ALL
    SELECT
        r.program, r.referrer, c.channel, r.currency,
        toInt64(0), toInt64(0), r.accrued, r.held, r.approved, r.issued, r.clawed_back
    FROM
    (
        SELECT
            program, referrer, qualification_id, toString(r.currency) AS currency,
            sumIf(r.sign * r.amount_minor, r.state = 'accrued') AS accrued,
            sumIf(r.sign * r.amount_minor, r.state = 'held') AS held,
            sumIf(r.sign * r.amount_minor, r.state = 'approved') AS approved,
            sumIf(r.sign * r.amount_minor, r.state = 'issued') AS issued,
            sumIf(r.sign * r.amount_minor, r.state = 'clawed_back') AS clawed_back
        FROM rewards AS r
        GROUP BY program, referrer, qualification_id, currency
    ) AS r
    LEFT JOIN
    (
        SELECT program, id, referrer, argMax(toString(channel), revision) AS channel
        FROM qualifications
        WHERE live AND referrer != '' AND sign = 1
        GROUP BY program, id, referrer
    ) AS c ON r.program = c.program AND r.qualification_id = c.id AND r.referrer = c.referrer
) AS v
GROUP BY program, referrer, channel, currency
ORDER BY program, referrer, channel, currency;

-- The same for each rule, over the qualifications that earned it, or would have without a cap. A qualification
-- counts for every rule that it earned: the values of several rules don't add up.

CREATE VIEW reward_roi_by_rule AS
SELECT
    program, rule, party, currency,
    count() AS qualifications, sum(v.value) AS value_minor,
    sum(v.accrued) AS accrued, sum(v.held) AS held, sum(v.approved) AS approved, sum(v.issued) AS issued,
    sum(v.clawed_back) AS clawed_back,
    accrued + held + approved + issued AS cost_minor,
    round((value_minor - cost_minor) / nullIf(cost_minor, 0), 4) AS roi
FROM
(
    SELECT
        r.program AS program, r.rule AS rule, r.party AS party, r.currency AS currency,
        if(q.currency = r.currency, q.value, 0) AS value,
        r.accrued AS accrued, r.held AS held, r.approved AS approved, r.issued AS issued, r.clawed_back AS clawed_back
    FROM
    (
        SELECT
            program, toString(r.rule) AS rule, toString(r.party) AS party, qualification_id,
            toString(r.currency) AS currency,
            sumIf(r.sign * r.amount_minor, r.state = 'accrued') AS accrued,
            sumIf(r.sign * r.amount_minor, r.state = 'held') AS held,
            sumIf(r.sign * r.amount_minor, r.state = 'approved') AS approved,
            sumIf(r.sign * r.amount_minor, r.state = 'issued') AS issued,
            sumIf(r.sign * r.amount_minor, r.state = 'clawed_back') AS clawed_back
        FROM rewards AS r
        GROUP BY program, rule, party, qualification_id, currency
    ) AS r
    LEFT JOIN
    (
        SELECT program, id, toString(q.currency) AS currency, sum(q.sign * q.value_minor) AS value
        FROM qualifications AS q
        WHERE live AND referrer != ''
        GROUP BY program, id, currency
    ) AS q ON r.program = q.program AND r.qualification_id = q.id
) AS v
GROUP BY program, rule, party, currency
ORDER BY program, rule, party, currency;
