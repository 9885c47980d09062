//! The configuration file: flat TOML, one key per setting, bounded in size.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::mistake::{Mistake, Problem, nearest};
use crate::private::read_bounded;

/// A thousand settings with long values are 100 KiB; anything near this is the wrong file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A value before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// A variable, a single flag, a TOML scalar.
    Text(String),
    /// A repeated flag or a TOML array.
    List(Vec<String>),
}

/// The file's keys, and what is wrong with it apart from its values.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    /// As given; empty without a file.
    pub path: String,
    pub values: BTreeMap<String, Raw>,
    pub mistakes: Vec<Mistake>,
}

impl ConfigFile {
    /// Reads and checks a file against every name the program knows.
    pub fn read(path: &str, known: &[String]) -> Self {
        match File::open(Path::new(path)).and_then(|file| read_bounded(file, FILE_BYTES_MAX)) {
            Ok(text) => Self::parse(path, &text, known),
            Err(source) => {
                let problem = Problem::Unreadable { path: path.to_owned(), source };
                Self { mistakes: vec![Mistake { place: "--config".to_owned(), problem }], ..Self::default() }
            }
        }
    }

    fn parse(path: &str, text: &str, known: &[String]) -> Self {
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                file.mistakes.push(Mistake { place: path.to_owned(), problem: syntax(text, &error) });
                return file;
            }
        };
        for (key, value) in table {
            let problem = if known.contains(&key) {
                match raw(value) {
                    Ok(raw) => {
                        file.values.insert(key, raw);
                        continue;
                    }
                    Err(kind) => Problem::Shape { kind },
                }
            } else if value.is_table() {
                Problem::Shape { kind: "a section" }
            } else {
                Problem::Unknown { suggestion: nearest(&key, known.iter().cloned()) }
            };
            file.mistakes.push(Mistake { place: file.place(&key), problem });
        }
        file
    }

    /// How a key of this file is named in a message.
    pub fn place(&self, key: &str) -> String {
        format!("{}, `{key}`", self.path)
    }
}

fn raw(value: toml::Value) -> Result<Raw, &'static str> {
    match value {
        toml::Value::Array(items) => items.into_iter().map(scalar).collect::<Result<_, _>>().map(Raw::List),
        other => scalar(other).map(Raw::Text),
    }
}

fn scalar(value: toml::Value) -> Result<String, &'static str> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(flag) => Ok(flag.to_string()),
        toml::Value::Datetime(_) => Err("a date"),
        toml::Value::Array(_) => Err("a nested array"),
        toml::Value::Table(_) => Err("a table"),
    }
}

/// The parser's own `Display` quotes the line, which may hold a password: only its message is kept.
fn syntax(text: &str, error: &toml::de::Error) -> Problem {
    let offset = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Problem::Syntax {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: error.message().lines().next().unwrap_or("not valid TOML").to_owned(),
    }
}
