CREATE OR REPLACE VIEW reward_balance_as_of
AS
SELECT
    program, referrer, party, currency,
    sumIf(sign * amount_minor, state = 'accrued') AS accrued,
    sumIf(sign * amount_minor, state = 'held') AS held,
    sumIf(sign * amount_minor, state = 'approved') AS approved,
    sumIf(sign * amount_minor, state = 'issued') AS issued,
    sumIf(sign * amount_minor, state = 'rejected') AS rejected,
    sumIf(sign * amount_minor, state = 'clawed_back') AS clawed_back
FROM rewards
WHERE received_at <= {at:DateTime64(3, 'UTC')}
GROUP BY program, referrer, party, currency
ORDER BY program, referrer, party, currency
COMMENT 'The same as it was believed at a moment: SELECT * FROM reward_balance_as_of(at = ''2026-03-31 23:59:59'').';
