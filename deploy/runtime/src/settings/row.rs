//! One setting as data: the row behind its flag, its help line and its line in the README.

use super::value::Value;

/// What a setting is when no source names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Loading fails with a message that names it.
    Required,
    /// Absent (`Option`) or empty (`Vec`).
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
