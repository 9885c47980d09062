//! Reads one field after another from the layered sources and keeps every mistake.

use std::ffi::OsString;
use std::fmt;
use std::ops::RangeBounds;
use std::path::Path;

use clap::ArgMatches;

use super::file::{ConfigFile, Raw, read_bounded};
use super::load::{Effective, Environment};
use super::mistake::{Mistake, Problem};
use super::row::{Fallback, Row, variable};
use super::value::{Invalid, Value, without_userinfo};

/// Longer than any key or token; a larger file is not a secret but a mistake in the path.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// Enough of a wrong value to recognise it.
const QUOTED_CHARS_MAX: usize = 60;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// A `WHENCE_…` variable.
    Environment,
    /// The configuration file.
    File,
    /// Nothing named it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// A value as given, with where.
struct Given {
    raw: Raw,
    place: String,
    origin: Origin,
}

/// Passed to [`Group::read`](super::Group::read); only the `settings!` macro calls its methods.
pub struct Reader<'a> {
    pub(super) flags: Option<&'a ArgMatches>,
    pub(super) environment: &'a Environment,
    pub(super) file: &'a ConfigFile,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) effective: Vec<Effective>,
}

impl Reader<'_> {
    /// Reads one field; `None` after a mistake, which is kept.
    #[doc(hidden)]
    pub fn read<T: Value>(&mut self, row: &Row, check: impl FnOnce(&T) -> Result<(), Invalid>) -> Option<T> {
        let outcome = match self.given(row)? {
            Some(given) => self.parse::<T>(row, given),
            None => self.unset::<T>(row).map(|value| (value, row.name.clone(), Origin::Default)),
        };
        let (value, place, origin) = outcome?;
        let rendered = value.render();
        if let Err(invalid) = check(&value) {
            self.invalid(row, place, rendered, &invalid);
            return None;
        }
        // A shared group is read once per group that contains it.
        if !self.effective.iter().any(|known| known.name == row.name) {
            self.effective.push(Effective { name: row.name.clone(), value: rendered, origin });
        }
        Some(value)
    }

    /// Rules between settings that are broken.
    #[doc(hidden)]
    pub fn conflicts(&mut self, messages: Vec<String>) {
        for message in messages {
            self.mistake("settings".to_owned(), Problem::Conflict(message));
        }
    }

    /// The first source that names the setting. Outer `None`: a mistake on the way.
    fn given(&mut self, row: &Row) -> Option<Option<Given>> {
        let lookups: [fn(&mut Self, &str) -> Option<Option<Given>>; 3] =
            [Self::flag, Self::variable, Self::key];
        for lookup in lookups {
            let direct = lookup(self, &row.name)?;
            let file = match row.file_name() {
                Some(name) => lookup(self, &name)?,
                None => None,
            };
            match (direct, file) {
                (None, None) => {}
                (Some(given), None) => return Some(Some(given)),
                (None, Some(file)) => return self.secret_file(file).map(Some),
                (Some(given), Some(file)) => {
                    self.mistake(given.place, Problem::Ambiguous { file: file.place });
                    return None;
                }
            }
        }
        Some(None)
    }

    #[expect(clippy::unnecessary_wraps, reason = "one shape for the three look-ups")]
    fn flag(&mut self, name: &str) -> Option<Option<Given>> {
        // A flag this command does not define is an error of `try_get_many`, and not given.
        let values = self.flags.and_then(|flags| flags.try_get_many::<String>(name).ok().flatten());
        let Some(values) = values else { return Some(None) };
        let mut values: Vec<String> = values.cloned().collect();
        let raw = if values.len() == 1 { Raw::Text(values.swap_remove(0)) } else { Raw::List(values) };
        Some(Some(Given { raw, place: format!("--{name}"), origin: Origin::Flag }))
    }

    fn variable(&mut self, name: &str) -> Option<Option<Given>> {
        let place = variable(name);
        match self.environment.value(&place).map(OsString::into_string) {
            None => Some(None),
            Some(Ok(text)) => Some(Some(Given { raw: Raw::Text(text), place, origin: Origin::Environment })),
            Some(Err(_)) => {
                self.mistake(place, Problem::NotText);
                None
            }
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "one shape for the three look-ups")]
    fn key(&mut self, name: &str) -> Option<Option<Given>> {
        let raw = self.file.values.get(name);
        Some(raw.map(|raw| Given { raw: raw.clone(), place: self.file.place(name), origin: Origin::File }))
    }

    /// The secret inside a file, without the line end that editors and `echo` add.
    fn secret_file(&mut self, given: Given) -> Option<Given> {
        let Raw::Text(path) = &given.raw else {
            let problem = Problem::Invalid { text: None, reason: "expected one path".to_owned() };
            self.mistake(given.place, problem);
            return None;
        };
        match read_bounded(Path::new(path), SECRET_BYTES_MAX) {
            Ok(text) => {
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let secret = line.strip_suffix('\r').unwrap_or(line);
                Some(Given { raw: Raw::Text(secret.to_owned()), ..given })
            }
            Err(source) => {
                self.mistake(given.place, Problem::Unreadable { path: path.clone(), source });
                None
            }
        }
    }

    fn parse<T: Value>(&mut self, row: &Row, given: Given) -> Option<(T, String, Origin)> {
        let (parsed, text) = match given.raw {
            Raw::Text(text) => (T::parse(text.trim()), text),
            Raw::List(items) => (T::parse_list(&items), items.join(",")),
        };
        match parsed {
            Ok(value) => Some((value, given.place, given.origin)),
            Err(invalid) => {
                self.invalid(row, given.place, text, &invalid);
                None
            }
        }
    }

    fn unset<T: Value>(&mut self, row: &Row) -> Option<T> {
        match row.fallback {
            Fallback::Text(text) => match T::parse(text) {
                Ok(value) => return Some(value),
                Err(invalid) => self.invalid(row, row.name.clone(), text.to_owned(), &invalid),
            },
            Fallback::Unset => return T::unset(),
            Fallback::Required => {
                let flag = format!("--{}", row.file_name().unwrap_or_else(|| row.name.clone()));
                let problem = Problem::Missing { flag, variable: row.variable(), name: row.name.clone() };
                self.mistake(row.name.clone(), problem);
            }
        }
        None
    }

    fn invalid(&mut self, row: &Row, place: String, text: String, invalid: &Invalid) {
        let text = (!row.secret).then(|| shortened(&without_userinfo(&text)));
        self.mistake(place, Problem::Invalid { text, reason: invalid.to_string() });
    }

    fn mistake(&mut self, place: String, problem: Problem) {
        let mistake = Mistake { place, problem };
        let text = mistake.to_string();
        // A shared group is read once per group that contains it.
        if !self.mistakes.iter().any(|known| known.to_string() == text) {
            self.mistakes.push(mistake);
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The check behind `in RANGE`.
///
/// # Errors
/// If `value` is outside `range`; the reason names the bounds.
#[doc(hidden)]
pub fn within<T: Value + PartialOrd>(value: &T, range: &impl RangeBounds<T>) -> Result<(), Invalid> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    if range.contains(value) {
        return Ok(());
    }
    let low = match range.start_bound() {
        Included(low) => Some(format!("at least {}", low.render())),
        Excluded(low) => Some(format!("more than {}", low.render())),
        Unbounded => None,
    };
    let high = match range.end_bound() {
        Included(high) => Some(format!("at most {}", high.render())),
        Excluded(high) => Some(format!("less than {}", high.render())),
        Unbounded => None,
    };
    let bounds: Vec<String> = [low, high].into_iter().flatten().collect();
    Err(Invalid::new(format!("must be {}", bounds.join(" and "))))
}
