CREATE MATERIALIZED VIEW funnel_days TO funnel_daily AS
SELECT
    program, referrer, channel,
    toDate(quarter_hour, 'UTC') AS day,
    verdict, currency,
    sum(clicks) AS clicks,
    sum(other_clicks) AS other_clicks,
    sum(leads) AS leads,
    sum(leads_by_click) AS leads_by_click,
    sum(leads_by_code) AS leads_by_code,
    sum(qualified) AS qualified,
    sum(lead_events) AS lead_events,
    sum(qualification_events) AS qualification_events,
    sum(value_minor) AS value_minor
FROM funnel_quarter_hourly
GROUP BY program, referrer, channel, day, verdict, currency;
