//! The JSON form of a registry record, said once for both directions: a record's `form` names each field with the place
//! that holds it, and [`Form`] either reads them from a body or shows them in an answer. So what an answer shows can be
//! given back.

use super::{
    json::{Errors, Fields},
    moment,
    problem::{Code, Problem},
};
use serde_json::{Map, Value};
use whence_schemas::time::UnixMs;

/// Fields that every answer with a record has and no body decides.
pub(super) const MADE_HERE: [&str; 3] = ["created", "changed", "version"];

/// One direction.
pub(super) enum Form<'a, 'e> {
    /// From a body. What it does not have stays as it is in the record, which starts as a new one.
    Read(&'a mut Fields<'e>),
    /// Into an answer.
    Show(&'a mut Map<String, Value>),
}

impl Form<'_, '_> {
    /// A text; without it, an empty one.
    pub fn text(&mut self, name: &str, value: &mut String) {
        match self {
            Form::Read(fields) => set(fields.text(name), value),
            Form::Show(shown) => show(shown, name, value.as_str()),
        }
    }

    /// A text that must be there.
    pub fn required_text(&mut self, name: &str, value: &mut String) {
        match self {
            Form::Read(fields) => set(fields.required_text(name), value),
            Form::Show(shown) => show(shown, name, value.as_str()),
        }
    }

    /// A text that is shown only where there is one.
    pub fn optional_text(&mut self, name: &str, value: &mut String) {
        match self {
            Form::Show(_) if value.is_empty() => {}
            _ => self.text(name, value),
        }
    }

    /// Texts.
    pub fn texts(&mut self, name: &str, values: &mut Vec<String>) {
        match self {
            Form::Read(fields) => *values = fields.texts(name),
            Form::Show(shown) => show(shown, name, values.as_slice()),
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str, value: &mut bool) {
        match self {
            Form::Read(fields) => set(fields.flag(name), value),
            Form::Show(shown) => show(shown, name, *value),
        }
    }

    /// A number from 0 to 4294967295.
    pub fn number(&mut self, name: &str, value: &mut u32) {
        match self {
            Form::Read(fields) => {
                let number = fields.integer(name).map(u32::try_from);
                if matches!(number, Some(Err(_))) {
                    fields.wrong(name, Code::Invalid, "must be between 0 and 4294967295");
                }
                set(number.and_then(Result::ok), value);
            }
            Form::Show(shown) => show(shown, name, *value),
        }
    }

    /// A whole number.
    pub fn integer(&mut self, name: &str, value: &mut i64) {
        match self {
            Form::Read(fields) => set(fields.integer(name), value),
            Form::Show(shown) => show(shown, name, *value),
        }
    }

    /// One of these words, for the value of a Protobuf enum.
    pub fn word<T: Copy + Into<i32>>(&mut self, name: &str, words: &[(&'static str, T)], value: &mut i32) {
        match self {
            Form::Read(fields) => set(fields.word(name, words).map(Into::into), value),
            Form::Show(shown) => {
                let word = words.iter().find(|(_, of)| (*of).into() == *value).map(|(word, _)| *word);
                show(shown, name, word);
            }
        }
    }

    /// A moment, in milliseconds since 1970.
    pub fn moment(&mut self, name: &str, value: &mut i64) {
        match self {
            Form::Read(fields) => set(moment::field(fields, name).map(|at| at.0), value),
            Form::Show(shown) => show(shown, name, UnixMs(*value).rfc3339()),
        }
    }

    /// A moment, in milliseconds since 1970, or none, for which 0 stands.
    pub fn optional_moment(&mut self, name: &str, value: &mut i64) {
        match self {
            Form::Read(fields) => {
                let given = moment::field(fields, name).map(|at| at.0);
                if given == Some(0) {
                    fields.wrong(name, Code::Invalid, "must be later than 1970-01-01T00:00:00Z");
                }
                set(given, value);
            }
            Form::Show(shown) => show(shown, name, shown_moment(*value)),
        }
    }

    /// What the path says: a body may repeat it, and not say otherwise.
    pub fn of_path(&mut self, name: &str, value: &str) {
        match self {
            Form::Read(fields) => same_as_path(fields, name, value),
            Form::Show(shown) => show(shown, name, value),
        }
    }

    /// What whence makes: shown, and left alone in a body.
    pub fn made_here(&mut self, name: &str, value: impl FnOnce() -> Value) {
        match self {
            Form::Read(fields) => drop(fields.take(name)),
            Form::Show(shown) => show(shown, name, value()),
        }
    }

    /// An object, or none. `what` completes "is not a field of …".
    pub fn object<T: Default>(
        &mut self,
        name: &str,
        what: &str,
        value: &mut Option<T>,
        form: impl FnOnce(&mut Form<'_, '_>, &mut T),
    ) {
        match self {
            Form::Read(fields) => {
                *value = fields.object(name).map(|mut fields| {
                    let mut value = T::default();
                    form(&mut Form::Read(&mut fields), &mut value);
                    fields.finish(what);
                    value
                });
            }
            Form::Show(shown) => {
                let of = value.as_mut().map(|value| self::shown(|inner| form(inner, value)));
                show(shown, name, of.map(Value::Object));
            }
        }
    }

    /// A list of objects.
    pub fn list<T: Default>(
        &mut self,
        name: &str,
        what: &str,
        values: &mut Vec<T>,
        form: impl Fn(&mut Form<'_, '_>, &mut T),
    ) {
        match self {
            Form::Read(fields) => {
                let (items, path) = (fields.list(name), fields.path(name));
                *values = objects(items, &path, what, fields.errors(), form);
            }
            Form::Show(shown) => {
                let items = values.iter_mut().map(|value| self::shown(|inner| form(inner, value)).into());
                let items: Vec<Value> = items.collect();
                show(shown, name, items);
            }
        }
    }
}

/// Objects of a list at this path. An item that is not an object counts as an empty one, so that indexes stay right.
pub(super) fn objects<T: Default>(
    items: Vec<Value>,
    path: &str,
    what: &str,
    errors: &mut Errors,
    form: impl Fn(&mut Form<'_, '_>, &mut T),
) -> Vec<T> {
    let one = |(index, item)| {
        let mut value = T::default();
        if let Some(mut fields) = Fields::of(item, &format!("{path}[{index}]"), errors) {
            form(&mut Form::Read(&mut fields), &mut value);
            fields.finish(what);
        }
        value
    };
    items.into_iter().enumerate().map(one).collect()
}

/// What a form shows.
pub(super) fn shown(form: impl FnOnce(&mut Form<'_, '_>)) -> Map<String, Value> {
    let mut shown = Map::new();
    form(&mut Form::Show(&mut shown));
    shown
}

/// Reads a body with `form`, complaining about everything that is wrong. `what` completes "is not a field of …".
pub(super) fn read(body: Value, what: &str, form: impl FnOnce(&mut Form<'_, '_>)) -> Result<(), Problem> {
    let mut errors = Errors::default();
    if let Some(mut fields) = Fields::of(body, "", &mut errors) {
        for name in MADE_HERE {
            fields.take(name);
        }
        form(&mut Form::Read(&mut fields));
        fields.finish(what);
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::of_fields(errors.into_vec())) }
}

/// A moment as answers have it: RFC 3339, in UTC, with milliseconds; `null` where it is 0 (no moment).
pub(super) fn shown_moment(ms: i64) -> Option<String> {
    (ms != 0).then(|| UnixMs(ms).rfc3339())
}

fn same_as_path(fields: &mut Fields<'_>, name: &str, path: &str) {
    match fields.text(name) {
        Some(_) if path.is_empty() => fields.wrong(name, Code::Invalid, "is made by whence: leave it out"),
        Some(own) if own != path => fields.wrong(name, Code::Invalid, "does not fit the path"),
        _ => {}
    }
}

fn set<T>(given: Option<T>, value: &mut T) {
    if let Some(given) = given {
        *value = given;
    }
}

fn show(shown: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    shown.insert(name.to_owned(), value.into());
}
