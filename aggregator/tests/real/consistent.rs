//! What must hold of any set of facts, whatever was sent.

/// What there must be none of, and the question that counts it. Rows are seen before their rollups are: what was sent
/// last may still be on its way.
pub const CONSISTENT: &[(&str, &str)] = &[
    ("offsets missing", "SELECT toUInt64(sum(abs(missing))) FROM reconciliation"),
    ("offsets twice", "SELECT toUInt64(sum(abs(extra))) FROM reconciliation"),
    ("clicks twice", "SELECT toUInt64(count() - uniqExact(id)) FROM clicks"),
    ("leads twice", "SELECT toUInt64(count() - uniqExact(id)) FROM leads WHERE revision = 0"),
    (
        "groups in which hourly rollup and raw differ",
        "SELECT count() FROM (
            SELECT program, referrer, channel, hour, verdict, sum(n) AS difference FROM (
                SELECT program, referrer, channel, toStartOfHour(toDateTime(ts, 'UTC')) AS hour,
                    toString(verdict) AS verdict, toInt64(sign) AS n FROM clicks WHERE live
                UNION ALL
                SELECT program, referrer, channel, hour, toString(verdict), -clicks FROM funnel_hourly WHERE clicks != 0)
            GROUP BY ALL HAVING difference != 0)",
    ),
    (
        "difference of the rollups' sums",
        "SELECT assumeNotNull(toUInt64(abs((SELECT sum(clicks) + 1000 * sum(leads) + 100000 * sum(qualifications) FROM funnel_hourly)
            - (SELECT sum(clicks) + 1000 * sum(leads) + 100000 * sum(qualifications) FROM funnel_daily))))",
    ),
    (
        "difference of leads and qualifications",
        "SELECT assumeNotNull(toUInt64(abs((SELECT sum(leads) + 100000 * sum(qualifications) FROM funnel_hourly)
            - (SELECT sum(sign) FROM leads WHERE live) - 100000 * (SELECT sum(sign) FROM qualifications WHERE live))))",
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
