//! An event as an HTML form sends it (`application/x-www-form-urlencoded`), for the calls that name kind and program in
//! their path. Pure.
//!
//! | field of the form | field of the event |
//! |---|---|
//! | `NAME` | the same, as a text; `test` as a flag, `paid_minor` as a number, `occurred_at` as either |
//! | `amount`, `minor`, `currency`; or `value[amount]`, `value.amount`, … | those of `value` |
//! | `history[is]`, `history.is`, … | those of `history` |
//! | `payments` or `payments[]`, as often as there are names | `payments` |
//! | `wclid`, as often as there are tokens | `wclid` |
//!
//! A field that is empty is `null`, which is as if it were not there: forms send all that they have. Where what is not there
//! means all, as the amount of a disqualification, `null` is refused.

use crate::api::problem::{Code, Problem};
use serde_json::{Map, Value};

/// Fields of a form.
const FIELDS_MAX: usize = 128;
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
/// Fields of the event's `value`, which forms may name alone.
const VALUES: [&str; 3] = ["amount", "minor", "currency"];
/// Objects of an event.
const OBJECTS: [&str; 2] = ["value", "history"];
/// What may be there several times.
const LISTS: [&str; 2] = ["payments", "wclid"];

/// Whether the body is a form. Scripts send JSON under this type, too: their libraries add it.
#[must_use]
pub fn is_form(content_type: Option<&str>, body: &[u8]) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    essence.eq_ignore_ascii_case(CONTENT_TYPE) && first.is_some_and(|byte| !matches!(byte, b'{' | b'['))
}

/// The event.
///
/// # Errors
/// A field is there twice, or there are too many.
pub fn read(body: &[u8]) -> Result<Value, Problem> {
    let mut event = Map::new();
    for (index, (name, text)) in form_urlencoded::parse(body).enumerate() {
        if index == FIELDS_MAX {
            let detail = format_args!("the form has more than {FIELDS_MAX} fields");
            return Err(Problem::new(Code::TooLarge, detail));
        }
        put(&mut event, &name, &text)?;
    }
    for object in OBJECTS {
        if let Some(Value::Object(fields)) = event.get(object)
            && fields.values().all(Value::is_null)
        {
            event.insert(object.to_owned(), Value::Null);
        }
    }
    Ok(Value::Object(event))
}

fn put(event: &mut Map<String, Value>, name: &str, text: &str) -> Result<(), Problem> {
    let (object, field) = place(name);
    let value = if text.trim().is_empty() { Value::Null } else { typed(field, text) };
    let (fields, is_list) = match object {
        None => (event, LISTS.contains(&field)),
        Some(object) => {
            let inner = event.entry(object).or_insert_with(|| Map::new().into());
            (inner.as_object_mut().expect("no field of a form has the name of an object"), false)
        }
    };
    match fields.get_mut(field) {
        None if value.is_null() => _ = fields.insert(field.to_owned(), value),
        Some(_) if value.is_null() => {}
        Some(Value::Array(values)) => values.push(value),
        None | Some(Value::Null) => {
            let value = if is_list { vec![value].into() } else { value };
            fields.insert(field.to_owned(), value);
        }
        Some(_) => {
            // The name is the caller's text: bounded.
            let name: String = name.chars().take(64).collect();
            return Err(Problem::of_field(&name, Code::Invalid, "is in the form twice"));
        }
    }
    Ok(())
}

/// The object that a field stands in, if any, and its name there.
fn place(name: &str) -> (Option<&'static str>, &str) {
    if VALUES.contains(&name) {
        return (Some("value"), name);
    }
    for object in OBJECTS {
        let inner = name.strip_prefix(object).unwrap_or_default();
        let bracketed = inner.strip_prefix('[').and_then(|field| field.strip_suffix(']'));
        if let Some(field) = bracketed.or_else(|| inner.strip_prefix('.')) {
            return (Some(object), field);
        }
        // An object's fields are named one by one: what stands alone is told as a field that there is not.
        if name == object {
            return (Some(object), "");
        }
    }
    (None, name.strip_suffix("[]").unwrap_or(name))
}

/// The value as JSON would have it; a text where it has not the form.
fn typed(field: &str, text: &str) -> Value {
    let number = || text.trim().parse::<i64>().ok().map(Value::from);
    let value = match field {
        "test" => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Some(true.into()),
            "false" | "0" | "off" | "no" => Some(false.into()),
            _ => None,
        },
        "minor" | "paid_minor" | "amount_minor" | "within_days" | "occurred_at" => number(),
        _ => None,
    };
    value.unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_is_the_event_that_its_fields_name() {
        for (form, event) in [
            (
                "id=1&lead=a+b&email=ann%40shop.example&phone=",
                json!({"id": "1", "lead": "a b", "email": "ann@shop.example", "phone": null}),
            ),
            (
                "test=on&occurred_at=1700000000000",
                json!({"test": true, "occurred_at": 1_700_000_000_000_i64}),
            ),
            ("test=maybe&occurred_at=2026-01-01", json!({"test": "maybe", "occurred_at": "2026-01-01"})),
            ("amount=1.50&currency=EUR", json!({"value": {"amount": "1.50", "currency": "EUR"}})),
            ("value[minor]=150&value.currency=EUR", json!({"value": {"minor": 150, "currency": "EUR"}})),
            ("history[is]=first_payment", json!({"history": {"is": "first_payment"}})),
            ("payments=a&payments[]=b&wclid=x&wclid=", json!({"payments": ["a", "b"], "wclid": ["x"]})),
            ("payments=&payments[]=b&wclid=", json!({"payments": ["b"], "wclid": null})),
            ("id=&id=2", json!({"id": "2"})),
            ("amount=&currency=&history[is]=", json!({"value": null, "history": null})),
            ("amount=&currency=EUR", json!({"value": {"amount": null, "currency": "EUR"}})),
            ("value=1", json!({"value": {"": "1"}})),
            ("paid_minor=5&reward=x", json!({"paid_minor": 5, "reward": "x"})),
        ] {
            assert_eq!(read(form.as_bytes()).unwrap(), event, "{form}");
        }
        assert_eq!(read(b"id=1&id=2").unwrap_err().errors[0].field, "id");
        let many: Vec<_> = (0..=FIELDS_MAX).map(|field| format!("f{field}=1")).collect();
        assert_eq!(read(many.join("&").as_bytes()).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn json_under_the_type_of_a_form_is_json() {
        let form = Some("Application/X-WWW-Form-Urlencoded; charset=utf-8");
        assert!(
            is_form(form, b"id=1") && !is_form(form, b" {}") && !is_form(form, b"[]") && !is_form(form, b" ")
        );
        assert!(!is_form(Some("application/json"), b"id=1") && !is_form(None, b"id=1"));
    }

    #[test]
    fn fuzz_forms() {
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Ok(event) = read(bytes) {
                assert!(event.as_object().unwrap().len() <= FIELDS_MAX);
            }
        });
    }
}
