-- Lineage: all that is stored about a person of a program, one line a row, oldest first: clicks, leads,
-- qualifications, what takes back and what links names, and the records of theirs that became no fact.
--
--     SELECT * FROM lineage(program = 'p', lead = '42')
--
-- `lead` is the caller's lead id as it is stored, an event id, or the key of a lead id or alias in hex.
-- Leads that share a key with one that is named, by themselves or through an event that names several keys,
-- are the same person's, and are lines too.

CREATE VIEW lineage AS
WITH
    toFixedString(substring(unhex({lead:String}), 1, 16), 16) AS named_key,
    toUUIDOrZero({lead:String}) AS named_id,
    toUUID('00000000-0000-0000-0000-000000000000') AS nil,
    named AS
    (
        SELECT id FROM leads WHERE program = {program:String} AND lead = {lead:String} AND lead != ''
        UNION DISTINCT
        SELECT event_id FROM subject_keys WHERE program = {program:String} AND key = named_key AND kind = 'lead'
        UNION DISTINCT
        SELECT lead_id FROM qualifications WHERE program = {program:String} AND id = named_id AND lead_id != nil
        UNION DISTINCT
        SELECT named_id WHERE named_id != nil
    ),
    named_keys AS
    (
        SELECT arrayJoin(keys) AS key FROM leads WHERE program = {program:String} AND id IN (SELECT id FROM named)
        UNION DISTINCT
        SELECT named_key
    ),
    linked_keys AS
    (
        SELECT key FROM named_keys
        UNION DISTINCT
        SELECT arrayJoin(keys) FROM subject_keys
        WHERE program = {program:String} AND kind NOT IN ('erased', 'participant') AND key IN (SELECT key FROM named_keys)
    ),
    person AS
    (
        SELECT id FROM named
        UNION DISTINCT
        SELECT event_id FROM subject_keys
        WHERE program = {program:String} AND kind = 'lead' AND key IN (SELECT key FROM linked_keys)
    ),
    reached AS
    (
        SELECT id FROM qualifications
        WHERE program = {program:String}
            AND (lead_id IN (SELECT id FROM person) OR (lead = {lead:String} AND lead != '') OR (id = named_id AND id != nil))
        UNION DISTINCT
        SELECT event_id FROM subject_keys
        WHERE program = {program:String} AND kind IN ('waiting', 'qualification') AND key IN (SELECT key FROM linked_keys)
    ),
    others AS
    (
        SELECT id FROM disqualifications
        WHERE program = {program:String} AND qualification_id != nil AND qualification_id IN (SELECT id FROM reached)
        UNION DISTINCT
        SELECT event_id FROM subject_keys
        WHERE program = {program:String} AND kind IN ('disqualification', 'identify') AND key IN (SELECT key FROM linked_keys)
    )
SELECT * FROM
(
    SELECT 'click' AS step, ts AS at, ts AS received_at, id AS event_id, nil AS lead_id, '' AS lead,
        []::Array(FixedString(16)) AS keys, 'none' AS evidence, toString(reason) AS reason, referrer, link,
        toString(channel) AS channel, id AS click_id, ts AS clicked_at, '' AS model, toUInt64(0) AS window_ms,
        toString(verdict) AS name, '' AS detail, toInt64(0) AS value_minor, '' AS currency, '' AS source, live, sign,
        toUInt32(0) AS revision, incarnation, partition, offset
    FROM clicks
    WHERE program = {program:String}
        AND ts IN (SELECT UUIDv7ToDateTime(touch_click_id, 'UTC') FROM leads WHERE program = {program:String} AND id IN (SELECT id FROM person) AND touch_click_id != nil)
        AND id IN (SELECT touch_click_id FROM leads WHERE program = {program:String} AND id IN (SELECT id FROM person) AND touch_click_id != nil)
    UNION ALL
    SELECT 'lead', occurred_at, received_at, id, id, lead,
        keys, toString(evidence), toString(reason), referrer, link,
        toString(channel), click_id, clicked_at, toString(model), window_ms,
        '', '', toInt64(0), '', toString(source), live, sign,
        revision, incarnation, partition, offset
    FROM leads
    WHERE program = {program:String} AND id IN (SELECT id FROM person)
    UNION ALL
    SELECT 'qualification', occurred_at, received_at, id, lead_id, lead,
        keys, toString(evidence), '', referrer, link,
        toString(channel), click_id, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(name), '', value_minor, toString(currency), toString(source), live, sign,
        revision, incarnation, partition, offset
    FROM qualifications
    WHERE program = {program:String} AND id IN (SELECT id FROM reached)
    UNION ALL
    SELECT 'disqualification', occurred_at, received_at, id, nil, lead,
        keys, 'none', toString(outcome), '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(d.reason), '', taken_minor, toString(taken_currency), toString(source), live, sign,
        revision, incarnation, partition, offset
    FROM disqualifications AS d
    WHERE program = {program:String} AND id IN (SELECT id FROM others)
    UNION ALL
    SELECT 'identify', occurred_at, received_at, id, nil, lead,
        keys, 'none', '', '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        '', '', toInt64(0), '', toString(source), live, sign,
        revision, incarnation, partition, offset
    FROM identifies
    WHERE program = {program:String} AND id IN (SELECT id FROM others)
    UNION ALL
    SELECT 'reject', received_at, received_at, event_id, nil, '',
        []::Array(FixedString(16)), 'none', toString(reason), '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(kind), detail, toInt64(0), '', '', live, toInt8(1),
        toUInt32(0), incarnation, partition, offset
    FROM rejects
    WHERE program = {program:String} AND stream = 'conversions'
        AND (event_id IN (SELECT id FROM person) OR event_id IN (SELECT id FROM reached) OR event_id IN (SELECT id FROM others))
)
ORDER BY at, received_at, revision, sign, event_id;
