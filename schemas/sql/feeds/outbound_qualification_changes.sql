-- Of what takes a qualification from a lead and what gives it to one again, both of one revision, only the
-- latter is announced. Those without a lead wait; one that is stored without counting (`sign` 0) is nobody's news.

CREATE MATERIALIZED VIEW outbound_qualification_changes TO outbound_messages AS
WITH hex(MD5(concat('qualification/', toString(c.id), '/', toString(c.lead_id), '/', toString(c.revision)))) AS h
SELECT
    c.at_partition AS partition, c.at_incarnation AS incarnation, c.at_offset AS offset, toUInt8(1) AS rank,
    toUUID(concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-8', substring(h, 14, 3), '-8', substring(h, 18, 3), '-', substring(h, 21, 12))) AS message_id,
    toLowCardinality(if(c.newest.1 = 1, 'lead.qualified', 'lead.disqualified')) AS type,
    c.program AS program, c.lead_id AS lead_id, c.revision AS revision, c.newest.2 AS occurred_at, c.newest.3 AS received_at,
    c.newest.4 AS referrer, c.newest.5 AS link, c.newest.6 AS channel, toLowCardinality(toString(c.newest.7)) AS evidence,
    c.newest.8 AS click_id, c.newest.9 AS source, c.id AS qualification_id, c.newest.10 AS name,
    c.newest.11 AS value_minor, c.newest.12 AS currency, c.newest.13 = 1 AS is_person
FROM
(
    SELECT
        q.program AS program, q.id AS id, q.lead_id AS lead_id, q.revision AS revision,
        any(q.partition) AS at_partition, any(q.incarnation) AS at_incarnation, any(q.offset) AS at_offset,
        argMax((q.sign, q.occurred_at, q.received_at, q.referrer, q.link, q.channel, q.evidence, q.click_id, q.source, q.name, q.value_minor, q.currency, q.person), q.sign) AS newest
    FROM qualifications AS q
    WHERE q.live AND q.sign != 0 AND q.lead_id != toUUID('00000000-0000-0000-0000-000000000000')
    GROUP BY q.program, q.id, q.lead_id, q.revision
) AS c;
