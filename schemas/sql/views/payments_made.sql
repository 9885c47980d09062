-- What was paid, each payment of a reward on its own: lines that put a reward into the state issued, and what of the same
-- reward was taken out of it later. What is owed back is that of a payment which was made.

CREATE OR REPLACE VIEW payments_made
(
    program LowCardinality(String) COMMENT 'Program.',
    reference String COMMENT 'What the payment is known by.',
    paid_on Date COMMENT 'Day (UTC) on which whence was told.',
    referrer String COMMENT 'Who referred.',
    party String COMMENT 'referrer or referred: who got it.',
    reward_id UUID COMMENT 'Id of the reward.',
    rule String COMMENT 'Id of the rule within the program.',
    lead_id UUID COMMENT 'Event id of the lead.',
    paid_minor Int64 COMMENT 'What was paid, in minor units of currency.',
    owed_back_minor Int64 COMMENT 'What of it was taken back since, in minor units.',
    currency String COMMENT 'ISO 4217.',
    paid_by String COMMENT 'Who said that it was paid.'
)
AS
SELECT
    program, v.reference AS reference, v.paid_on AS paid_on, v.referrer AS referrer, v.party AS party, reward_id,
    v.rule AS rule, v.lead_id AS lead_id, v.paid AS paid_minor, v.paid - v.stands AS owed_back_minor, v.currency AS currency,
    v.paid_by AS paid_by
FROM
(
    SELECT
        program, reward_id, r.reference AS reference,
        toDate(argMin(r.received_at, (r.revision, -r.sign)), 'UTC') AS paid_on,
        argMin(r.referrer, (r.revision, -r.sign)) AS referrer, argMin(toString(r.party), (r.revision, -r.sign)) AS party,
        argMin(toString(r.rule), (r.revision, -r.sign)) AS rule, argMin(r.lead_id, (r.revision, -r.sign)) AS lead_id,
        argMin(toString(r.currency), (r.revision, -r.sign)) AS currency, argMin(r.decided_by, (r.revision, -r.sign)) AS paid_by,
        argMin(r.amount_minor, (r.revision, -r.sign)) AS paid,
        sum(r.sign * r.amount_minor) AS stands
    FROM rewards AS r
    WHERE r.state = 'issued'
    GROUP BY program, reward_id, reference
) AS v
ORDER BY program, paid_on, reference, reward_id
COMMENT 'Payments of rewards that were made, and what is owed back of them.';
