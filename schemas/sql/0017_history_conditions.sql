-- Conditions on a person's history: a qualification that has one counts where the person's other payments meet it.
-- One that does not is stored with `sign` 0 and a reason, so that no sum counts it.

ALTER TABLE qualifications
    ADD COLUMN IF NOT EXISTS condition LowCardinality(String) AFTER currency,
    ADD COLUMN IF NOT EXISTS threshold_minor Int64 AFTER condition,
    ADD COLUMN IF NOT EXISTS threshold_currency LowCardinality(String) AFTER threshold_minor,
    ADD COLUMN IF NOT EXISTS within_days UInt32 AFTER threshold_currency,
    ADD COLUMN IF NOT EXISTS reason LowCardinality(String) AFTER within_days;

-- What is stored and does not count, and why.

CREATE VIEW not_counted AS
SELECT
    q.program AS program, q.id AS id, q.lead AS lead, q.lead_id AS lead_id, q.referrer AS referrer, q.name AS name,
    q.reason AS reason, q.condition AS condition, q.threshold_minor AS threshold_minor,
    q.threshold_currency AS threshold_currency, q.within_days AS within_days, q.value_minor AS value_minor,
    q.currency AS currency, q.occurred_at AS occurred_at
FROM
(
    SELECT * FROM qualifications WHERE live AND condition != '' ORDER BY revision DESC, sign DESC LIMIT 1 BY program, id
) AS q
WHERE q.sign = 0
ORDER BY program, occurred_at, id;

-- Lineage (see 0015) with why a qualification does not count.

CREATE OR REPLACE VIEW lineage AS
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
        SELECT lead_id FROM rewards WHERE program = {program:String} AND reward_id = named_id AND named_id != nil
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
    ),
    earned AS
    (
        SELECT DISTINCT reward_id FROM rewards
        WHERE program = {program:String} AND lead_id IN (SELECT id FROM person)
    )
SELECT * FROM
(
    SELECT 'click' AS step, ts AS at, ts AS received_at, id AS event_id, nil AS lead_id, '' AS lead,
        []::Array(FixedString(16)) AS keys, 'none' AS evidence, toString(reason) AS reason, referrer, link,
        toString(channel) AS channel, id AS click_id, ts AS clicked_at, '' AS model, toUInt64(0) AS window_ms,
        toString(verdict) AS name, '' AS detail, toInt64(0) AS value_minor, '' AS currency, '' AS source, live, sign,
        toUInt32(0) AS revision, incarnation, partition, offset,
        nil AS reward_id, '' AS state, '' AS party, '' AS decided_by, '' AS reference, toUInt32(0) AS risk,
        []::Array(String) AS flags, nil AS qualification_id, toDateTime64(0, 3, 'UTC') AS due_at, toUInt64(0) AS rules_version
    FROM clicks
    WHERE program = {program:String}
        AND ts IN (SELECT UUIDv7ToDateTime(touch_click_id, 'UTC') FROM leads WHERE program = {program:String} AND id IN (SELECT id FROM person) AND touch_click_id != nil)
        AND id IN (SELECT touch_click_id FROM leads WHERE program = {program:String} AND id IN (SELECT id FROM person) AND touch_click_id != nil)
    UNION ALL
    SELECT 'lead', occurred_at, received_at, id, id, lead,
        keys, toString(evidence), toString(reason), referrer, link,
        toString(channel), click_id, clicked_at, toString(model), window_ms,
        '', '', toInt64(0), '', toString(source), live, sign,
        revision, incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0)
    FROM leads
    WHERE program = {program:String} AND id IN (SELECT id FROM person)
    UNION ALL
    SELECT 'qualification', occurred_at, received_at, id, lead_id, lead,
        keys, toString(evidence), toString(q.reason), referrer, link,
        toString(channel), click_id, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(name), '', value_minor, toString(currency), toString(source), live, sign,
        revision, incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0)
    FROM qualifications AS q
    WHERE program = {program:String} AND id IN (SELECT id FROM reached)
    UNION ALL
    SELECT 'disqualification', occurred_at, received_at, id, nil, lead,
        keys, 'none', toString(outcome), '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(d.reason), '', taken_minor, toString(taken_currency), toString(source), live, sign,
        revision, incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0)
    FROM disqualifications AS d
    WHERE program = {program:String} AND id IN (SELECT id FROM others)
    UNION ALL
    SELECT 'identify', occurred_at, received_at, id, nil, lead,
        keys, 'none', '', '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        '', '', toInt64(0), '', toString(source), live, sign,
        revision, incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0)
    FROM identifies
    WHERE program = {program:String} AND id IN (SELECT id FROM others)
    UNION ALL
    SELECT 'reject', received_at, received_at, event_id, nil, '',
        []::Array(FixedString(16)), 'none', toString(reason), '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(kind), detail, toInt64(0), '', '', live, toInt8(1),
        toUInt32(0), incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0)
    FROM rejects
    WHERE program = {program:String} AND stream = 'conversions'
        AND (event_id IN (SELECT id FROM person) OR event_id IN (SELECT id FROM reached) OR event_id IN (SELECT id FROM others))
    UNION ALL
    SELECT 'evidence', received_at, received_at, cause, lead_id, '',
        []::Array(FixedString(16)), 'none', toString(e.reason), '', '',
        '', click_id, clicked_at, '', toUInt64(0),
        if(e.found, toString(e.verdict), ''), toString(e.looked_by), toInt64(0), '', '', live, toInt8(1),
        toUInt32(0), incarnation, partition, offset,
        nil, if(e.found, 'found', 'missing'), '', '', '', toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0)
    FROM click_evidence AS e
    WHERE program = {program:String} AND lead_id IN (SELECT id FROM person)
    UNION ALL
    SELECT 'terms', received_at, received_at, t.qualification_id, nil, '',
        []::Array(FixedString(16)), 'none', '', '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        '', base64Encode(terms), toInt64(0), '', '', true, toInt8(1),
        toUInt32(0), incarnation, partition, offset,
        nil, '', '', '', '', toUInt32(0),
        []::Array(String), t.qualification_id, toDateTime64(0, 3, 'UTC'), registry_version
    FROM reward_terms AS t
    WHERE program = {program:String} AND t.qualification_id IN (SELECT id FROM reached)
    UNION ALL
    SELECT 'reward', received_at, received_at, cause, lead_id, '',
        []::Array(FixedString(16)), 'none', reason, referrer, '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(rule), r.evidence, amount_minor, toString(r.currency), '', true, sign,
        revision, incarnation, partition, offset,
        r.reward_id, toString(r.state), toString(r.party), r.decided_by, r.reference, r.risk,
        r.flags::Array(String), r.qualification_id, r.due_at, r.rules_version
    FROM rewards AS r
    WHERE program = {program:String} AND lead_id IN (SELECT id FROM person)
    UNION ALL
    SELECT toString(e.kind), occurred_at, received_at, id, nil, '',
        []::Array(FixedString(16)), 'none', e.reason, '', '',
        '', nil, toDateTime64(0, 3, 'UTC'), '', toUInt64(0),
        toString(e.decision), toString(e.outcome), paid_minor, '', toString(e.source), live, toInt8(1),
        e.revision, incarnation, partition, offset,
        e.reward_id, '', '', e.decided_by, e.reference, toUInt32(0),
        []::Array(String), nil, toDateTime64(0, 3, 'UTC'), toUInt64(0)
    FROM reward_events AS e
    WHERE program = {program:String} AND e.reward_id IN (SELECT reward_id FROM earned)
)
ORDER BY at, received_at, revision, sign, event_id, reward_id;

-- Status (see 0015): the history says why a qualification does not count.

CREATE OR REPLACE VIEW status AS
SELECT
    l.program AS program, l.live AS live, l.referrer AS referrer, l.channel AS channel, l.link AS link,
    l.evidence AS evidence, l.event_id AS event_id, l.lead AS lead,
    if(arrayExists(r -> r.open_minor > 0, w.rewards), 'rewarded', l.state) AS state,
    l.why AS why, l.since AS since, l.qualified AS qualifications, l.value_minor AS value_minor,
    arraySort(arrayConcat(l.history, w.history)) AS history,
    w.rewards AS rewards
FROM
(
    SELECT
        program, live, referrer, channel, link, evidence, event_id,
        max(s.lead) AS lead,
        multiIf(sum(s.waiting) > 0, 'waiting', sum(s.qualified) > 0, 'qualified', referrer = '', 'refused', 'lead') AS state,
        max(s.reason) AS why,
        max(s.received) AS since,
        sum(s.qualified) AS qualified,
        mapFilter((c, minor) -> minor != 0, sumMap(map(s.currency, s.value_minor))) AS value_minor,
        arraySort(groupArrayArray(100)(s.steps)) AS history
    FROM
    (
        SELECT program, live, referrer, toString(channel) AS channel, link, toString(evidence) AS evidence,
            id AS event_id, lead, toString(l.reason) AS reason, received_at AS received,
            toInt64(sign) AS leads, toInt64(0) AS qualified, toInt64(0) AS waiting, '' AS currency, toInt64(0) AS value_minor,
            if(clicked_at > toDateTime64(0, 3, 'UTC'),
                [(clicked_at, 'seen', click_id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8),
                 (occurred_at, 'lead', id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)],
                [(occurred_at, 'lead', id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)]) AS steps
        FROM leads AS l
        UNION ALL
        SELECT program, live, referrer, toString(channel), link, toString(evidence),
            lead_id, '', '', toDateTime64(0, 3, 'UTC'),
            toInt64(0), toInt64(sign), toInt64(0), toString(currency), sign * value_minor,
            [(occurred_at, if(sign = 0, concat(toString(name), ': ', toString(q.reason)), toString(name)), id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)]
        FROM qualifications AS q
        WHERE lead_id != toUUID('00000000-0000-0000-0000-000000000000')
        UNION ALL
        SELECT program, live, '', '', '', 'none',
            id, lead, 'no_lead_yet', received_at,
            toInt64(0), toInt64(0), toInt64(sign), toString(currency), sign * value_minor,
            [(occurred_at, toString(name), id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)]
        FROM qualifications
        WHERE lead_id = toUUID('00000000-0000-0000-0000-000000000000')
    ) AS s
    GROUP BY program, live, referrer, channel, link, evidence, event_id
    HAVING sum(s.leads) > 0 OR sum(s.waiting) > 0
) AS l
LEFT JOIN
(
    SELECT s.program AS program, s.lead_id AS lead_id, s.referrer AS referrer, s.rewards AS rewards, c.history AS history
    FROM
    (
        SELECT
            program, lead_id, referrer,
            arraySort(groupArray(100)((toString(rule), toString(party), toString(state), open_minor, toString(currency), reason, reward_id)
                ::Tuple(rule String, party String, state String, open_minor Int64, currency String, reason String, reward_id UUID))) AS rewards
        FROM reward_states
        GROUP BY program, lead_id, referrer
    ) AS s
    INNER JOIN
    (
        SELECT
            program, lead_id, referrer,
            groupArray(100)((received_at, toString(state), reward_id, sign)
                ::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)) AS history
        FROM rewards
        GROUP BY program, lead_id, referrer
    ) AS c ON s.program = c.program AND s.lead_id = c.lead_id AND s.referrer = c.referrer
) AS w ON l.program = w.program AND l.event_id = w.lead_id AND l.referrer = w.referrer;
