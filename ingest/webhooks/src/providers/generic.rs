//! JSON of any shape, from Zapier, Make, n8n or any CRM: proved by a bearer key, or by the HMAC-SHA256 of
//! the body in a header that the operator names.

use super::{Delivery, ProviderEvent, Refusal, Unreadable, text};
use crate::sign;
use serde_json::Value;
use whence_schemas::event::WebhookScheme;

/// Nobody knows what stands where.
pub(super) const KEEPS: &[&str] = &[];
pub(super) const RULES: &str = "[]";

pub(super) fn verify(delivery: &Delivery<'_>, scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    if scheme.signature_header.is_empty() {
        let key = delivery.bearer().ok_or(Refusal::Unsigned)?;
        return sign::same_text(key.as_bytes(), secret);
    }
    let header = delivery.header(&scheme.signature_header).ok_or(Refusal::Unsigned)?;
    let signature = header.strip_prefix(scheme.signature_prefix.as_str()).ok_or(Refusal::Malformed)?;
    let signature = match scheme.signature_encoding.as_str() {
        "base64" => sign::of_base64(signature)?,
        _ => sign::of_hex(signature)?,
    };
    sign::same(&signature, &sign::hmac_sha256(secret, &[delivery.body]))
}

/// One object, or a list of them.
pub(super) fn events(
    delivery: &Delivery<'_>,
    scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    let entries = match serde_json::from_slice(delivery.body).map_err(|_| Unreadable::Body)? {
        Value::Array(entries) => entries,
        one => vec![one],
    };
    entries.into_iter().enumerate().map(|(index, body)| event(delivery, scheme, index, body)).collect()
}

fn event(
    delivery: &Delivery<'_>,
    scheme: &WebhookScheme,
    index: usize,
    body: Value,
) -> Result<ProviderEvent, Unreadable> {
    if !body.is_object() {
        return Err(Unreadable::Body);
    }
    let name = if scheme.event_at.is_empty() {
        ["/event", "/type"].map(|at| text(&body, at)).into_iter().find(|name| !name.is_empty())
    } else {
        Some(text(&body, &scheme.event_at))
    };
    let own = if scheme.id_at.is_empty() { String::new() } else { text(&body, &scheme.id_at) };
    let id = if own.is_empty() { given_id(delivery, scheme, index) } else { own };
    Ok(ProviderEvent { id, name: name.unwrap_or_default(), body, is_test: false })
}

/// Before an entry's place in its list. No header's text can have it, so that an entry is never taken for a
/// delivery of its own.
const PLACE: char = '§';

/// Where the body has no id: the caller's key, where it came with the bearer key that proved the request. A
/// signature covers the body only, so then it is the body itself that makes the event one.
fn given_id(delivery: &Delivery<'_>, scheme: &WebhookScheme, index: usize) -> String {
    let is_by_bearer = scheme.signature_header.is_empty() && delivery.bearer().is_some();
    let key = delivery.header("idempotency-key").filter(|key| is_by_bearer && !key.is_empty());
    let id = key.map_or_else(|| hex::encode(sign::sha256(&[delivery.body])), str::to_owned);
    if index == 0 { id } else { format!("{id}{PLACE}{index}") }
}
