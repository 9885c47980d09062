-- All that is stored about a person of a program: clicks, leads with all the touches that they carried, qualifications,
-- what takes back, what gives again and what links names, what was found of clicks, terms, the lines of rewards, decisions and timers, and the
-- records of the person's that became no fact.
--
--     SELECT * FROM lineage(program = 'p', lead = '42')
--
-- `lead` is the caller's lead id as it is stored, an event id, a reward's id, or the key of a lead id or alias in hex. Leads
-- that share a key with one that is named, by themselves or through an event that names several keys, are the same person's.
-- Whoever was forgotten is found by no lead id and no key.
--
-- Columns mean by `step`: of `terms`, `detail` is their protobuf in base64; of `reward`, `event_id` is what caused the line,
-- `name` the rule, `value_minor` the amount and `detail` what its flags rest on; of `decision` and `timer`, `detail` is what
-- came of it; of `evidence`, `name` is the verdict, `detail` what looked, and `state` `found` or `missing`.

CREATE OR REPLACE VIEW lineage
AS
WITH
    toFixedString(substring(unhex({lead:String}), 1, 16), 16) AS named_key,
    toUUIDOrZero({lead:String}) AS named_id,
    toUUID('00000000-0000-0000-0000-000000000000') AS nil,
    -- No column of a table is called as a list is: it would come first.
    -- Each list is asked for once and is a constant to what follows: lists that are subqueries of each other are made again
    -- wherever they are named.
    (
        SELECT groupUniqArray(id) FROM
        (
            SELECT id FROM leads WHERE program = {program:String} AND lead = {lead:String} AND lead != ''
            UNION ALL
            SELECT event_id FROM subject_keys WHERE program = {program:String} AND key = named_key AND kind = 'lead'
        )
    ) AS named_by_key,
    (
        SELECT groupUniqArray(found) FROM
        (
            SELECT lead_id AS found FROM qualifications WHERE program = {program:String} AND id = named_id AND lead_id != nil
            UNION ALL
            SELECT lead_id FROM rewards WHERE program = {program:String} AND reward_id = named_id AND named_id != nil
            UNION ALL
            SELECT named_id WHERE named_id != nil
        )
    ) AS named_by_id,
    (
        SELECT arrayPushBack(groupUniqArrayArray(keys), named_key) FROM leads
        WHERE program = {program:String} AND (id IN named_by_key OR id IN named_by_id)
    ) AS own_keys,
    -- A person who was forgotten is found by no key: what is suppressed leads nowhere, from the erasure on. By ids their
    -- events are found as before, one by one.
    (
        SELECT count() > 0 FROM subject_keys WHERE program = {program:String} AND kind = 'erased' AND key IN own_keys
    ) AS is_forgotten,
    if(is_forgotten, named_by_id, arrayConcat(named_by_key, named_by_id)) AS named,
    if(is_forgotten, []::Array(FixedString(16)), own_keys) AS named_keys,
    (
        SELECT arrayConcat(groupUniqArrayArray(keys), named_keys) FROM subject_keys
        WHERE program = {program:String} AND kind NOT IN ('erased', 'participant') AND key IN named_keys
    ) AS near_keys,
    -- A refund may name a payment as only a third event knows it.
    (
        SELECT arrayConcat(groupUniqArrayArray(keys), near_keys) FROM subject_keys
        WHERE program = {program:String} AND kind NOT IN ('erased', 'participant') AND key IN near_keys
    ) AS linked_keys,
    -- A refund that came after the erasure may name somebody else, too.
    (
        SELECT groupUniqArray(key) FROM subject_keys
        WHERE program = {program:String} AND kind = 'erased' AND key IN
            (SELECT arrayJoin(keys) FROM subject_keys WHERE program = {program:String} AND key IN linked_keys)
    ) AS forgotten_keys,
    (
        SELECT (
            arrayDistinct(arrayConcat(named, groupUniqArrayIf(event_id, kind = 'lead'))),
            groupUniqArrayIf(event_id, kind IN ('waiting', 'qualification')),
            groupUniqArrayIf(event_id, kind IN ('disqualification', 'reinstatement', 'identify'))
        )
        FROM subject_keys
        WHERE program = {program:String} AND key IN linked_keys
            AND kind IN ('lead', 'waiting', 'qualification', 'disqualification', 'reinstatement', 'identify')
            AND NOT hasAny(keys, forgotten_keys)
    ) AS events,
    events.1 AS lead_ids,
    (
        SELECT arrayConcat(groupUniqArray(id), events.2) FROM qualifications
        WHERE program = {program:String}
            AND (lead_id IN lead_ids OR (lead = {lead:String} AND lead != '' AND NOT is_forgotten) OR (id = named_id AND id != nil))
    ) AS qualification_ids,
    (
        SELECT arrayConcat(groupUniqArray(id), events.3) FROM
        (
            SELECT id FROM disqualifications
            WHERE program = {program:String} AND qualification_id != nil AND qualification_id IN qualification_ids
            UNION ALL
            SELECT id FROM reinstatements
            WHERE program = {program:String} AND disqualification_id IN events.3
        )
    ) AS other_ids,
    (
        SELECT groupUniqArray(reward_id) FROM rewards WHERE program = {program:String} AND lead_id IN lead_ids
    ) AS reward_ids,
    (
        SELECT groupUniqArray(id) FROM reward_events
        WHERE program = {program:String} AND reward_id IN reward_ids
    ) AS decision_ids,
    (
        SELECT groupUniqArray(touch_click_id) FROM leads
        WHERE program = {program:String} AND id IN lead_ids AND touch_click_id != nil
    ) AS click_ids
SELECT * FROM
(
    SELECT 'click' AS step, ts AS at, ts AS received_at, id AS event_id, nil AS lead_id, '' AS lead,
        []::Array(FixedString(16)) AS keys, 'none' AS evidence, toString(reason) AS reason, referrer, link,
        toString(channel) AS channel, id AS click_id, ts AS clicked_at, '' AS model, toUInt64(0) AS window_ms,
        toString(verdict) AS name, '' AS detail, toInt64(0) AS value_minor, '' AS currency, '' AS source, live, sign,
        toUInt32(0) AS revision, incarnation, partition, offset,
        nil AS reward_id, '' AS state, '' AS party, '' AS decided_by, '' AS reference, toUInt32(0) AS risk,
        []::Array(String) AS flags, nil AS qualification_id, toDateTime64(0, 3, 'UTC') AS due_at, toUInt64(0) AS rules_version,
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String)) AS touches
    FROM clicks
    WHERE program = {program:String}
        AND ts IN arrayMap(id -> UUIDv7ToDateTime(id, 'UTC'), click_ids) AND id IN click_ids
    UNION ALL
    SELECT 'lead', occurred_at, received_at, id, id, lead,
        keys, toString(evidence), toString(reason), referrer, link,
        toString(channel), click_id, clicked_at, toString(model), window_ms,
        '', '', toInt64(0), '', toString(source), live, sign,
        revision, incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0),
        arrayMap(t -> (t.referrer, t.clicked_at, t.refused), touches)::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM leads
    WHERE program = {program:String} AND id IN lead_ids
    UNION ALL
    SELECT 'qualification', occurred_at, received_at, id, lead_id, lead,
        keys, toString(evidence), toString(q.reason), referrer, link,
        toString(channel), click_id, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(name), '', value_minor, toString(currency), toString(source), live, sign,
        revision, incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0),
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM qualifications AS q
    WHERE program = {program:String} AND id IN qualification_ids
    UNION ALL
    SELECT 'disqualification', occurred_at, received_at, id, nil, lead,
        keys, 'none', toString(outcome), '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(d.reason), '', taken_minor, toString(taken_currency), toString(source), live, sign,
        revision, incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0),
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM disqualifications AS d
    WHERE program = {program:String} AND id IN other_ids
    UNION ALL
    SELECT 'reinstatement', occurred_at, received_at, id, nil, lead,
        keys, 'none', toString(outcome), '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(b.reason), '', given_minor, toString(given_currency), toString(source), live, sign,
        revision, incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0),
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM reinstatements AS b
    WHERE program = {program:String} AND id IN other_ids
    UNION ALL
    SELECT 'identify', occurred_at, received_at, id, nil, lead,
        keys, 'none', '', '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        '', '', toInt64(0), '', toString(source), live, sign,
        revision, incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0),
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM identifies
    WHERE program = {program:String} AND id IN other_ids
    UNION ALL
    SELECT 'reject', received_at, received_at, event_id, nil, '',
        []::Array(FixedString(16)), 'none', toString(reason), '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(kind), detail, toInt64(0), '', '', live, toInt8(1),
        toUInt32(0), incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0),
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM rejects
    WHERE program = {program:String} AND stream = 'conversions'
        AND (event_id IN lead_ids OR event_id IN qualification_ids OR event_id IN other_ids OR event_id IN decision_ids)
    UNION ALL
    SELECT 'evidence', received_at, received_at, cause, lead_id, '',
        []::Array(FixedString(16)), 'none', toString(e.reason), '', '',
        '', click_id, clicked_at, '', toUInt64(0),
        if(e.found, toString(e.verdict), ''), toString(e.looked_by), toInt64(0), '', '', live, toInt8(1),
        toUInt32(0), incarnation, partition, offset,
        nil, if(e.found, 'found', 'missing'), '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0),
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM click_evidence AS e
    WHERE program = {program:String} AND lead_id IN lead_ids
    UNION ALL
    SELECT 'terms', received_at, received_at, t.qualification_id, nil, '',
        []::Array(FixedString(16)), 'none', '', '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        '', base64Encode(terms), toInt64(0), '', '', true, toInt8(1),
        toUInt32(0), incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), t.qualification_id, toDateTime64(0, 3, 'UTC'), registry_version,
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM reward_terms AS t
    WHERE program = {program:String} AND t.qualification_id IN qualification_ids
    UNION ALL
    SELECT 'reward', received_at, received_at, cause, lead_id, '',
        []::Array(FixedString(16)), 'none', reason, referrer, '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(rule), r.evidence, amount_minor, toString(r.currency), '', true, sign,
        revision, incarnation, partition, offset,
        r.reward_id, toString(r.state), toString(r.party), r.decided_by, r.reference, r.risk,
        r.flags::Array(String), r.qualification_id, r.due_at, r.rules_version,
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM rewards AS r
    WHERE program = {program:String} AND lead_id IN lead_ids
    UNION ALL
    SELECT toString(e.kind), occurred_at, received_at, id, nil, '',
        []::Array(FixedString(16)), 'none', e.reason, '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(e.decision), toString(e.outcome), paid_minor, '', toString(e.source), live, toInt8(1),
        e.revision, incarnation, partition, offset,
        e.reward_id, '', '', e.decided_by, e.reference, toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0),
        []::Array(Tuple(String, DateTime64(3, 'UTC'), String))
    FROM reward_events AS e
    WHERE program = {program:String} AND e.reward_id IN reward_ids
)
ORDER BY at, received_at, revision, sign, event_id, reward_id
COMMENT 'All that is stored about a person of a program, one line a row, the oldest first.';
