//! HubSpot: `X-HubSpot-Signature-v3`, Base64 of the HMAC-SHA256 of method, address, body and
//! `X-HubSpot-Request-Timestamp` (milliseconds); before that `X-HubSpot-Signature`, the plain SHA-256 of
//! secret and body (v1) or secret, method, address and body (v2). Where v3 is there, only it counts.
//! Source: HubSpot's documentation, "Validating requests".

use super::{Delivery, ProviderEvent, Refusal, Unreadable, merge, required, text, texts};
use crate::sign;
use serde_json::{Value, json};
use whence_schemas::event::WebhookScheme;

pub(super) const KEEPS: &[&str] = &[
    "/eventId",
    "/subscriptionId",
    "/subscriptionType",
    "/portalId",
    "/objectId",
    "/objectTypeId",
    "/dealId",
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

/// A list of what subscriptions tell, or the one object that a workflow sends.
pub(super) fn events(
    delivery: &Delivery<'_>,
    _scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    match serde_json::from_slice(delivery.body).map_err(|_| Unreadable::Body)? {
        Value::Array(entries) => {
            let events: Result<Vec<_>, _> = entries.into_iter().map(event).collect();
            Ok(events?.into_iter().flat_map(merged).collect())
        }
        body @ Value::Object(_) => Ok(vec![of_workflow(body, delivery.body)]),
        _ => Err(Unreadable::Body),
    }
}

fn event(mut body: Value) -> Result<ProviderEvent, Unreadable> {
    // HubSpot does not promise that event ids are unique; all of these stay the same over retries.
    let rest = ["/subscriptionId", "/objectId", "/fromObjectId", "/toObjectId", "/occurredAt"];
    let mut id = required(&body, "/eventId")?;
    for pointer in rest {
        id.push('-');
        id.push_str(&text(&body, pointer));
    }
    let name = required(&body, "/subscriptionType")?;
    let [kind, from, to] =
        ["/objectTypeId", "/fromObjectTypeId", "/toObjectTypeId"].map(|at| object(&body, at));
    if let (Some(from), Some(to)) = (from, to)
        && body.get("associationType").is_none()
    {
        body["associationType"] = format!("{from}_TO_{to}").to_ascii_uppercase().into();
    }
    let name = match (name.strip_prefix("object."), kind.or(from)) {
        (Some(what), Some(kind)) => format!("{kind}.{what}"),
        _ => name,
    };
    Ok(ProviderEvent { id, name, body, is_test: false })
}

/// The objects that older subscriptions have in their names, and `object.*` as a number. Source: HubSpot's
/// documentation, "Object type IDs".
fn object(body: &Value, pointer: &str) -> Option<&'static str> {
    match text(body, pointer).as_str() {
        "0-1" => Some("contact"),
        "0-2" => Some("company"),
        "0-3" => Some("deal"),
        _ => None,
    }
}

/// A merge has two objects at least, and sometimes makes a new one of them.
fn merged(event: ProviderEvent) -> Vec<ProviderEvent> {
    if !event.name.ends_with(".merge") {
        return vec![event];
    }
    let primary = text(&event.body, "/primaryObjectId");
    let mut ids = vec![primary.clone(), text(&event.body, "/newObjectId")];
    ids.extend(texts(&event.body, "/mergedObjectIds"));
    merge(event, ids, &primary)
}

/// What the action "Send a webhook" of a workflow posts: a deal with all of its properties (`{"dealId", "properties":
/// {"amount": {"value": …}}}`), the CRM API's form (`{"id", "properties": {"amount": …}}`), or the properties that were
/// chosen, side by side (`{"hs_object_id", "amount": …}`). All of them are read at `/whence/deal`. It has no id of its
/// own: the body makes the event one.
fn of_workflow(mut body: Value, bytes: &[u8]) -> ProviderEvent {
    let property = |name: &str| {
        let places = [format!("/properties/{name}/value"), format!("/properties/{name}"), format!("/{name}")];
        places.iter().map(|at| text(&body, at)).find(|value| !value.is_empty()).unwrap_or_default()
    };
    let first = |places: &[&str]| {
        places.iter().map(|at| text(&body, at)).find(|value| !value.is_empty()).unwrap_or_default()
    };
    let own = first(&["/dealId", "/objectId", "/id"]);
    let won = ["/properties/hs_is_closed_won/value", "/properties/hs_is_closed_won", "/hs_is_closed_won"];
    let is_won = won.iter().any(|at| is_true(&body, at));
    let stage = if is_won { "closedwon".to_owned() } else { property("dealstage") };
    let is_deal = !stage.is_empty() || !first(&["/dealId"]).is_empty();
    let since = text(&body, "/properties/dealstage/timestamp");
    let closed = if since.is_empty() { property("closedate") } else { since };
    let deal = json!({
        "id": if own.is_empty() { property("hs_object_id") } else { own },
        "stage": stage,
        "amount": property("amount"),
        "currency": property("deal_currency_code"),
        "contact": first(&["/associations/associatedVids/0"]),
        "closed_at": closed,
    });
    if is_deal {
        body["whence"] = json!({ "deal": deal });
    }
    let name = if is_deal { "deal.workflow" } else { "workflow" };
    let id = hex::encode(sign::sha256(&[bytes]));
    ProviderEvent { id: format!("{name}-{id}"), name: name.to_owned(), body, is_test: false }
}

fn is_true(body: &Value, pointer: &str) -> bool {
    matches!(body.pointer(pointer), Some(Value::Bool(true))) || text(body, pointer) == "true"
}
