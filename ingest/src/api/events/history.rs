//! A condition on the person's history, from and to JSON, and in words.
//!
//! ```json
//! {"is": "first_payment"}
//! {"is": "spend_at_least", "amount_minor": 5000, "currency": "EUR", "within_days": 30}
//! ```
//!
//! It is decided where the person's events are: in the aggregator.

use crate::api::{json::Fields, problem::Code};
use whence_schemas::{
    event::{FirstPayment, HistoryCondition, SpendAtLeast, history_condition::Is},
    history::{FIRST_PAYMENT, SPEND_AT_LEAST},
};

pub use whence_webhooks::history::{check, view, words};

/// Reads the field `history`; `None` where there is none, or it is wrong.
pub fn read(fields: &mut Fields<'_>) -> Option<HistoryCondition> {
    let mut fields = fields.object("history")?;
    if !fields.has("is") {
        fields.wrong("is", Code::Required, "is missing");
    }
    let is_total = fields.word("is", &[(FIRST_PAYMENT, false), (SPEND_AT_LEAST, true)])?;
    let is = if is_total {
        let amount_minor = required_integer(&mut fields, "amount_minor");
        let currency = fields.required_text("currency");
        let within_days = required_integer(&mut fields, "within_days");
        let within_days = within_days.map(|days| u32::try_from(days).unwrap_or(0));
        let total = amount_minor.zip(currency).zip(within_days);
        total.map(|((amount_minor, currency), within_days)| {
            Is::SpendAtLeast(SpendAtLeast { amount_minor, currency, within_days })
        })
    } else {
        Some(Is::FirstPayment(FirstPayment {}))
    };
    let condition = is.map(|is| HistoryCondition { is: Some(is) });
    if let Some((field, reason)) = condition.as_ref().and_then(check) {
        fields.wrong(field, Code::Invalid, reason);
    }
    fields.finish("a condition on the history");
    condition
}

fn required_integer(fields: &mut Fields<'_>, name: &str) -> Option<i64> {
    if !fields.has(name) {
        fields.wrong(name, Code::Required, "is missing");
    }
    fields.integer(name)
}
