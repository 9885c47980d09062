//! HubSpot: `X-HubSpot-Signature-v3`, Base64 of the HMAC-SHA256 of method, address, body and
//! `X-HubSpot-Request-Timestamp` (milliseconds); before that `X-HubSpot-Signature`, the plain SHA-256 of
//! secret and body (v1) or secret, method, address and body (v2). Where v3 is there, only it counts.
//! Source: HubSpot's documentation, "Validating requests".

use super::{Delivery, ProviderEvent, Refusal, Unreadable, required, text};
use crate::webhooks::sign;
use serde_json::Value;
use whence_schemas::event::WebhookScheme;

pub(super) const KEEPS: &[&str] = &[
    "/eventId",
    "/subscriptionId",
    "/subscriptionType",
    "/portalId",
    "/objectId",
    "/propertyName",
    "/occurredAt",
    "/attemptNumber",
];
pub(super) const RULES: &str = include_str!("../defaults/hubspot.json");

/// What v3 decodes in an address before it signs it, and nothing else.
const DECODED: [(&str, &str); 12] = [
    ("%3A", ":"),
    ("%2F", "/"),
    ("%3F", "?"),
    ("%40", "@"),
    ("%21", "!"),
    ("%24", "$"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
    ("%2A", "*"),
    ("%2C", ","),
    ("%3B", ";"),
];

pub(super) fn verify(delivery: &Delivery<'_>, scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    let uri = if scheme.url.is_empty() { delivery.uri.as_ref() } else { scheme.url.as_str() };
    let method = delivery.method.as_bytes();
    if let Some(signature) = delivery.header("x-hubspot-signature-v3") {
        let at = delivery.header("x-hubspot-request-timestamp").ok_or(Refusal::Malformed)?;
        let signed_at = sign::time(at)?;
        let parts = [method, decoded(uri).as_bytes(), delivery.body, at.as_bytes()].concat();
        sign::same(&sign::of_base64(signature)?, &sign::hmac_sha256(secret, &[&parts]))?;
        return sign::fresh(signed_at, delivery.now);
    }
    let signature = delivery.header("x-hubspot-signature").ok_or(Refusal::Unsigned)?;
    let expected = match delivery.header("x-hubspot-signature-version") {
        Some("v1") => sign::sha256(&[secret, delivery.body]),
        Some("v2") => sign::sha256(&[secret, method, uri.as_bytes(), delivery.body]),
        _ => return Err(Refusal::Malformed),
    };
    sign::same(&sign::of_hex(signature)?, &expected)
}

fn decoded(uri: &str) -> String {
    DECODED.iter().fold(uri.to_owned(), |uri, (encoded, plain)| {
        uri.replace(encoded, plain).replace(&encoded.to_ascii_lowercase(), plain)
    })
}

pub(super) fn events(
    delivery: &Delivery<'_>,
    _scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    let entries: Vec<Value> = serde_json::from_slice(delivery.body).map_err(|_| Unreadable::Body)?;
    entries.into_iter().map(event).collect()
}

fn event(body: Value) -> Result<ProviderEvent, Unreadable> {
    // HubSpot does not promise that event ids are unique; all of these stay the same over retries.
    let rest = ["/subscriptionId", "/objectId", "/fromObjectId", "/toObjectId", "/occurredAt"];
    let mut id = required(&body, "/eventId")?;
    for pointer in rest {
        id.push('-');
        id.push_str(&text(&body, pointer));
    }
    let name = required(&body, "/subscriptionType")?;
    Ok(ProviderEvent { id, name, body, is_test: false })
}
