-- The day's rollup gets the columns of the quarter-hour's, and is fed by it from here on. The old feeds go first: what is
-- filled again is counted once.

DROP VIEW IF EXISTS funnel_hourly_clicks;
DROP VIEW IF EXISTS funnel_hourly_leads;
DROP VIEW IF EXISTS funnel_hourly_qualifications;
DROP VIEW IF EXISTS funnel_daily_feed;

TRUNCATE TABLE IF EXISTS funnel_quarter_hourly;
TRUNCATE TABLE IF EXISTS funnel_daily;

ALTER TABLE funnel_daily
    ADD COLUMN IF NOT EXISTS other_clicks SimpleAggregateFunction(sum, Int64) COMMENT 'Other requests: of bots, previews and prefetches, HEAD requests, and of anybody on a link that led nowhere.' AFTER clicks,
    ADD COLUMN IF NOT EXISTS leads_by_click SimpleAggregateFunction(sum, Int64) COMMENT 'Of leads, those that came by one of clicks.' AFTER leads,
    ADD COLUMN IF NOT EXISTS leads_by_code SimpleAggregateFunction(sum, Int64) COMMENT 'Of leads, those credited for a code that they named.' AFTER leads_by_click,
    ADD COLUMN IF NOT EXISTS qualified SimpleAggregateFunction(sum, Int64) COMMENT 'Persons who reached anything.' AFTER leads_by_code,
    ADD COLUMN IF NOT EXISTS lead_events SimpleAggregateFunction(sum, Int64) COMMENT 'Leads as they were sent: one person can have several.' AFTER qualified,
    ADD COLUMN IF NOT EXISTS qualification_events SimpleAggregateFunction(sum, Int64) COMMENT 'Qualifications: one person can have several.' AFTER lead_events,
    DROP COLUMN IF EXISTS qualifications,
    COMMENT COLUMN clicks 'Clicks of people.',
    COMMENT COLUMN leads 'Persons who became a lead.';
