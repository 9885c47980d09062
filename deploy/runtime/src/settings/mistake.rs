//! What can be wrong with the settings. Every mistake of a start is reported in one go: fixing them one
//! restart at a time is how an hour goes by.

use std::fmt;
use std::io;
use std::ops::Deref;

use crate::private::PrivateError;

/// What is wrong in one place.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The text is not a value of the setting's type, or out of its range. `text` is `None` for secrets.
    #[error("{}{reason}", text.as_ref().map(|text| format!("`{text}`: ")).unwrap_or_default())]
    Invalid {
        /// What was given, shortened.
        text: Option<String>,
        /// What was expected.
        reason: String,
    },
    /// Nothing names a required setting.
    #[error("is required: set {flag}, {variable} or `{name}` in the configuration file")]
    Missing {
        /// The flag that sets it.
        flag: String,
        /// The variable that sets it.
        variable: String,
        /// The key that sets it.
        name: String,
    },
    /// A key or variable that no part of the program knows.
    #[error("unknown{}", suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    Unknown {
        /// The nearest known name, if one is near.
        suggestion: Option<String>,
    },
    /// A secret and its file in the same source.
    #[error("give either the secret or its file (`{file}`), not both")]
    Ambiguous {
        /// The file's name in that source.
        file: String,
    },
    /// The environment is bytes; settings are text.
    #[error("is not valid UTF-8")]
    NotText,
    /// A TOML value of a kind no setting has.
    #[error("{kind} has no meaning here; write `name = value` lines only, without sections")]
    Shape {
        /// Such as `a table`.
        kind: &'static str,
    },
    /// Not TOML. Says where, and does not quote the line: it may hold a secret.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From one.
        line: usize,
        /// From one.
        column: usize,
        /// The parser's message.
        message: String,
    },
    /// A file with a secret that cannot be read, or that others may read.
    #[error(transparent)]
    Secret(#[from] PrivateError),
    /// A configuration file that cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// As given.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Settings that contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// One mistake: where, and what.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Mistake {
    /// `--linger`, `WHENCE_LINGER`, ``whence.toml, `linger` ``.
    pub place: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// Every mistake of one load; never empty.
#[derive(Debug)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// `None` if there are none.
    pub(super) fn from_list(list: Vec<Mistake>) -> Option<Self> {
        (!list.is_empty()).then_some(Self(list))
    }
}

impl Deref for Mistakes {
    type Target = [Mistake];

    fn deref(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "one setting is wrong:")?,
            count => write!(f, "{count} settings are wrong:")?,
        }
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

/// The known name most like `unknown`, if it is near enough to be a slip. The bound is clap's for flags.
pub(super) fn nearest(unknown: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let scored = known.map(|name| (strsim::jaro(unknown, &name), name)).filter(|(score, _)| *score > 0.8);
    scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}
