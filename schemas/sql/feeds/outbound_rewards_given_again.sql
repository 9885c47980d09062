-- Of a change that opens again what a refund had taken of a reward, the one line that it puts: the state is the same as
-- before, which `outbound_rewards` passes over.

CREATE MATERIALIZED VIEW outbound_rewards_given_again TO outbound_messages AS
WITH hex(MD5(concat('reward/', toString(c.reward_id), '/', toString(c.revision), '/', toString(line.1)))) AS h
SELECT
    c.at_partition AS partition, c.at_incarnation AS incarnation, c.at_offset AS offset, toUInt8(2) AS rank,
    toUUID(concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-8', substring(h, 14, 3), '-8', substring(h, 18, 3), '-', substring(h, 21, 12))) AS message_id,
    toLowCardinality(concat('reward.', toString(line.1))) AS type,
    c.program AS program, c.lead_id AS lead_id, c.revision AS revision, c.earned_at AS occurred_at, c.received_at AS received_at,
    c.referrer AS referrer, line.4 AS reason, c.qualification_id AS qualification_id, c.value_minor AS value_minor,
    c.currency AS currency, c.reward_id AS reward_id, c.rule AS rule, c.party AS party, line.2 AS amount_minor,
    c.open_minor AS open_minor, c.due_at AS due_at, line.3 AS decided_by, line.5 AS reference, c.flags AS flags
FROM
(
    SELECT
        r.program AS program, r.lead_id AS lead_id, r.reward_id AS reward_id, r.revision AS revision,
        any(r.partition) AS at_partition, any(r.incarnation) AS at_incarnation, any(r.offset) AS at_offset,
        any(r.earned_at) AS earned_at, any(r.received_at) AS received_at, any(r.referrer) AS referrer,
        any(r.qualification_id) AS qualification_id, any(r.value_minor) AS value_minor, any(r.currency) AS currency,
        any(r.rule) AS rule, any(r.party) AS party, any(r.due_at) AS due_at, any(r.flags) AS flags,
        groupArrayIf(r.state, r.sign = -1) AS former,
        sumIf(r.amount_minor, r.sign = 1 AND r.state NOT IN ('rejected', 'clawed_back')) AS open_minor,
        groupArrayIf((r.state, r.amount_minor, r.decided_by, r.reason, r.reference), r.sign = 1) AS lines
    FROM rewards AS r
    GROUP BY r.program, r.lead_id, r.reward_id, r.revision
) AS c
ARRAY JOIN c.lines AS line
WHERE length(c.lines) = 1 AND has(c.former, line.1) AND line.4 = 'reinstated';
