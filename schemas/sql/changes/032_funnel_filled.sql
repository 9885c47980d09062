-- What was counted by the hour stands at the hour's first quarter. One block under one token: two processes that migrate at
-- once fill it once.

INSERT INTO funnel_quarter_hourly
    (program, referrer, channel, quarter_hour, verdict, currency, clicks, other_clicks, leads, leads_by_click, leads_by_code, lead_events, qualification_events, value_minor)
SELECT
    program, referrer, channel, hour, verdict, currency,
    sum(people), sum(others), sum(persons), sum(by_click), sum(by_code), sum(lead_rows), sum(reached), sum(value)
FROM
(
    SELECT
        program, referrer, channel, hour, verdict, currency,
        if(verdict = 'human', clicks, 0) AS people, if(verdict = 'human', 0, clicks) AS others,
        toInt64(0) AS persons, toInt64(0) AS by_click, toInt64(0) AS by_code,
        leads AS lead_rows, qualifications AS reached, value_minor AS value
    FROM funnel_hourly
    UNION ALL
    SELECT
        program, referrer, channel, toStartOfHour(toDateTime(occurred_at, 'UTC')), '', '',
        0, 0, toInt64(person), if(evidence = 'token', toInt64(person), 0), if(evidence = 'code', toInt64(person), 0), 0, 0, 0
    FROM leads
    WHERE live
)
GROUP BY program, referrer, channel, hour, verdict, currency
SETTINGS insert_deduplication_token = 'migration_32', max_insert_threads = 1, max_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0;
