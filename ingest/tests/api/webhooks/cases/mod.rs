//! What every provider sends, by version of its API, event and status, and what becomes of it under the built-in rules:
//! `lead`, `qualification NAME MINOR CURRENCY`, …, `unmapped`, `without_effect`, or `unusable REASON`.
//!
//! The objects in `payloads/objects` have the members that the providers' public descriptions give them (Stripe: its
//! OpenAPI fixtures before and after version 2025-03-31), with values of our own. All happens on 2027-01-15.

#![expect(clippy::needless_pass_by_value, reason = "payloads are written where they are used")]

mod hubspot;
mod intercom;
mod postback;
mod salesforce;
mod shopify;
mod stripe;

use serde_json::Value;

/// All of them.
pub fn all() -> impl Iterator<Item = Row> {
    let all =
        [stripe::all(), shopify::all(), hubspot::all(), intercom::all(), salesforce::all(), postback::all()];
    all.into_iter().flatten()
}

/// A payload, and what becomes of it.
pub struct Row {
    pub provider: &'static str,
    pub version: &'static str,
    pub event: &'static str,
    pub status: &'static str,
    pub payload: Value,
    pub expected: Vec<&'static str>,
}

fn row(
    provider: &'static str,
    [version, event, status]: [&'static str; 3],
    payload: Value,
    expected: &'static [&'static str],
) -> Row {
    Row { provider, version, event, status, payload, expected: expected.to_vec() }
}

fn merged(mut object: Value, patch: Value) -> Value {
    object.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
    object
}
