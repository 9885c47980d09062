-- An event came under the id of one that was stored before, and says something else.

CREATE MATERIALIZED VIEW outbound_conflicts TO outbound_messages AS
WITH hex(MD5(concat('conflict/', toString(r.incarnation), '/', toString(r.partition), '/', toString(r.offset)))) AS h
SELECT
    r.partition AS partition, r.incarnation AS incarnation, r.offset AS offset, toUInt8(0) AS rank,
    toUUID(concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-8', substring(h, 14, 3), '-8', substring(h, 18, 3), '-', substring(h, 21, 12))) AS message_id,
    toLowCardinality('event.conflicting') AS type,
    r.program AS program, r.event_id AS lead_id, r.received_at AS occurred_at, r.received_at AS received_at,
    r.kind AS name, toString(r.reason) AS reason
FROM rejects AS r
WHERE r.live AND r.stream = 'conversions' AND r.reason = 'conflicting_body';
