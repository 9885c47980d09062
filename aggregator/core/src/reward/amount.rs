//! How much: tiers, shares of a value, what is left after a refund. Whole minor units, rounded down: whence
//! never promises a fraction of a cent more than the terms say.

use whence_schemas::{
    event::{RewardRule, reward_tier::Amount},
    reward::PPM_WHOLE,
};

/// Why a rule gives nothing for a qualification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nothing {
    /// The value is in another currency.
    Currency,
    /// The share of the value is less than a minor unit.
    TooSmall,
}

/// The amount that `rule` gives for a value, to a referrer who has `count` rewards of it already.
pub(super) fn amount(
    rule: &RewardRule,
    count: u64,
    value_minor: i64,
    currency: &str,
) -> Result<i64, Nothing> {
    let tier = rule.tiers.iter().rev().find(|tier| u64::from(tier.from) <= count);
    let amount = match tier.and_then(|tier| tier.amount) {
        None => return Err(Nothing::TooSmall),
        Some(Amount::FixedMinor(minor)) => minor,
        Some(Amount::ValuePpm(_)) if currency != rule.currency => return Err(Nothing::Currency),
        Some(Amount::ValuePpm(ppm)) => part(value_minor, i64::from(ppm), i64::from(PPM_WHOLE)),
    };
    let amount = match rule.reward_max_minor {
        0 => amount,
        max => amount.min(max),
    };
    if amount > 0 { Ok(amount) } else { Err(Nothing::TooSmall) }
}

/// What stays of a reward of `given` when `left` is left of the value it was given for. A reward for something
/// without a value stays whole.
pub(super) fn kept(given: i64, value_minor: i64, left: i64) -> i64 {
    if value_minor <= 0 || left >= value_minor {
        return given;
    }
    part(given, left.max(0), value_minor)
}

/// `amount * numerator / denominator`, rounded down.
fn part(amount: i64, numerator: i64, denominator: i64) -> i64 {
    let exact = i128::from(amount) * i128::from(numerator) / i128::from(denominator);
    i64::try_from(exact).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use whence_schemas::{event::RewardTier, reward::MINOR_MAX};

    fn rule(tiers: Vec<(u32, Amount)>, reward_max_minor: i64) -> RewardRule {
        let tiers = tiers.into_iter().map(|(from, amount)| RewardTier { from, amount: Some(amount) });
        RewardRule {
            currency: "EUR".into(),
            tiers: tiers.collect(),
            reward_max_minor,
            ..RewardRule::default()
        }
    }

    #[test]
    fn the_tier_that_the_count_has_reached_counts() {
        let rule = rule(
            vec![(0, Amount::FixedMinor(500)), (2, Amount::FixedMinor(700)), (5, Amount::ValuePpm(125_000))],
            0,
        );
        let of = |count| amount(&rule, count, 9999, "EUR");
        assert_eq!([of(0), of(1), of(2), of(4)], [Ok(500), Ok(500), Ok(700), Ok(700)]);
        assert_eq!(of(5), Ok(1249), "12.5% of 99.99 is 12.49875");
        assert_eq!(amount(&rule, 5, 9999, "USD"), Err(Nothing::Currency));
        assert_eq!(amount(&rule, 0, 0, ""), Ok(500), "a fixed reward needs no value");
        assert_eq!(amount(&rule, 5, 7, "EUR"), Err(Nothing::TooSmall));
    }

    proptest! {
        #[test]
        fn a_share_is_exact_and_never_more(value in 0..=MINOR_MAX, ppm in 1..=PPM_WHOLE, max in 0i64..1000) {
            let exact = i128::from(value) * i128::from(ppm);
            match amount(&rule(vec![(0, Amount::ValuePpm(ppm))], max), 0, value, "EUR") {
                Ok(given) if max > 0 && given == max => prop_assert!(exact >= i128::from(max) * 1_000_000),
                Ok(given) => {
                    let given = i128::from(given) * 1_000_000;
                    prop_assert!(given <= exact && exact < given + 1_000_000);
                }
                Err(_) => prop_assert!(exact < 1_000_000),
            }
        }

        #[test]
        fn what_stays_shrinks_with_what_is_left(
            given in 0..=MINOR_MAX, value in 0..=MINOR_MAX, lefts in proptest::collection::vec(0..=MINOR_MAX, 2),
        ) {
            let (less, more) = (lefts[0].min(lefts[1]), lefts[0].max(lefts[1]));
            prop_assert!(kept(given, value, less) <= kept(given, value, more));
            prop_assert!((0..=given).contains(&kept(given, value, less)));
            prop_assert_eq!(kept(given, value, value), given);
            if value > 0 {
                prop_assert_eq!(kept(given, value, 0), 0);
            }
        }
    }
}
