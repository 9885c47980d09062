//! A source as callers see it: as they gave it.

use crate::api::{events::history, programs::object};
use serde_json::{Map, Value, json};
use whence_schemas::event::{WebhookField, WebhookRule, WebhookSource};

/// The fields of a source.
pub(in crate::api) fn source(source: &WebhookSource) -> Map<String, Value> {
    let scheme = source.scheme.clone().unwrap_or_default();
    let mut view = object(json!({
        "program": source.program,
        "id": source.id,
        "provider": source.provider,
        "secrets": source.secrets,
        "rules": source.rules.iter().map(rule).collect::<Vec<_>>(),
        "test": source.test,
        "disabled": source.disabled,
    }));
    for (name, value) in [
        ("url", scheme.url),
        ("organization", scheme.organization),
        ("signature_header", scheme.signature_header),
        ("signature_prefix", scheme.signature_prefix),
        ("signature_encoding", scheme.signature_encoding),
        ("event_at", scheme.event_at),
        ("id_at", scheme.id_at),
    ] {
        if !value.is_empty() {
            view.insert(name.to_owned(), value.into());
        }
    }
    view
}

fn rule(rule: &WebhookRule) -> Value {
    let when: Vec<Value> = rule
        .when
        .iter()
        .map(|condition| match condition.values.as_slice() {
            [] => json!({ "at": condition.at, "is": condition.is }),
            values => json!({ "at": condition.at, "is": condition.is, "values": values }),
        })
        .collect();
    let fields: Map<String, Value> =
        rule.fields.iter().map(|field| (field.field.clone(), place(field))).collect();
    let mut view =
        object(json!({ "events": rule.events, "when": when, "gives": rule.gives, "fields": fields }));
    if !rule.name.is_empty() {
        view.insert("name".to_owned(), rule.name.as_str().into());
    }
    if let Some(condition) = &rule.history {
        view.insert("history".to_owned(), history::view(condition));
    }
    view.into()
}

fn place(field: &WebhookField) -> Value {
    if !field.constant.is_empty() {
        return json!({ "constant": field.constant });
    }
    let at = match field.at.as_slice() {
        [one] => json!(one),
        many => json!(many),
    };
    if field.prefix.is_empty() { at } else { json!({ "at": at, "prefix": field.prefix }) }
}
