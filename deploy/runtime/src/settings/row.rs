//! One setting as data: the row behind its flag, its help line and its line in the README.

use super::reader::Reader;
use super::value::Value;

/// What a setting is when no source names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Loading fails with a message that names it.
    Required,
    /// It is absent (`Option`) or empty (`Vec`).
    Unset,
    /// This text, parsed like any other source's.
    Text(&'static str),
}

/// One setting. Its flag, variable and key all derive from `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In kebab case, such as `click-journal-quota`.
    pub name: String,
    /// The group's title, a heading in help texts.
    pub group: String,
    /// The field's doc comment; the first paragraph is the short help.
    pub help: String,
    /// What the value looks like, such as `SIZE`.
    pub placeholder: &'static str,
    /// What applies when nothing names it.
    pub fallback: Fallback,
    /// See [`Value::SECRET`].
    pub secret: bool,
    /// See [`Value::LIST`].
    pub list: bool,
    /// See [`Value::SWITCH`].
    pub switch: bool,
}

impl Row {
    /// The row of a field of type `T`; for the `settings!` macro.
    #[doc(hidden)]
    pub fn of<T: Value>(field: &str, group: &str, help: &str, default: Option<&'static str>) -> Self {
        let fallback = match default {
            Some(text) => Fallback::Text(text),
            None if T::unset().is_some() => Fallback::Unset,
            None => Fallback::Required,
        };
        Self {
            name: field.trim_start_matches("r#").replace('_', "-"),
            group: unindented(group).trim_end_matches('.').to_owned(),
            help: unindented(help),
            placeholder: T::PLACEHOLDER,
            fallback,
            secret: T::SECRET,
            list: T::LIST,
            switch: T::SWITCH,
        }
    }

    /// The environment variable, such as `WHENCE_CLICK_JOURNAL_QUOTA`.
    pub fn variable(&self) -> String {
        variable(&self.name)
    }

    /// The name under which a file with the secret is given, for secrets.
    pub fn file_name(&self) -> Option<String> {
        self.secret.then(|| format!("{}-file", self.name))
    }

    /// The first paragraph of the help, on one line.
    pub fn summary(&self) -> String {
        let paragraph = self.help.split("\n\n").next().unwrap_or_default();
        paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

pub(super) fn variable(name: &str) -> String {
    format!("WHENCE_{}", name.replace('-', "_").to_ascii_uppercase())
}

/// Doc comments arrive with the one space that follows `///`.
fn unindented(doc: &str) -> String {
    let lines = doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Settings that are declared and read together. Implemented by [`settings!`](crate::settings!) and
/// [`compose!`](crate::compose).
pub trait Group: Sized {
    /// The rows in the order of declaration, each name once.
    fn rows() -> Vec<Row>;

    /// Reads every field, leaving each mistake with the reader; `None` if there was one.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;
}

/// Appends rows, each name once. A group may be part of several others; two *different* settings under one
/// name would make one flag mean two things.
///
/// # Panics
/// If a name is declared twice and differently: a mistake in the program, caught by any test that builds
/// the command.
pub(super) fn merge(rows: &mut Vec<Row>, more: Vec<Row>) {
    for row in more {
        match rows.iter().find(|known| known.name == row.name) {
            None => rows.push(row),
            Some(known) => assert_eq!(*known, row, "setting `{}` is declared twice, differently", row.name),
        }
    }
}

/// Every setting of the whole program, so that a file or an environment shared by several roles is not
/// called wrong for naming another role's settings.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    rows: Vec<Row>,
    variables: Vec<&'static str>,
}

impl Catalogue {
    /// Adds a group.
    ///
    /// # Panics
    /// If a name is declared twice and differently.
    #[must_use]
    pub fn with<G: Group>(mut self) -> Self {
        merge(&mut self.rows, G::rows());
        self
    }

    /// Adds a `WHENCE_…` variable that is read elsewhere (by scripts, by tests) and deserves no warning.
    #[must_use]
    pub fn with_variable(mut self, variable: &'static str) -> Self {
        self.variables.push(variable);
        self
    }

    /// The rows in order of declaration.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Every accepted TOML key.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        self.rows.iter().flat_map(|row| [Some(row.name.clone()), row.file_name()]).flatten()
    }

    /// Every accepted variable.
    pub(super) fn known_variables(&self) -> impl Iterator<Item = String> {
        let others = self.variables.iter().map(|name| (*name).to_owned());
        self.keys().map(|key| variable(&key)).chain(["WHENCE_CONFIG".to_owned()]).chain(others)
    }
}
