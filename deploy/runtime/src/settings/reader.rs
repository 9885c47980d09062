//! Reads one field after another from the layered sources and keeps every mistake.

use std::ffi::OsString;
use std::fmt;
use std::ops::RangeBounds;
use std::path::Path;

use clap::ArgMatches;

use super::environment::Environment;
use super::file::{ConfigFile, Raw};
use super::mistake::{Mistake, Problem};
use super::row::{Fallback, Row, variable};
use super::value::{Invalid, Value, without_userinfo};
use crate::private;

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

/// A setting as it applies, for `whence validate`. Secrets are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The setting's name.
    pub name: String,
    /// Its value as it could be written.
    pub value: String,
    /// Who set it.
    pub origin: Origin,
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
        match self.try_read(row, check) {
            Ok((value, origin)) => {
                // A shared group is read once per group that contains it.
                if !self.effective.iter().any(|known| known.name == row.name) {
                    let name = row.name.clone();
                    self.effective.push(Effective { name, value: value.render(), origin });
                }
                Some(value)
            }
            Err(mistake) => {
                self.keep(mistake);
                None
            }
        }
    }

    /// Keeps the broken rules between settings; `None` if there are any.
    #[doc(hidden)]
    pub fn accept(&mut self, broken: Vec<String>) -> Option<()> {
        let accepted = broken.is_empty().then_some(());
        for message in broken {
            self.keep(Mistake { place: "settings".to_owned(), problem: Problem::Conflict(message) });
        }
        accepted
    }

    fn keep(&mut self, mistake: Mistake) {
        let text = mistake.to_string();
        if !self.mistakes.iter().any(|known| known.to_string() == text) {
            self.mistakes.push(mistake);
        }
    }

    fn try_read<T: Value>(
        &self,
        row: &Row,
        check: impl FnOnce(&T) -> Result<(), Invalid>,
    ) -> Result<(T, Origin), Mistake> {
        let given = match (self.given(row)?, row.fallback) {
            (Some(given), _) => given,
            (None, Fallback::Text(text)) => {
                Given { raw: Raw::Text(text.to_owned()), place: row.name.clone(), origin: Origin::Default }
            }
            (None, Fallback::Unset | Fallback::Required) => {
                return T::unset().map(|value| (value, Origin::Default)).ok_or_else(|| missing(row));
            }
        };
        let parsed = match &given.raw {
            Raw::Text(text) => T::parse(text.trim()),
            Raw::List(items) => T::parse_list(items),
        };
        let checked = parsed.and_then(|value| check(&value).map(|()| value));
        checked.map(|value| (value, given.origin)).map_err(|invalid| invalid_value(row, &given, &invalid))
    }

    /// The first source that names the setting.
    fn given(&self, row: &Row) -> Result<Option<Given>, Mistake> {
        let file_name = row.file_name();
        for origin in [Origin::Flag, Origin::Environment, Origin::File] {
            let direct = self.look_up(origin, &row.name)?;
            let file = match &file_name {
                Some(name) => self.look_up(origin, name)?,
                None => None,
            };
            match (direct, file) {
                (None, None) => {}
                (Some(given), None) => {
                    // A configuration file that holds a secret is a file with a secret.
                    if row.secret && origin == Origin::File {
                        let checked = private::check(Path::new(&self.file.path));
                        checked
                            .map_err(|error| Mistake { place: given.place.clone(), problem: error.into() })?;
                    }
                    return Ok(Some(given));
                }
                (None, Some(file)) => return secret_in(file).map(Some),
                (Some(given), Some(file)) => {
                    let problem = Problem::Ambiguous { file: file.place };
                    return Err(Mistake { place: given.place, problem });
                }
            }
        }
        Ok(None)
    }

    fn look_up(&self, origin: Origin, name: &str) -> Result<Option<Given>, Mistake> {
        let (place, raw) = match origin {
            Origin::Flag => (format!("--{name}"), self.flag(name)),
            Origin::Environment => {
                let place = variable(name);
                let text = self.environment.value(&place).map(OsString::into_string).transpose();
                let text = text.map_err(|_| Mistake { place: place.clone(), problem: Problem::NotText })?;
                (place, text.map(Raw::Text))
            }
            Origin::File => (self.file.place(name), self.file.values.get(name).cloned()),
            Origin::Default => (name.to_owned(), None),
        };
        Ok(raw.map(|raw| Given { raw, place, origin }))
    }

    fn flag(&self, name: &str) -> Option<Raw> {
        // A flag this command does not define is an error of `try_get_many`, and not given.
        let values = self.flags?.try_get_many::<String>(name).ok()??;
        let mut values: Vec<String> = values.cloned().collect();
        Some(if values.len() == 1 { Raw::Text(values.swap_remove(0)) } else { Raw::List(values) })
    }
}

/// The secret inside a file, without the line end that editors and `echo` add.
fn secret_in(given: Given) -> Result<Given, Mistake> {
    let Raw::Text(path) = &given.raw else {
        let problem = Problem::Invalid { text: None, reason: "expected one path".to_owned() };
        return Err(Mistake { place: given.place, problem });
    };
    match private::read(Path::new(path), SECRET_BYTES_MAX) {
        Ok(text) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            let secret = line.strip_suffix('\r').unwrap_or(line).to_owned();
            Ok(Given { raw: Raw::Text(secret), ..given })
        }
        Err(error) => Err(Mistake { place: given.place, problem: error.into() }),
    }
}

fn invalid_value(row: &Row, given: &Given, invalid: &Invalid) -> Mistake {
    let text = match &given.raw {
        _ if row.secret => None,
        Raw::Text(text) => Some(shortened(&without_userinfo(text))),
        Raw::List(items) => Some(shortened(&without_userinfo(&items.join(",")))),
    };
    Mistake { place: given.place.clone(), problem: Problem::Invalid { text, reason: invalid.to_string() } }
}

fn missing(row: &Row) -> Mistake {
    let flag = format!("--{}", row.file_name().unwrap_or_else(|| row.name.clone()));
    let problem = Problem::Missing { flag, variable: row.variable(), name: row.name.clone() };
    Mistake { place: row.name.clone(), problem }
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
