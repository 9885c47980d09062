//! Conditions on a person's history: what may stand in them.
//!
//! The API checks them when a rule is saved and when an event brings one, the aggregator again when it decides.

use crate::{
    event::{HistoryCondition, SpendAtLeast, history_condition::Is},
    reward::MINOR_MAX,
};

/// Days within which a total can be asked for.
pub const WITHIN_DAYS_MAX: u32 = 3650;

/// The word of [`Is::FirstPayment`] in JSON and in tables.
pub const FIRST_PAYMENT: &str = "first_payment";
/// The word of [`Is::SpendAtLeast`] in JSON and in tables.
pub const SPEND_AT_LEAST: &str = "spend_at_least";

/// The first thing that is wrong with a condition: the field of the API's JSON, and what completes the sentence
/// that starts with it. `None`: it can be used.
#[must_use]
pub fn mistake(condition: &HistoryCondition) -> Option<(&'static str, String)> {
    let wrong = |field, reason: String| Some((field, reason));
    match &condition.is {
        None => wrong("is", format!("must be one of {FIRST_PAYMENT}, {SPEND_AT_LEAST}")),
        Some(Is::FirstPayment(_)) => None,
        Some(Is::SpendAtLeast(SpendAtLeast { amount_minor, currency, within_days })) => {
            if !(1..=MINOR_MAX).contains(amount_minor) {
                return wrong("amount_minor", format!("must be between 1 and {MINOR_MAX}"));
            }
            if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
                return wrong("currency", "must be an ISO 4217 currency code such as \"EUR\"".into());
            }
            let is_bounded = (1..=WITHIN_DAYS_MAX).contains(within_days);
            (!is_bounded).then(|| ("within_days", format!("must be between 1 and {WITHIN_DAYS_MAX}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::FirstPayment;

    fn spend(amount_minor: i64, currency: &str, within_days: u32) -> HistoryCondition {
        let spend = SpendAtLeast { amount_minor, currency: currency.into(), within_days };
        HistoryCondition { is: Some(Is::SpendAtLeast(spend)) }
    }

    #[test]
    fn a_condition_that_nothing_could_meet_is_a_mistake() {
        let first = HistoryCondition { is: Some(Is::FirstPayment(FirstPayment {})) };
        assert_eq!([mistake(&first), mistake(&spend(1, "EUR", 1))], [None, None]);
        for (condition, field) in [
            (HistoryCondition { is: None }, "is"),
            (spend(0, "EUR", 30), "amount_minor"),
            (spend(MINOR_MAX + 1, "EUR", 30), "amount_minor"),
            (spend(1, "eur", 30), "currency"),
            (spend(1, "", 30), "currency"),
            (spend(1, "EUR", 0), "within_days"),
            (spend(1, "EUR", WITHIN_DAYS_MAX + 1), "within_days"),
        ] {
            assert_eq!(mistake(&condition).unwrap().0, field, "{condition:?}");
        }
    }
}
