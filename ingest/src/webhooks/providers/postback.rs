//! Affiliate networks: one GET with everything in its query, proved by a secret in `token`, or as a bearer
//! key. The parameters are the usual ones (Keitaro's names): `subid`, `tid`, `payout`, `currency`,
//! `status`; the rules are fixed.

use super::{Delivery, ProviderEvent, Refusal, Unreadable};
use crate::webhooks::sign;
use serde_json::{Map, Value};
use whence_schemas::event::WebhookScheme;

pub(super) const KEEPS: &[&str] = &["/status", "/currency"];
pub(super) const RULES: &str = include_str!("../defaults/postback.json");

/// What is read of the query; the token is not among it.
const PARAMETERS: [&str; 5] = ["subid", "tid", "payout", "currency", "status"];

pub(super) fn verify(delivery: &Delivery<'_>, _scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    let token = delivery.parameter("token");
    let token = token.as_deref().or_else(|| delivery.bearer()).ok_or(Refusal::Unsigned)?;
    sign::same_text(token.as_bytes(), secret)
}

/// The query as an object. The transaction's id tells two payments of one click apart, sale or rebill: what
/// is rejected later names nothing else. Without one there is one payment, and a rebill cannot be told from
/// its retry.
pub(super) fn events(
    delivery: &Delivery<'_>,
    _scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    let mut body = Map::new();
    for name in PARAMETERS {
        if let Some(value) = delivery.parameter(name).filter(|value| !value.trim().is_empty()) {
            body.insert(name.to_owned(), value.trim().into());
        }
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let subid = text("subid").ok_or(Unreadable::Body)?;
    let status = text("status").ok_or(Unreadable::Body)?.to_ascii_lowercase();
    let tid = text("tid");
    if status == "rebill" && tid.is_none() {
        return Err(Unreadable::Body);
    }
    let payment = tid.unwrap_or_else(|| format!("only-{subid}"));
    // A network tells a sale, rejects it and tells it again with one query: what tells these apart is when they come.
    let delivery = format!("{payment}-{}", delivery.now.0);
    body.insert("whence".to_owned(), serde_json::json!({ "payment": payment, "delivery": delivery }));
    let id = format!("{status}-{payment}");
    Ok(vec![ProviderEvent { id, name: status, body: Value::Object(body), is_test: false }])
}
