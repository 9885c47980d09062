-- The last byte of a click's id is 0 where it is not counted as a person's.

CREATE MATERIALIZED VIEW funnel_leads TO funnel_quarter_hourly AS
SELECT
    program, referrer, channel,
    toStartOfFifteenMinutes(toDateTime(occurred_at, 'UTC')) AS quarter_hour,
    sum(toInt64(person)) AS leads,
    sumIf(toInt64(person), evidence = 'token' AND NOT endsWith(toString(click_id), '00')) AS leads_by_click,
    sumIf(toInt64(person), evidence = 'code') AS leads_by_code,
    sum(toInt64(sign)) AS lead_events
FROM leads
WHERE live
GROUP BY program, referrer, channel, quarter_hour;
