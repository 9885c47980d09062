//! Reads a JSON object field by field and collects everything that is wrong with it, so that a caller
//! corrects a body once, not field by field. Knows no events.

use super::problem::{Code, FIELD_ERRORS_MAX, FieldError};
use serde_json::{Map, Value};
use std::fmt::Display;

/// What is wrong so far. Bounded: what comes after the first [`FIELD_ERRORS_MAX`] is left out.
#[derive(Debug, Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// Adds what is wrong with a field.
    pub fn add(&mut self, field: impl Into<String>, code: Code, detail: impl Display) {
        if self.0.len() < FIELD_ERRORS_MAX {
            self.0.push(FieldError { field: field.into(), code, detail: detail.to_string() });
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is wrong.
    #[must_use]
    pub fn into_vec(self) -> Vec<FieldError> {
        self.0
    }
}

/// An object that is being read. Each field is taken once; [`Fields::finish`] complains about the rest.
///
/// `null` is the same as no field. Every reader answers `None` for a field that is absent or wrong; what
/// is wrong is in the errors.
pub struct Fields<'e> {
    prefix: String,
    map: Map<String, Value>,
    errors: &'e mut Errors,
}

impl<'e> Fields<'e> {
    /// Reads `value`, which must be an object. `path` is the field it stands in, empty for a whole body.
    pub fn of(value: Value, path: &str, errors: &'e mut Errors) -> Option<Fields<'e>> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
        match value {
            Value::Object(map) => Some(Fields { prefix, map, errors }),
            other => {
                let field = if path.is_empty() { "$" } else { path };
                errors.add(field, Code::WrongType, format_args!("must be an object, is {}", word(&other)));
                None
            }
        }
    }

    /// Adds what is wrong with the field `name` of this object.
    pub fn wrong(&mut self, name: &str, code: Code, detail: impl Display) {
        let field = self.path(name);
        self.errors.add(field, code, detail);
    }

    /// The field's path from the body.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The field as it is.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// A look at the field, which stays.
    #[must_use]
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    /// Whether the field is there and not `null`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.peek(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is there and says nothing.
    #[must_use]
    pub fn is_null(&self, name: &str) -> bool {
        self.peek(name).is_some_and(Value::is_null)
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => self.is_not(name, "a string", &other),
        }
    }

    /// A text that must be there.
    pub fn required_text(&mut self, name: &str) -> Option<String> {
        if !self.has(name) {
            self.wrong(name, Code::Required, "is missing");
        }
        self.text(name)
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(flag) => Some(flag),
            other => self.is_not(name, "true or false", &other),
        }
    }

    /// A whole number.
    pub fn integer(&mut self, name: &str) -> Option<i64> {
        match self.take(name)? {
            Value::Number(number) if number.is_i64() => number.as_i64(),
            other => self.is_not(name, "a whole number", &other),
        }
    }

    /// A list of texts; where there is none, an empty one.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        let items = self.list(name);
        self.all_texts(name, items)
    }

    /// The same, passing over what is `null`.
    pub fn texts_or_null(&mut self, name: &str) -> Vec<String> {
        let items = self.list(name).into_iter().filter(|item| !item.is_null()).collect();
        self.all_texts(name, items)
    }

    fn all_texts(&mut self, name: &str, items: Vec<Value>) -> Vec<String> {
        let mut texts = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => {
                    self.is_not::<()>(&format!("{name}[{index}]"), "a string", &other);
                }
            }
        }
        texts
    }

    /// A list; where there is none, an empty one.
    pub fn list(&mut self, name: &str) -> Vec<Value> {
        match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => self.is_not(name, "a list", &other).unwrap_or_default(),
        }
    }

    /// An object inside this one.
    pub fn object(&mut self, name: &str) -> Option<Fields<'_>> {
        let value = self.take(name)?;
        let path = self.path(name);
        Fields::of(value, &path, self.errors)
    }

    /// One of these words, as its value.
    pub fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.wrong(name, Code::Invalid, format_args!("must be {}", words.join(" or ")));
        }
        found
    }

    /// The errors, to add what concerns several fields.
    pub fn errors(&mut self) -> &mut Errors {
        self.errors
    }

    /// Complains about every field that nobody has taken. `what` completes "is not a field of …".
    pub fn finish(mut self, what: &str) {
        let left = std::mem::take(&mut self.map);
        for (name, _) in left.into_iter().filter(|(_, value)| !value.is_null()) {
            // The name is the caller's text: bounded, and shown to the caller only.
            let name: String = name.chars().take(64).collect();
            self.wrong(&name, Code::UnknownField, format_args!("is not a field of {what}"));
        }
    }

    fn is_not<T>(&mut self, name: &str, expected: &str, found: &Value) -> Option<T> {
        self.wrong(name, Code::WrongType, format_args!("must be {expected}, is {}", word(found)));
        None
    }
}

/// A value's JSON type, in words.
fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction or exponent",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_wrong_is_said_at_once() {
        let mut errors = Errors::default();
        let body = json!({"a": 1, "b": "x", "c": {"d": 1.5, "e": 1}, "f": ["x", 2], "g": "z"});
        let mut fields = Fields::of(body, "", &mut errors).unwrap();
        assert_eq!(fields.text("a"), None);
        assert_eq!(fields.flag("b"), None);
        let mut inner = fields.object("c").unwrap();
        assert_eq!(inner.integer("d"), None);
        inner.finish("c");
        assert_eq!(fields.texts("f"), ["x"]);
        assert_eq!(fields.word("g", &[("x", 1), ("y", 2)]), None);
        assert_eq!(fields.required_text("h"), None);
        fields.finish("it");
        let said: Vec<_> =
            errors.into_vec().into_iter().map(|e| format!("{} {}", e.field, e.detail)).collect();
        assert_eq!(
            said,
            [
                "a must be a string, is a number",
                "b must be true or false, is a string",
                "c.d must be a whole number, is a number with a fraction or exponent",
                "c.e is not a field of c",
                "f[1] must be a string, is a number",
                "g must be \"x\" or \"y\"",
                "h is missing",
            ]
        );
    }

    #[test]
    fn errors_are_bounded() {
        let body: Map<String, Value> = (0..100).map(|n| (format!("f{n}"), json!(1))).collect();
        let mut errors = Errors::default();
        Fields::of(Value::Object(body), "", &mut errors).unwrap().finish("it");
        assert_eq!(errors.into_vec().len(), FIELD_ERRORS_MAX);
    }
}
