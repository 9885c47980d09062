-- All that it counted is in funnel_quarter_hourly.

DROP TABLE IF EXISTS funnel_hourly
SYNC;
