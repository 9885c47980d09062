-- A lead's newest row says all: what took the one before back is not announced.

CREATE MATERIALIZED VIEW outbound_leads TO outbound_messages AS
WITH hex(MD5(concat('lead/', toString(l.id), '/', toString(l.revision)))) AS h
SELECT
    l.partition AS partition, l.incarnation AS incarnation, l.offset AS offset, toUInt8(0) AS rank,
    toUUID(concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-8', substring(h, 14, 3), '-8', substring(h, 18, 3), '-', substring(h, 21, 12))) AS message_id,
    toLowCardinality(if(l.referrer != '', 'lead.credited', 'lead.uncredited')) AS type,
    l.program AS program, l.id AS lead_id, l.revision AS revision, l.occurred_at AS occurred_at, l.received_at AS received_at,
    l.referrer AS referrer, l.link AS link, l.channel AS channel, toLowCardinality(toString(l.evidence)) AS evidence,
    toString(l.reason) AS reason, l.click_id AS click_id, l.clicked_at AS clicked_at, l.source AS source
FROM leads AS l
WHERE l.live AND l.sign = 1;
