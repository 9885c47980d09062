-- Every lead, and every qualification that waits for one. Rows that were taken back cancel out; a qualification copies the
-- dimensions of its lead, so that both stand in one group.
--
-- A lead that nobody is credited with is in the list of the referrer that its touches name, as uncredited, whatever the person
-- paid: the touch that would count, or, where all are out of the window, the last of them that the lead carried, which is the
-- one that `why` is about. Rewards that this referrer has for it from before are shown.

CREATE OR REPLACE VIEW status
(
    program LowCardinality(String) COMMENT 'Program.',
    live Bool COMMENT 'Whether it is live; tests are not.',
    referrer String COMMENT 'Who referred; empty: nobody.',
    channel String COMMENT 'Channel of the link that was followed; empty: none.',
    link String COMMENT 'host/code.',
    evidence String COMMENT 'On what the lead was credited.',
    event_id UUID COMMENT 'Event id of the lead, or of the qualification that waits for one.',
    lead String COMMENT 'The caller''s lead id, or its keyed hash in hex.',
    state String COMMENT 'rewarded, qualified, lead (credited, nothing reached yet), uncredited (nobody is credited: why says why) or waiting (a qualification without its lead).',
    why String COMMENT 'Why nobody is credited, or why better evidence was refused.',
    since DateTime64(3, 'UTC') COMMENT 'When the newest of it was received.',
    qualification_events Int64 COMMENT 'Qualifications that count.',
    value_minor Map(String, Int64) COMMENT 'Their value by currency, in minor units.',
    history Array(Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)) COMMENT 'What happened, the oldest first: when, what, the event or reward, and 1, -1 for what was taken back or 0 for what does not count (conflicting_body: another event came under the id of this one).',
    rewards Array(Tuple(rule String, party String, state String, open_minor Int64, currency String, reason String, reward_id UUID)) COMMENT 'Rewards for the lead, as they stand.',
    left_out UInt64 COMMENT 'Steps and rewards beyond those that history and rewards show, which are 100 of each table; lineage has all.'
)
AS
SELECT
    l.program AS program, l.live AS live, l.referrer AS referrer, l.channel AS channel, l.link AS link,
    l.evidence AS evidence, l.event_id AS event_id, l.lead AS lead,
    if(arrayExists(r -> r.open_minor > 0, w.rewards), 'rewarded', l.state) AS state,
    l.why AS why, l.since AS since, l.qualified AS qualification_events, l.value_minor AS value_minor,
    arraySort(arrayConcat(l.history, w.history, k.history)) AS history,
    w.rewards AS rewards,
    l.left_out + w.left_out + k.left_out AS left_out
FROM
(
    SELECT
        program, live, evidence, event_id,
        max(s.named) AS named,
        if(s.credited = '', named.referrer, s.credited) AS referrer,
        if(s.credited = '', named.link, s.credited_link) AS link,
        if(s.credited = '', named.channel, s.credited_channel) AS channel,
        max(s.lead) AS lead,
        multiIf(
            sum(s.waiting) > 0, 'waiting',
            s.credited = '', 'uncredited',
            sum(s.qualified) > 0, 'qualified',
            'lead') AS state,
        max(s.reason) AS why,
        max(s.received) AS since,
        sum(s.qualified) AS qualified,
        mapFilter((c, minor) -> minor != 0, sumMap(map(s.currency, s.value_minor))) AS value_minor,
        arraySort(groupArrayArray(100)(s.steps)) AS history,
        toUInt64(sum(length(s.steps)) - length(history)) AS left_out
    FROM
    (
        SELECT program, live, l.referrer AS credited, toString(l.channel) AS credited_channel, l.link AS credited_link,
            toString(evidence) AS evidence,
            arrayLast(t -> t.referrer != '',
                arrayConcat(
                    arrayMap(t -> (t.referrer, t.link, t.channel)::Tuple(referrer String, link String, channel String), touches),
                    [(touch_referrer, touch_link, toString(touch_channel))::Tuple(referrer String, link String, channel String)])) AS named,
            id AS event_id, lead, toString(l.reason) AS reason, received_at AS received,
            toInt64(sign) AS leads, toInt64(0) AS qualified, toInt64(0) AS waiting, '' AS currency, toInt64(0) AS value_minor,
            if(clicked_at > toDateTime64(0, 3, 'UTC'),
                [(clicked_at, 'seen', click_id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8),
                 (occurred_at, 'lead', id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)],
                [(occurred_at, 'lead', id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)]) AS steps
        FROM leads AS l
        UNION ALL
        SELECT program, live, referrer, toString(channel), link, toString(evidence),
            ('', '', '')::Tuple(referrer String, link String, channel String),
            lead_id, '', '', toDateTime64(0, 3, 'UTC'),
            toInt64(0), toInt64(sign), toInt64(0), toString(currency), sign * value_minor,
            [(occurred_at, if(sign = 0, concat(toString(name), ': ', toString(q.reason)), toString(name)), id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)]
        FROM qualifications AS q
        WHERE lead_id != toUUID('00000000-0000-0000-0000-000000000000')
        UNION ALL
        SELECT program, live, '', '', '', 'none',
            ('', '', '')::Tuple(referrer String, link String, channel String),
            id, lead, 'no_lead_yet', received_at,
            toInt64(0), toInt64(0), toInt64(sign), toString(currency), sign * value_minor,
            [(occurred_at, toString(name), id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)]
        FROM qualifications
        WHERE lead_id = toUUID('00000000-0000-0000-0000-000000000000')
    ) AS s
    GROUP BY program, live, s.credited, s.credited_channel, s.credited_link, evidence, event_id
    HAVING sum(s.leads) > 0 OR sum(s.waiting) > 0
) AS l
LEFT JOIN
(
    SELECT s.program AS program, s.lead_id AS lead_id, s.referrer AS referrer, s.rewards AS rewards, c.history AS history,
        toUInt64(s.count - length(s.rewards) + c.count - length(c.history)) AS left_out
    FROM
    (
        SELECT
            program, lead_id, referrer,
            arraySort(groupArray(100)((toString(rule), toString(party), toString(state), open_minor, toString(currency), reason, reward_id)
                ::Tuple(rule String, party String, state String, open_minor Int64, currency String, reason String, reward_id UUID))) AS rewards,
            count() AS count
        FROM reward_states
        GROUP BY program, lead_id, referrer
    ) AS s
    INNER JOIN
    (
        SELECT
            program, lead_id, referrer,
            groupArray(100)((received_at, toString(state), reward_id, sign)
                ::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)) AS history,
            count() AS count
        FROM rewards
        GROUP BY program, lead_id, referrer
    ) AS c ON s.program = c.program AND s.lead_id = c.lead_id AND s.referrer = c.referrer
) AS w ON l.program = w.program AND l.event_id = w.lead_id AND l.referrer = w.referrer
LEFT JOIN
(
    SELECT
        program, lead_id,
        groupArray(100)((received_at, 'conflicting_body', event_id, toInt8(0))
            ::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)) AS history,
        toUInt64(count() - length(history)) AS left_out
    FROM
    (
        SELECT DISTINCT r.program AS program, r.received_at AS received_at, r.event_id AS event_id, o.lead_id AS lead_id
        FROM
        (
            SELECT program, received_at, event_id FROM rejects
            WHERE reason = 'conflicting_body' AND stream = 'conversions'
        ) AS r
        INNER JOIN
        (
            -- Of whose lead an event is: it is one, a qualification of one, or what names a key of either.
            SELECT program, event_id AS id, event_id AS lead_id FROM rejects
            WHERE reason = 'conflicting_body' AND stream = 'conversions'
            UNION ALL
            SELECT program, id, argMax(q.lead_id, (q.revision, q.sign)) AS lead_id FROM qualifications AS q
            WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions')
            GROUP BY program, id
            UNION ALL
            SELECT n.program AS program, n.id AS id, t.lead_id AS lead_id
            FROM
            (
                SELECT program, id, arrayJoin(keys) AS key FROM disqualifications WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions')
                UNION ALL
                SELECT program, id, arrayJoin(keys) FROM reinstatements WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions')
                UNION ALL
                SELECT program, id, arrayJoin(keys) FROM identifies WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions')
            ) AS n
            INNER JOIN
            (
                SELECT program, key, event_id AS lead_id FROM subject_keys
                WHERE kind = 'lead' AND key IN
                (
                    SELECT arrayJoin(keys) FROM disqualifications WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions')
                    UNION ALL
                    SELECT arrayJoin(keys) FROM reinstatements WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions')
                    UNION ALL
                    SELECT arrayJoin(keys) FROM identifies WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions')
                )
            ) AS t ON n.program = t.program AND n.key = t.key
            UNION ALL
            SELECT e.program AS program, e.id AS id, w.lead_id AS lead_id
            FROM (SELECT program, id, reward_id FROM reward_events WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions')) AS e
            INNER JOIN
            (
                SELECT program, reward_id, lead_id FROM rewards
                WHERE reward_id IN (SELECT reward_id FROM reward_events WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions'))
            ) AS w ON e.program = w.program AND e.reward_id = w.reward_id
            UNION ALL
            SELECT d.program AS program, d.id AS id, p.lead_id AS lead_id
            FROM (SELECT program, id, qualification_id FROM disqualifications WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions')) AS d
            INNER JOIN
            (
                SELECT program, id, argMax(q.lead_id, (q.revision, q.sign)) AS lead_id FROM qualifications AS q
                WHERE id IN (SELECT qualification_id FROM disqualifications WHERE id IN (SELECT event_id FROM rejects WHERE reason = 'conflicting_body' AND stream = 'conversions'))
                GROUP BY program, id
            ) AS p ON d.program = p.program AND d.qualification_id = p.id
        ) AS o ON r.program = o.program AND r.event_id = o.id
    )
    GROUP BY program, lead_id
) AS k ON l.program = k.program AND l.event_id = k.lead_id
COMMENT 'Leads, and qualifications that wait for one, by the referrer who is credited with them or that they name, with state and history.';
