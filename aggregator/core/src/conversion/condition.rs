//! Conditions under which a payment counts.

use whence_schemas::{
    history::{FIRST_PAYMENT, SPEND_AT_LEAST},
    rows::QualificationRow,
};

/// A condition on the history of a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// Only the first payment counts.
    FirstPayment,
    /// Only the payment that reaches this total counts.
    SpendAtLeast {
        /// Minor units.
        minor: i64,
        currency: String,
        days: u32,
    },
}

impl Condition {
    /// The condition of a stored qualification.
    pub fn of(row: &QualificationRow) -> Option<Condition> {
        match row.condition.0.as_str() {
            FIRST_PAYMENT => Some(Condition::FirstPayment),
            SPEND_AT_LEAST => Some(Condition::SpendAtLeast {
                minor: row.threshold_minor,
                currency: row.threshold_currency.0.clone(),
                days: row.within_days,
            }),
            _ => None,
        }
    }
}
