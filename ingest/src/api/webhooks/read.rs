//! A source and its mapping as the API takes them. Says everything that is wrong at once.
//!
//! ```json
//! {
//!   "provider": "stripe", "secrets": ["stripe-live"],
//!   "rules": [{
//!     "events": ["invoice.paid"],
//!     "when": [{ "at": "/data/object/amount_paid", "is": "at_least", "values": [1] }],
//!     "gives": "qualification", "name": "payment",
//!     "fields": {
//!       "key": ["/data/object/payment_intent", "/data/object/id"],
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
//! | `lead`, `email`, `phone`, `customer`, `contact` | whom it is about; at least one |
//! | `wclid`, `code` | of a lead: every token, or address with one, and every code that is found |
//! | `amount` or `minor`, and `currency` | `"12.50"`, or whole minor units |
//! | `occurred_at` | seconds or milliseconds since 1970, or an RFC 3339 time |
//! | `qualification` | of a disqualification: the `key` of the qualification taken back |
//!
//! `history` of a rule for a qualification asks for what the person has paid before: `{"is": "first_payment"}`, or
//! `{"is": "spend_at_least", "amount_minor": 5000, "currency": "EUR", "within_days": 30}`.
//!
//! Beside `rules`: `url` (HubSpot), `organization` (Salesforce), `signature_header`, `signature_prefix`,
//! `signature_encoding` (JSON with an HMAC), `event_at`, `id_at` (JSON of the operator's own shape),
//! `test`, `disabled`.

use crate::api::{
    events::history,
    json::{Errors, Fields},
    problem::Code,
    programs::same_as_path,
};
use crate::webhooks::{FIELDS, Provider, check};
use serde_json::Value;
use whence_schemas::event::{WebhookCondition, WebhookField, WebhookRule, WebhookScheme, WebhookSource};

/// The source in a body. `secret_names` reads the names of its secrets, of this program.
pub(super) fn source(
    fields: &mut Fields<'_>,
    program: String,
    id: String,
    secret_names: impl FnOnce(&mut Fields<'_>, &str) -> Vec<String>,
) -> WebhookSource {
    same_as_path(fields, "program", &program);
    same_as_path(fields, "id", &id);
    let mut text = |name: &str| fields.text(name).unwrap_or_default();
    let provider = text("provider");
    let scheme = WebhookScheme {
        url: text("url"),
        organization: text("organization"),
        signature_header: text("signature_header"),
        signature_prefix: text("signature_prefix"),
        signature_encoding: text("signature_encoding"),
        event_at: text("event_at"),
        id_at: text("id_at"),
    };
    let rules = if fields.has("rules") {
        let list = fields.list("rules");
        let path = fields.path("rules");
        rules(list, &path, fields.errors())
    } else {
        default_rules(&provider)
    };
    let secrets = secret_names(fields, &program);
    let source = WebhookSource {
        program,
        id,
        provider,
        secrets,
        scheme: Some(scheme),
        rules,
        test: fields.flag("test").unwrap_or(false),
        disabled: fields.flag("disabled").unwrap_or(false),
    };
    for mistake in check(&source) {
        fields.errors().add(mistake.field, Code::Invalid, mistake.reason);
    }
    source
}

/// The provider's built-in rules; none for a provider that is none.
fn default_rules(provider: &str) -> Vec<WebhookRule> {
    let text = Provider::of(provider).map_or("[]", Provider::default_rules);
    let list: Vec<Value> =
        serde_json::from_str(text).expect("the built-in rules are JSON: a test reads them");
    rules(list, "rules", &mut Errors::default())
}

fn rules(list: Vec<Value>, path: &str, errors: &mut Errors) -> Vec<WebhookRule> {
    let rule = |(index, value)| {
        let fields = Fields::of(value, &format!("{path}[{index}]"), errors);
        fields.map(rule).unwrap_or_default()
    };
    list.into_iter().enumerate().map(rule).collect()
}

fn rule(mut fields: Fields<'_>) -> WebhookRule {
    let mut when = Vec::new();
    for (index, value) in fields.list("when").into_iter().enumerate() {
        let path = fields.path(&format!("when[{index}]"));
        when.extend(Fields::of(value, &path, fields.errors()).map(condition));
    }
    let found = fields.object("fields").map(rule_fields).unwrap_or_default();
    let rule = WebhookRule {
        events: fields.texts("events"),
        when,
        gives: fields.text("gives").unwrap_or_default(),
        name: fields.text("name").unwrap_or_default(),
        fields: found,
        history: history::read(&mut fields),
    };
    fields.finish("a rule");
    rule
}

fn condition(mut fields: Fields<'_>) -> WebhookCondition {
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
    let condition = WebhookCondition {
        at: fields.text("at").unwrap_or_default(),
        is: fields.text("is").unwrap_or_default(),
        values,
    };
    fields.finish("a condition");
    condition
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
    use crate::api::write;
    use serde_json::json;

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
            let read = write::record(body, "a source", |fields| {
                source(fields, "demo".into(), "s".into(), |fields, _| fields.texts("secrets"))
            });
            match read {
                Ok(source) => assert!(count > 0 && source.rules.len() == count, "{provider:?}"),
                Err(problem) => assert!(count == 0 && problem.errors.len() == 1, "{provider:?} {problem:?}"),
            }
        }
    }
}
