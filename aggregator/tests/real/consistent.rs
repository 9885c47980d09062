//! What must hold of any set of facts, whatever was sent.

/// What there must be none of, and the question that counts it. Rows are seen before their rollups are: what was sent
/// last may still be on its way.
pub const CONSISTENT: &[(&str, &str)] = &[
    ("offsets missing", "SELECT toUInt64(sum(abs(missing))) FROM reconciliation"),
    ("offsets twice", "SELECT toUInt64(sum(abs(extra))) FROM reconciliation"),
    ("clicks twice", "SELECT toUInt64(count() - uniqExact(id)) FROM clicks"),
    ("leads twice", "SELECT toUInt64(count() - uniqExact(id)) FROM leads WHERE revision = 0"),
    (
        "groups in which the quarter-hour's rollup and raw differ",
        "SELECT count() FROM (
            SELECT program, referrer, channel, quarter_hour, verdict, sum(n) AS difference FROM (
                SELECT program, referrer, channel, toStartOfFifteenMinutes(toDateTime(ts, 'UTC')) AS quarter_hour,
                    toString(verdict) AS verdict, toInt64(sign) AS n FROM clicks WHERE live
                UNION ALL
                SELECT program, referrer, channel, quarter_hour, toString(verdict), -clicks - other_clicks
                    FROM funnel_quarter_hourly WHERE clicks != 0 OR other_clicks != 0)
            GROUP BY ALL HAVING difference != 0)",
    ),
    (
        "difference of the rollups' sums",
        "SELECT count() FROM (
            SELECT
                sum(f.clicks) AS c, sum(f.other_clicks) AS o, sum(f.leads) AS l, sum(f.leads_by_click) AS lc, sum(f.leads_by_code) AS lk,
                sum(f.qualified) AS q, sum(f.lead_events) AS le, sum(f.qualification_events) AS qe, sum(f.value_minor) AS v
            FROM (
                SELECT clicks, other_clicks, leads, leads_by_click, leads_by_code, qualified, lead_events, qualification_events, value_minor
                FROM funnel_quarter_hourly
                UNION ALL
                SELECT -clicks, -other_clicks, -leads, -leads_by_click, -leads_by_code, -qualified, -lead_events, -qualification_events, -value_minor
                FROM funnel_daily) AS f
            ) WHERE (c, o, l, lc, lk, q, le, qe, v) != (0, 0, 0, 0, 0, 0, 0, 0, 0)",
    ),
    (
        "sums of leads and qualifications that the rollup has otherwise",
        "SELECT count() FROM (
            SELECT sum(leads) AS persons, sum(qualified) AS reached, sum(lead_events) AS l, sum(qualification_events) AS q
            FROM funnel_quarter_hourly)
        WHERE (persons, l) != (SELECT (toInt64(sum(person)), toInt64(sum(sign))) FROM leads WHERE live)
            OR (reached, q) != (SELECT (toInt64(sum(person)), toInt64(sum(sign))) FROM qualifications WHERE live)",
    ),
    (
        "leads and qualifications that stand for less or more than a person",
        "SELECT count() FROM (
            SELECT id, sum(person) AS persons, sum(sign) AS stands FROM leads GROUP BY program, id
            UNION ALL SELECT id, sum(person), sum(sign) FROM qualifications GROUP BY program, id)
        WHERE persons NOT IN (0, 1) OR persons > stands",
    ),
    (
        "persons who qualified by a lead that does not stand for them",
        "SELECT count() FROM (
            SELECT program, lead_id FROM qualifications GROUP BY program, lead_id, id HAVING sum(person) = 1)
        WHERE (program, lead_id) NOT IN (SELECT program, id FROM leads GROUP BY program, id HAVING sum(person) = 1)",
    ),
    (
        "accrued rewards that the table of what is due has otherwise",
        "SELECT count() FROM (
            SELECT program, reward_id, due_at, sum(n) AS difference FROM (
                SELECT program, reward_id, due_at, toInt64(sign) AS n FROM rewards WHERE state = 'accrued'
                UNION ALL SELECT program, reward_id, due_at, -open FROM rewards_due)
            GROUP BY ALL HAVING difference != 0)",
    ),
    (
        "accruals that are not taken out by the line of the next revision",
        "SELECT count() FROM (
            SELECT sum(open) AS stands FROM rewards_due GROUP BY due_at, program, reward_id, revision
            HAVING stands NOT IN (0, 1))",
    ),
    (
        "days of which the rollup and the ledger of rewards differ",
        "SELECT count() FROM (
            SELECT program, referrer, party, rule, currency, day, state, sum(n) AS rewards, sum(minor) AS amount FROM (
                SELECT program, referrer, party, rule, currency, toDate(earned_at, 'UTC') AS day,
                    toString(state) AS state, toInt64(sign) AS n, sign * amount_minor AS minor FROM rewards
                UNION ALL
                SELECT program, referrer, party, rule, currency, day, toString(state), -rewards, -amount_minor FROM rewards_daily)
            GROUP BY ALL HAVING rewards != 0 OR amount != 0)",
    ),
    ("messages twice", "SELECT toUInt64(count() - uniqExact(message_id)) FROM outbound_messages"),
    (
        "leads whose last message is not what stands",
        "SELECT count() FROM (
            SELECT id, argMax((referrer, evidence, reason), revision) AS said FROM (
                SELECT lead_id AS id, referrer, evidence, reason, revision FROM outbound_messages WHERE type IN ('lead.credited', 'lead.uncredited'))
            GROUP BY id) AS m
        FULL JOIN (
            SELECT id, argMax((referrer, toString(evidence), toString(l.reason)), (revision, sign)) AS stands
            FROM leads AS l WHERE live GROUP BY id HAVING max(sign) = 1) AS l ON m.id = l.id
        WHERE said != stands",
    ),
    (
        "qualifications whose last message of a lead is not what stands",
        "SELECT count() FROM (
            SELECT qualification_id, lead_id, argMax(if(type = 'lead.qualified', value_minor + 1, 0), revision) AS said
            FROM outbound_messages WHERE type IN ('lead.qualified', 'lead.disqualified') GROUP BY ALL) AS m
        FULL JOIN (
            SELECT id, lead_id, sum(sign * (value_minor + 1)) AS stands FROM qualifications
            WHERE live AND lead_id != toUUID('00000000-0000-0000-0000-000000000000') GROUP BY ALL) AS q
        ON m.qualification_id = q.id AND m.lead_id = q.lead_id
        WHERE said != stands",
    ),
    (
        "rewards whose last message is not what stands",
        "SELECT count() FROM (
            SELECT reward_id, argMax(open_minor, revision) AS said FROM outbound_messages WHERE type LIKE 'reward.%' GROUP BY reward_id) AS m
        FULL JOIN (SELECT reward_id, open_minor AS stands FROM reward_states) AS r ON m.reward_id = r.reward_id
        WHERE said != stands",
    ),
];
