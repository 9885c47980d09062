-- What counts toward a referrer's caps and pace, asked for with every block that earns: found by referrer, without
-- reading the whole ledger of the program.

ALTER TABLE rewards
    ADD PROJECTION IF NOT EXISTS by_referrer
    (
        SELECT program, referrer, rule, sign, amount_minor, state, earned_at, incarnation, partition, offset
        ORDER BY program, referrer
    );

ALTER TABLE rewards
    MATERIALIZE PROJECTION by_referrer;
