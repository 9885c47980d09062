CREATE MATERIALIZED VIEW rewards_due_feed TO rewards_due AS
SELECT
    r.due_at AS due_at, r.program AS program, r.reward_id AS reward_id,
    toUInt32(if(r.sign = 1, r.revision, r.revision - 1)) AS revision,
    r.partition AS partition, toInt64(r.sign) AS open
FROM rewards AS r
WHERE r.state = 'accrued';
