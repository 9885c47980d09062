//! Intercom: `X-Hub-Signature: sha1=HEX`, the HMAC-SHA1 of the body. A notification of the topic `ping`
//! only tries the address. Source: Intercom's documentation, "Webhooks: signed notifications".

use super::{Delivery, ProviderEvent, Refusal, Unreadable, merge, object, required, text};
use crate::sign;
use whence_schemas::event::WebhookScheme;

pub(super) const KEEPS: &[&str] =
    &["/id", "/topic", "/app_id", "/created_at", "/delivery_attempts", "/data/item/id", "/data/item/type"];
pub(super) const RULES: &str = include_str!("../defaults/intercom.json");

pub(super) fn verify(delivery: &Delivery<'_>, _scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    let header = delivery.header("x-hub-signature").ok_or(Refusal::Unsigned)?;
    let signature = sign::of_hex(header.strip_prefix("sha1=").ok_or(Refusal::Malformed)?)?;
    sign::same(&signature, &sign::hmac_sha1(secret, delivery.body))
}

pub(super) fn events(
    delivery: &Delivery<'_>,
    _scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    let body = object(delivery)?;
    let name = required(&body, "/topic")?;
    if name == "ping" {
        return Ok(Vec::new());
    }
    let event = ProviderEvent { id: required(&body, "/id")?, name, body, is_test: false };
    if event.name != "contact.merged" {
        return Ok(vec![event]);
    }
    // What was merged is named, where it is, beside the contact that is left.
    let places = ["/data/item/id", "/data/item/into/id", "/data/item/from/id", "/data/item/merged_from/id"];
    let ids: Vec<String> = places.iter().map(|at| text(&event.body, at)).collect();
    let into = ids.iter().find(|id| !id.is_empty()).cloned().unwrap_or_default();
    Ok(merge(event, ids, &into))
}
