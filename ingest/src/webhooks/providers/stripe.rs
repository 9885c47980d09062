//! Stripe: `Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX…]`, each `v1` an HMAC-SHA256 of `SECONDS.BODY`.
//! One of them has to fit. Source: Stripe's documentation, "Verify webhook signatures manually".

use super::{Delivery, ProviderEvent, Refusal, Unreadable, object, required, text};
use crate::webhooks::sign;
use serde_json::json;
use whence_schemas::event::WebhookScheme;

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

/// Currencies whose amounts Stripe sends with two decimals although they have none.
const TWO_DECIMALS_ALL_THE_SAME: [&str; 2] = ["ISK", "UGX"];

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
    // A charge says how much of it is refunded in all; what this refund is, the change says.
    let amount = |pointer: &str| text(&body, pointer).parse::<i64>().ok();
    if name == "charge.refunded"
        && let Some(refunded) = amount("/data/object/amount_refunded")
    {
        let before = amount("/data/previous_attributes/amount_refunded").unwrap_or(0);
        body["whence"] = json!({ "refunded": refunded.saturating_sub(before) });
    }
    Ok(vec![ProviderEvent { id, name, body, is_test }])
}

/// The ISO 4217 minor units of an amount as Stripe sends it, or `None` where there are none such.
/// `currency` is in upper case.
#[must_use]
pub fn minor_units(amount: i64, currency: &str) -> Option<i64> {
    if TWO_DECIMALS_ALL_THE_SAME.contains(&currency) {
        return (amount % 100 == 0).then_some(amount / 100);
    }
    Some(amount)
}
