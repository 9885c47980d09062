//! Stripe: `Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX…]`, each `v1` an HMAC-SHA256 of `SECONDS.BODY`.
//! One of them has to fit. Source: Stripe's documentation, "Verify webhook signatures manually".

use super::{Delivery, ProviderEvent, Refusal, Unreadable, object, required};
use crate::sign;
use serde_json::{Value, json};
use whence_schemas::event::WebhookScheme;
use whence_schemas::money::{self, AmountError};

pub(super) const KEEPS: &[&str] = &[
    "/id",
    "/type",
    "/created",
    "/livemode",
    "/api_version",
    "/data/object/id",
    "/data/object/object",
    "/data/object/payment_intent",
    "/data/object/charge",
    "/data/object/status",
];
pub(super) const RULES: &str = include_str!("../defaults/stripe.json");

/// Currencies whose amounts Stripe sends as whole units. All but these and [`THREE_DECIMALS`] have two decimals. ISO
/// 4217 says otherwise of some: MGA has two there, ISK and UGX have none. (Stripe's list has UGX, too, but its "special
/// cases" have it and ISK sent with two decimals, always 00. HUF and TWD are special in payouts only.) Source: Stripe's
/// documentation, "Supported currencies".
const NO_DECIMALS: [&str; 15] =
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
/// Currencies whose amounts Stripe sends with three decimals.
const THREE_DECIMALS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

pub(super) fn verify(delivery: &Delivery<'_>, _scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    let header = delivery.header("stripe-signature").ok_or(Refusal::Unsigned)?;
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let at = parts().find(|(name, _)| *name == "t").ok_or(Refusal::Malformed)?.1;
    let signed_at = sign::time(at)?;
    let expected = sign::hmac_sha256(secret, &[at.as_bytes(), b".", delivery.body]);
    let mut proved = Err(Refusal::Malformed);
    for (_, signature) in parts().filter(|(name, _)| *name == "v1") {
        // A scheme to come may have another form under the same name.
        let Ok(signature) = sign::of_hex(signature) else { continue };
        match sign::same(&signature, &expected) {
            Ok(()) => return sign::fresh(signed_at.saturating_mul(1000), delivery.now),
            forged => proved = forged,
        }
    }
    proved
}

pub(super) fn events(
    delivery: &Delivery<'_>,
    _scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    let mut body = object(delivery)?;
    let (id, name) = (required(&body, "/id")?, required(&body, "/type")?);
    let is_test = body.pointer("/livemode") == Some(&json!(false));
    if name == "charge.refunded" {
        body["whence"] = json!({ "refunded": refunded(&body) });
    }
    Ok(vec![ProviderEvent { id, name, body, is_test }])
}

/// How much this refund gave back. A charge says how much of it is refunded in all; what this refund is, the change
/// says. `null` where there is no total, and a text that is no amount where one of the two can't be read.
fn refunded(body: &Value) -> Value {
    const UNREADABLE: &str = "unreadable";
    let amount = |pointer: &str| match body.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(UNREADABLE),
    };
    match (amount("/data/object/amount_refunded"), amount("/data/previous_attributes/amount_refunded")) {
        (Ok(None), _) => Value::Null,
        (Ok(Some(refunded)), Ok(before)) => refunded.saturating_sub(before.unwrap_or(0)).into(),
        _ => UNREADABLE.into(),
    }
}

/// The ISO 4217 minor units of an amount as Stripe sends it, in a currency (in upper case) that has this many decimals.
///
/// # Errors
/// See [`money::minor_units_of_number`].
pub fn minor_units(amount: &str, currency: &str, decimals: usize) -> Result<i64, AmountError> {
    let stripes = match currency {
        _ if NO_DECIMALS.contains(&currency) => 0,
        _ if THREE_DECIMALS.contains(&currency) => 3,
        _ => 2,
    };
    let whole = money::minor_units_of_number(amount, 0)?;
    money::minor_units_of_number(&money::text(whole, stripes), decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_currency_of_stripes_has_the_decimals_that_stripe_gives_it() {
        let iso = |amount: &str, currency: &str| {
            minor_units(amount, currency, money::decimals(currency).expect("a currency"))
        };
        for (currency, minor) in [
            ("EUR", 50_000),
            ("HUF", 50_000),
            ("TWD", 50_000),
            ("JPY", 50_000),
            ("ISK", 500),
            ("UGX", 500),
            ("MGA", 5_000_000),
            ("KWD", 50_000),
            ("TND", 50_000),
        ] {
            assert_eq!(iso("50000", currency), Ok(minor), "{currency}");
        }
        for currency in NO_DECIMALS {
            let minor = 7 * 10_i64.pow(u32::try_from(money::decimals(currency).unwrap()).unwrap());
            assert_eq!(iso("7", currency), Ok(minor), "{currency}");
        }
        for currency in ["ISK", "UGX"] {
            assert_eq!(iso("550", currency), Err(AmountError::Decimals { decimals: 0 }), "{currency}");
        }
    }
}
