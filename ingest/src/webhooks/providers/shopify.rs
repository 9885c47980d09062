//! Shopify: `X-Shopify-Hmac-Sha256`, Base64 of the HMAC-SHA256 of the body. Neither the topic nor the
//! delivery's id is signed: what makes an event one is therefore the id in the body, so that a body that
//! is sent again under another delivery id counts once. Source: Shopify's documentation, "Verify webhook
//! deliveries".

use super::{Delivery, ProviderEvent, Refusal, Unreadable, object, text};
use crate::webhooks::sign;
use serde_json::{Map, Value, json};
use whence_schemas::event::WebhookScheme;

pub(super) const KEEPS: &[&str] =
    &["/id", "/order_id", "/financial_status", "/source_name", "/currency", "/created_at", "/test"];
pub(super) const RULES: &str = include_str!("../defaults/shopify.json");

pub(super) fn verify(delivery: &Delivery<'_>, _scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    let header = delivery.header("x-shopify-hmac-sha256").ok_or(Refusal::Unsigned)?;
    sign::same(&sign::of_base64(header)?, &sign::hmac_sha256(secret, &[delivery.body]))
}

pub(super) fn events(
    delivery: &Delivery<'_>,
    _scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    let mut body = object(delivery)?;
    let name = delivery.header("x-shopify-topic").ok_or(Unreadable::Body)?.to_owned();
    let id = match text(&body, "/id") {
        id if !id.is_empty() => id,
        _ => delivery.header("x-shopify-webhook-id").ok_or(Unreadable::Body)?.to_owned(),
    };
    let is_test = body.pointer("/test") == Some(&json!(true));
    let reachable = json!({ "attributes": attributes(&body), "refund": refund(&body) });
    body["whence"] = reachable;
    Ok(vec![ProviderEvent { id: format!("{name}-{id}"), name, body, is_test }])
}

/// `note_attributes` is a list of names and values: as an object, pointers reach it.
fn attributes(body: &Value) -> Map<String, Value> {
    let list = body.pointer("/note_attributes").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|entry| {
        let name = entry.get("name")?.as_str()?;
        Some((name.to_owned(), entry.get("value")?.clone()))
    })
    .collect()
}

/// The sum of what went back to the customer, which a refund has in several transactions. `null` where
/// there are none, or of several currencies.
fn refund(body: &Value) -> Value {
    let list = body.pointer("/transactions").and_then(Value::as_array).into_iter().flatten();
    let paid_back: Vec<&Value> = list
        .filter(|one| {
            text(one, "/kind") == "refund" && matches!(text(one, "/status").as_str(), "success" | "")
        })
        .collect();
    let Some(currency) = paid_back.first().map(|one| text(one, "/currency")) else { return Value::Null };
    if paid_back.iter().any(|one| text(one, "/currency") != currency) {
        return Value::Null;
    }
    let decimals = |amount: &str| amount.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let amounts: Vec<String> = paid_back.iter().map(|one| text(one, "/amount")).collect();
    let places = amounts.iter().map(|amount| decimals(amount)).max().unwrap_or(0).min(6);
    let minor = |amount: &String| {
        let digits: String = amount.chars().filter(|c| *c != '.').collect();
        let padded = format!("{digits}{}", "0".repeat(places.checked_sub(decimals(amount))?));
        padded.parse::<i64>().ok()
    };
    let Some(sum) = amounts.iter().map(minor).try_fold(0i64, |sum, one| sum.checked_add(one?)) else {
        return Value::Null;
    };
    let digits = format!("{sum:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let amount = if places == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
    json!({ "amount": amount, "currency": currency })
}
