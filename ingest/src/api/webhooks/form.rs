//! `/v1/programs/P/sources`: a source and its mapping as callers write and see them.
//!
//! ```json
//! {
//!   "provider": "stripe", "secrets": ["stripe-live"],
//!   "rules": [{
//!     "events": ["invoice.paid"],
//!     "when": [{ "at": "/data/object/amount_paid", "is": "at_least", "values": [1] }],
//!     "gives": "qualification", "name": "payment",
//!     "fields": {
//!       "key": "/data/object/id",
//!       "payments": ["/data/object/payment_intent", "/data/object/id"],
//!       "customer": "/data/object/customer",
//!       "minor": "/data/object/amount_paid", "currency": "/data/object/currency"
//!     }
//!   }]
//! }
//! ```
//!
//! Of the rules that give the same kind of event the first that fits counts: all of its `when` hold, and
//! the event's name is among `events` (none: any). `is` is `equals`, `not_equals` (one of, none of
//! `values`, as text), `contains` (a list or text), `at_least`, `at_most` (a number), `exists`, `absent`.
//!
//! A field is a JSON Pointer (RFC 6901), a list of them of which the first that finds a text, number or
//! truth value counts, `{"at": …, "prefix": …}`, or `{"constant": …}`:
//!
//! | field | what |
//! |---|---|
//! | `key` | what makes the event one; without it the provider's event id |
//! | `lead`, `email`, `phone`, `customer`, `contact` | who it is about; at least one, or `payments` |
//! | `payments` | every name that is found of the payment it is about: see the events API |
//! | `record` | of a lead: the contact or other record that it is; without a `key`, the event is that record with its touches |
//! | `wclid`, `code` | of a lead: every token, or address with one, and every code that is found |
//! | `amount` or `minor`, and `currency` | a number such as `"12.50"` or `8.0E7`, or whole minor units |
//! | `occurred_at` | seconds, milliseconds, … since 1970, an ISO 8601 time or a day |
//! | `qualification` | of a disqualification: the `key` of the qualification taken back |
//! | `disqualification` | of a reinstatement: the `key` of the disqualification undone |
//!
//! What a rule names as an amount or a time and is not readable where it should be is never 0, all, or now: the event
//! is refused, with a reason. So is an amount that is not there, and one without a currency unless the source has a
//! `default_currency`. An amount of 0 that is taken back is understood and has no effect.
//!
//! `history` of a rule for a qualification asks for what the person has paid before: `{"is": "first_payment"}`, or
//! `{"is": "spend_at_least", "amount_minor": 5000, "currency": "EUR", "within_days": 30}`.
//!
//! Beside `rules`: `url` (HubSpot), `organization` (Salesforce), `signature_header`, `signature_prefix`,
//! `signature_encoding` (JSON with an HMAC), `event_at`, `id_at` (JSON of the operator's own shape),
//! `default_currency`, `test`, `disabled`.

use crate::api::{
    Api,
    events::history,
    form::{self, Form},
    json::{Errors, Fields},
    problem::{Code, Problem},
};
use crate::webhooks::{FIELDS, Provider, check};
use serde_json::{Map, Value, json};
use whence_schemas::event::{WebhookCondition, WebhookField, WebhookRule, WebhookSource};

const RULE: &str = "a rule";

/// Reads what a body says of this source. Without `rules` it has the provider's built-in ones, which are stored like others:
/// a later version of whence changes nothing.
pub(in crate::api) fn read(
    api: &Api,
    body: Value,
    program: &str,
    id: &str,
) -> Result<WebhookSource, Problem> {
    read_with(body, program, id, |fields, secrets| api.webhooks.check_secrets(fields, program, secrets))
}

fn read_with(
    body: Value,
    program: &str,
    id: &str,
    check_secrets: impl FnOnce(&mut Fields<'_>, &mut Vec<String>),
) -> Result<WebhookSource, Problem> {
    let mut source =
        WebhookSource { program: program.to_owned(), id: id.to_owned(), ..WebhookSource::default() };
    form::read(body, "a source", |form| {
        self::form(form, &mut source);
        let Form::Read(fields) = form else { return };
        check_secrets(fields, &mut source.secrets);
        for mistake in check(&source) {
            fields.errors().add(mistake.field, Code::Invalid, mistake.reason);
        }
    })?;
    Ok(source)
}

/// A source as callers write and see it.
pub(in crate::api) fn form(form: &mut Form<'_, '_>, source: &mut WebhookSource) {
    form.of_path("program", &source.program);
    form.of_path("id", &source.id);
    form.text("provider", &mut source.provider);
    let scheme = source.scheme.get_or_insert_default();
    form.optional_text("url", &mut scheme.url);
    form.optional_text("organization", &mut scheme.organization);
    form.optional_text("signature_header", &mut scheme.signature_header);
    form.optional_text("signature_prefix", &mut scheme.signature_prefix);
    form.optional_text("signature_encoding", &mut scheme.signature_encoding);
    form.optional_text("event_at", &mut scheme.event_at);
    form.optional_text("id_at", &mut scheme.id_at);
    let has_own = match form {
        Form::Read(fields) => fields.has("rules"),
        Form::Show(_) => true,
    };
    if has_own {
        form.list("rules", RULE, &mut source.rules, rule);
    } else {
        source.rules = default_rules(&source.provider);
    }
    form.texts("secrets", &mut source.secrets);
    form.optional_text("default_currency", &mut source.default_currency);
    form.flag("test", &mut source.test);
    form.flag("disabled", &mut source.disabled);
}

/// The provider's built-in rules; none for an unknown provider.
fn default_rules(provider: &str) -> Vec<WebhookRule> {
    let text = Provider::of(provider).map_or("[]", Provider::default_rules);
    let list: Vec<Value> =
        serde_json::from_str(text).expect("the built-in rules are JSON: a test reads them");
    form::objects(list, "rules", RULE, &mut Errors::default(), rule)
}

fn rule(form: &mut Form<'_, '_>, rule: &mut WebhookRule) {
    form.texts("events", &mut rule.events);
    form.list("when", "a condition", &mut rule.when, condition);
    form.text("gives", &mut rule.gives);
    form.optional_text("name", &mut rule.name);
    match form {
        Form::Read(fields) => {
            rule.fields = fields.object("fields").map(rule_fields).unwrap_or_default();
            rule.history = history::read(fields);
        }
        Form::Show(shown) => {
            let places: Map<String, Value> =
                rule.fields.iter().map(|field| (field.field.clone(), shown_place(field))).collect();
            shown.insert("fields".to_owned(), places.into());
            if let Some(condition) = &rule.history {
                shown.insert("history".to_owned(), history::view(condition));
            }
        }
    }
}

fn condition(form: &mut Form<'_, '_>, condition: &mut WebhookCondition) {
    form.text("at", &mut condition.at);
    form.text("is", &mut condition.is);
    match form {
        Form::Read(fields) => condition.values = values(fields),
        Form::Show(_) if condition.values.is_empty() => {}
        Form::Show(_) => form.texts("values", &mut condition.values),
    }
}

/// Texts, numbers and truth values, as texts.
fn values(fields: &mut Fields<'_>) -> Vec<String> {
    let mut values = Vec::new();
    for (index, value) in fields.list("values").into_iter().enumerate() {
        match value {
            Value::String(text) => values.push(text),
            Value::Number(number) => values.push(number.to_string()),
            Value::Bool(flag) => values.push(flag.to_string()),
            _ => fields.wrong(
                &format!("values[{index}]"),
                Code::WrongType,
                "must be a string, a number, true or false",
            ),
        }
    }
    values
}

fn shown_place(field: &WebhookField) -> Value {
    if !field.constant.is_empty() {
        return json!({ "constant": field.constant });
    }
    let at = match field.at.as_slice() {
        [one] => json!(one),
        many => json!(many),
    };
    if field.prefix.is_empty() { at } else { json!({ "at": at, "prefix": field.prefix }) }
}

fn rule_fields(mut fields: Fields<'_>) -> Vec<WebhookField> {
    let mut found = Vec::new();
    for name in FIELDS {
        let Some(value) = fields.take(name) else { continue };
        let field = WebhookField { field: name.to_owned(), ..WebhookField::default() };
        let path = fields.path(name);
        found.push(match value {
            Value::Object(_) => {
                let inner = Fields::of(value, &path, fields.errors());
                inner.map(|inner| place(inner, field)).unwrap_or_default()
            }
            other => WebhookField { at: pointers(other, &path, fields.errors()), ..field },
        });
    }
    fields.finish("a rule's fields");
    found
}

/// `{"at": …, "prefix": …}` or `{"constant": …}`
fn place(mut fields: Fields<'_>, field: WebhookField) -> WebhookField {
    let at = fields.take("at");
    let path = fields.path("at");
    let field = WebhookField {
        at: at.map(|at| pointers(at, &path, fields.errors())).unwrap_or_default(),
        prefix: fields.text("prefix").unwrap_or_default(),
        constant: fields.text("constant").unwrap_or_default(),
        ..field
    };
    fields.finish("a field's place");
    field
}

/// One pointer, or a list of them.
fn pointers(value: Value, path: &str, errors: &mut Errors) -> Vec<String> {
    let list = match value {
        Value::Array(list) => list,
        one => vec![one],
    };
    let mut pointers = Vec::with_capacity(list.len());
    for value in list {
        match value {
            Value::String(pointer) => pointers.push(pointer),
            _ => errors.add(
                path,
                Code::WrongType,
                "must be a JSON Pointer, a list of them, or an object with at or constant",
            ),
        }
    }
    pointers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_rules_are_read_whole_and_right() {
        for provider in Provider::ALL {
            let list: Vec<Value> = serde_json::from_str(provider.default_rules()).unwrap();
            let count = list.len();
            let body = json!({
                "provider": provider.word(),
                "secrets": ["main"],
                "rules": list,
                "organization": (provider == Provider::Salesforce).then_some("00D000000000001"),
            });
            let read = read_with(body, "demo", "s", |_, _| ());
            match read {
                Ok(source) => assert!(count > 0 && source.rules.len() == count, "{provider:?}"),
                Err(problem) => assert!(count == 0 && problem.errors.len() == 1, "{provider:?} {problem:?}"),
            }
        }
    }
}
