-- Status: every lead and every qualification that waits for one, with its state now and its history.
--
-- `state`: qualified, lead (credited, nothing reached yet), refused (nobody is credited; `why` says why),
-- waiting (a qualification without its lead). Rows that were taken back cancel out; a qualification copies
-- the dimensions of its lead, so that both stand in one group.

CREATE VIEW status AS
SELECT
    program, live, referrer, channel, link, evidence, event_id,
    max(s.lead) AS lead,
    multiIf(sum(s.waiting) > 0, 'waiting', sum(s.qualified) > 0, 'qualified', referrer = '', 'refused', 'lead') AS state,
    max(s.reason) AS why,
    max(s.received) AS since,
    sum(s.qualified) AS qualifications,
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
        [(occurred_at, toString(name), id, sign)::Tuple(at DateTime64(3, 'UTC'), step String, id UUID, sign Int8)]
    FROM qualifications
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
HAVING sum(s.leads) > 0 OR sum(s.waiting) > 0;
