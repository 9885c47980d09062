//! An amount of money as the caller names it.

use crate::api::{events::money, json::Fields, problem::Code};
use serde_json::Value;

/// An amount in a currency. Without one: 0 and no currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// Minor units of `currency`.
    pub minor: i64,
    /// ISO 4217, empty without an amount.
    pub currency: String,
}

/// `{"amount": "12.50", "currency": "EUR"}` or `{"minor": 1250, "currency": "EUR"}`. An amount is a number as programs
/// write them: see [`money::minor_units_of_number`].
pub(super) fn money(mut fields: Fields<'_>) -> Option<Money> {
    let currency = fields.required_text("currency");
    let decimals = currency.as_deref().and_then(money::decimals);
    if currency.is_some() && decimals.is_none() {
        fields.wrong("currency", Code::Invalid, "is not an ISO 4217 currency code such as \"EUR\"");
    }
    let minor = match (fields.has("amount"), fields.has("minor")) {
        (true, false) => amount(&mut fields, decimals),
        (false, true) => fields.integer("minor"),
        _ => {
            fields.wrong("amount", Code::Required, "or minor must be given, one of the two");
            fields.take("amount");
            fields.take("minor");
            None
        }
    };
    if minor.is_some_and(|minor| !(0..=money::MINOR_MAX).contains(&minor)) {
        fields.wrong("minor", Code::Invalid, format_args!("must be between 0 and {}", money::MINOR_MAX));
    }
    fields.finish("a value");
    Some(Money { minor: minor?, currency: currency? })
}

fn amount(fields: &mut Fields<'_>, decimals: Option<usize>) -> Option<i64> {
    let is_number = matches!(fields.peek("amount"), Some(Value::Number(_)));
    if is_number {
        fields.take("amount");
        fields.wrong(
            "amount",
            Code::WrongType,
            "must be a string such as \"12.50\": JSON numbers lose digits",
        );
        return None;
    }
    let text = fields.text("amount")?;
    match money::minor_units_of_number(&text, decimals?) {
        Ok(minor) => Some(minor),
        Err(error) => {
            fields.wrong("amount", Code::Invalid, error);
            None
        }
    }
}
