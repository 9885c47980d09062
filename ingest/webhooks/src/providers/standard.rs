//! Standard Webhooks (Svix and many others): `webhook-signature`, a list of `v1,BASE64`, each an
//! HMAC-SHA256 of `webhook-id.webhook-timestamp.BODY`. The secret is `whsec_BASE64`. Svix's own names of
//! the headers begin with `svix-`. Source: the Standard Webhooks specification.

use super::{Delivery, ProviderEvent, Refusal, Unreadable, object, text};
use crate::sign;
use whence_schemas::event::WebhookScheme;

pub(super) const KEEPS: &[&str] = &["/type", "/timestamp", "/data/id"];
pub(super) const RULES: &str = "[]";

pub(super) fn verify(delivery: &Delivery<'_>, _scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    let id = header(delivery, "id").ok_or(Refusal::Unsigned)?;
    let at = header(delivery, "timestamp").ok_or(Refusal::Unsigned)?;
    let signatures = header(delivery, "signature").ok_or(Refusal::Unsigned)?;
    let signed_at = sign::time(at)?;
    let key = std::str::from_utf8(secret).map_err(|_| Refusal::Secret)?;
    let key = sign::of_base64(key.strip_prefix("whsec_").unwrap_or(key)).map_err(|_| Refusal::Secret)?;
    let expected = sign::hmac_sha256(&key, &[id.as_bytes(), b".", at.as_bytes(), b".", delivery.body]);
    let mut proved = Err(Refusal::Malformed);
    for signature in signatures.split(' ').filter_map(|one| one.strip_prefix("v1,")) {
        let Ok(signature) = sign::of_base64(signature) else { continue };
        match sign::same(&signature, &expected) {
            Ok(()) => return sign::fresh(signed_at.saturating_mul(1000), delivery.now),
            forged => proved = forged,
        }
    }
    proved
}

fn header<'a>(delivery: &'a Delivery<'_>, name: &str) -> Option<&'a str> {
    delivery.header(&format!("webhook-{name}")).or_else(|| delivery.header(&format!("svix-{name}")))
}

pub(super) fn events(
    delivery: &Delivery<'_>,
    scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    let body = object(delivery)?;
    let name = text(&body, if scheme.event_at.is_empty() { "/type" } else { &scheme.event_at });
    let id = header(delivery, "id").ok_or(Unreadable::Body)?.to_owned();
    Ok(vec![ProviderEvent { id, name, body, is_test: false }])
}
