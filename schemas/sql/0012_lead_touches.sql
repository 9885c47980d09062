-- All touches of a lead, not only the one that is credited: who would be credited under other rules can be
-- computed from them. Of a token that proves nothing only the reason is kept.

ALTER TABLE leads
    ADD COLUMN IF NOT EXISTS touches Array(Tuple(click_id UUID, clicked_at DateTime64(3, 'UTC'), referrer String, link String, channel String, refused String)) AFTER touch_clicked_at;
