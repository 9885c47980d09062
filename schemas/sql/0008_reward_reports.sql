-- Reports on rewards. Amounts are minor units of the currency.

CREATE VIEW reward_balance AS
SELECT
    program, referrer, party, currency,
    sumIf(d.amount_minor, state = 'accrued') AS accrued,
    sumIf(d.amount_minor, state = 'held') AS held,
    sumIf(d.amount_minor, state = 'approved') AS approved,
    sumIf(d.amount_minor, state = 'issued') AS issued,
    sumIf(d.amount_minor, state = 'rejected') AS rejected,
    sumIf(d.amount_minor, state = 'clawed_back') AS clawed_back
FROM rewards_daily AS d
GROUP BY program, referrer, party, currency
ORDER BY program, referrer, party, currency;

-- The same as it was believed at a moment: SELECT * FROM reward_balance_as_of(at = '2026-03-31 23:59:59').

CREATE VIEW reward_balance_as_of AS
SELECT
    program, referrer, party, currency,
    sumIf(sign * amount_minor, state = 'accrued') AS accrued,
    sumIf(sign * amount_minor, state = 'held') AS held,
    sumIf(sign * amount_minor, state = 'approved') AS approved,
    sumIf(sign * amount_minor, state = 'issued') AS issued,
    sumIf(sign * amount_minor, state = 'rejected') AS rejected,
    sumIf(sign * amount_minor, state = 'clawed_back') AS clawed_back
FROM rewards
WHERE received_at <= {at:DateTime64(3, 'UTC')}
GROUP BY program, referrer, party, currency
ORDER BY program, referrer, party, currency;

-- Each reward as it stands, with the last change of the part of it that is open (or of all of it, where none is).

CREATE VIEW reward_states AS
SELECT
    program, reward_id,
    argMax(r.state, place) AS state,
    argMax(if(r.state IN ('rejected', 'clawed_back'), 0, r.amount_minor), place) AS open_minor,
    any(r.currency) AS currency, any(r.party) AS party, any(r.referrer) AS referrer, any(r.rule) AS rule,
    any(r.lead_id) AS lead_id, any(r.qualification_id) AS qualification_id,
    any(r.rules_version) AS rules_version, any(r.earned_at) AS earned_at, any(r.due_at) AS due_at,
    argMax(r.decided_by, place) AS decided_by, argMax(r.reason, place) AS reason,
    argMax(r.reference, place) AS reference, argMax(r.risk, place) AS risk, argMax(r.flags, place) AS flags,
    argMax(r.evidence, place) AS evidence, argMax(r.received_at, place) AS changed_at
FROM (
    SELECT *, (revision, state NOT IN ('rejected', 'clawed_back')) AS place
    FROM rewards
    WHERE sign = 1
) AS r
GROUP BY program, reward_id;

-- What waits for a person, the longest first.

CREATE VIEW review_queue AS
SELECT
    program, reward_id, referrer, party, rule, open_minor AS amount_minor, currency, lead_id, risk, flags,
    evidence, reason, changed_at AS since, dateDiff('second', since, now64(3, 'UTC')) AS age_seconds
FROM reward_states
WHERE state = 'held'
ORDER BY since;

-- What is to be paid. A `reward_decision` event with `issue` and the payment's reference takes it out of here.

CREATE VIEW payouts AS
SELECT
    program, referrer, party, reward_id, rule, open_minor AS amount_minor, currency, lead_id, qualification_id,
    earned_at, changed_at AS approved_at, decided_by
FROM reward_states
WHERE state = 'approved'
ORDER BY program, referrer, approved_at, reward_id;

-- Every consumed offset is one fact or one reject: `missing` and `extra` are 0, for every partition of
-- every incarnation of both streams.

CREATE OR REPLACE VIEW reconciliation AS
SELECT
    stream, incarnation, partition,
    min(offset) AS first_offset,
    max(offset) + 1 AS next_offset,
    count() AS records,
    uniqExact(offset) AS offsets,
    next_offset - first_offset - offsets AS missing,
    records - offsets AS extra
FROM
(
    SELECT 'clicks' AS stream, incarnation, partition, offset FROM clicks
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM leads WHERE revision = 0
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM qualifications WHERE revision = 0
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM disqualifications WHERE revision = 0
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM identifies WHERE revision = 0
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM participants WHERE revision = 0
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM shares WHERE revision = 0
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM erasures WHERE revision = 0
    UNION ALL
    SELECT 'conversions' AS stream, incarnation, partition, offset FROM reward_events WHERE revision = 0
    UNION ALL
    SELECT toString(stream) AS stream, incarnation, partition, offset FROM rejects
)
GROUP BY stream, incarnation, partition
ORDER BY stream, incarnation, partition;
