-- A lead that was announced and does not count any more: an event that was received earlier tells of the same record. What
-- takes it back and what stands for it without counting are of one revision; `outbound_leads` passes over both.

CREATE MATERIALIZED VIEW outbound_leads_told_again TO outbound_messages AS
WITH hex(MD5(concat('lead/', toString(c.id), '/', toString(c.revision)))) AS h
SELECT
    c.at_partition AS partition, c.at_incarnation AS incarnation, c.at_offset AS offset, toUInt8(0) AS rank,
    toUUID(concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-8', substring(h, 14, 3), '-8', substring(h, 18, 3), '-', substring(h, 21, 12))) AS message_id,
    toLowCardinality('lead.uncredited') AS type,
    c.program AS program, c.id AS lead_id, c.revision AS revision, c.newest.1 AS occurred_at, c.newest.2 AS received_at,
    toLowCardinality(toString(c.newest.3)) AS evidence, c.newest.4 AS reason, c.newest.5 AS source
FROM
(
    SELECT
        l.program AS program, l.id AS id, l.revision AS revision,
        any(l.partition) AS at_partition, any(l.incarnation) AS at_incarnation, any(l.offset) AS at_offset,
        argMax((l.occurred_at, l.received_at, l.evidence, toString(l.reason), l.source), l.sign) AS newest
    FROM leads AS l
    WHERE l.live
    GROUP BY l.program, l.id, l.revision
    HAVING min(l.sign) = -1 AND max(l.sign) = 0
) AS c;
