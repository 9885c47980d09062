//! A condition on the person's history, as JSON and in words. It is decided where the person's events are: in the aggregator.

use serde_json::{Value, json};
use whence_schemas::{
    event::{HistoryCondition, SpendAtLeast, history_condition::Is},
    history::{FIRST_PAYMENT, SPEND_AT_LEAST, mistake},
    money,
};

/// The first thing that is wrong with it: the field, and what completes the sentence that starts with it.
#[must_use]
pub fn check(condition: &HistoryCondition) -> Option<(&'static str, String)> {
    mistake(condition).or_else(|| match &condition.is {
        Some(Is::SpendAtLeast(total)) if money::decimals(&total.currency).is_none() => {
            Some(("currency", "is not an ISO 4217 currency code such as \"EUR\"".to_owned()))
        }
        _ => None,
    })
}

/// As callers write it.
#[must_use]
pub fn view(condition: &HistoryCondition) -> Value {
    match &condition.is {
        None => Value::Null,
        Some(Is::FirstPayment(_)) => json!({ "is": FIRST_PAYMENT }),
        Some(Is::SpendAtLeast(SpendAtLeast { amount_minor, currency, within_days })) => json!({
            "is": SPEND_AT_LEAST, "amount_minor": amount_minor, "currency": currency, "within_days": within_days,
        }),
    }
}

/// When a qualification of this name counts, as a sentence.
#[must_use]
pub fn words(condition: &HistoryCondition, name: &str) -> String {
    match &condition.is {
        None => String::new(),
        Some(Is::FirstPayment(_)) => format!("It counts only if it is the person's first {name:?}."),
        Some(Is::SpendAtLeast(SpendAtLeast { amount_minor, currency, within_days })) => format!(
            "It counts only if with it the person's {name:?} payments, less refunds, reach {} {currency} within \
             {within_days} days of the lead.",
            money::text(*amount_minor, money::decimals(currency).unwrap_or_default())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::event::FirstPayment;

    #[test]
    fn conditions_are_said_in_words() {
        let spend = |amount_minor, currency: &str| {
            let total = SpendAtLeast { amount_minor, currency: currency.into(), within_days: 30 };
            words(&HistoryCondition { is: Some(Is::SpendAtLeast(total)) }, "payment")
        };
        assert!(
            spend(5005, "EUR").contains("\"payment\" payments, less refunds, reach 50.05 EUR within 30 days")
        );
        assert!(spend(5, "EUR").contains("reach 0.05 EUR"));
        assert!(spend(500, "JPY").contains("reach 500 JPY"));
        let first = HistoryCondition { is: Some(Is::FirstPayment(FirstPayment {})) };
        assert_eq!(words(&first, "payment"), "It counts only if it is the person's first \"payment\".");
    }
}
