//! What may be asked: an allow-list of statements, of whatever is called, of settings and of system tables.
//!
//! This is the second of two locks. The first are the engine's own rights ([`crate::rights`]): each
//! statement runs under the role of who asks, and a role is granted its databases and nothing that reaches
//! out of them. The engine's rights do not cover all: scalar functions (`file`), engines that need no
//! source (`EmbeddedRocksDB`), the tables of `system`. So what is not named here is refused, whether or not
//! the engine would take it: a new engine's new function is refused until somebody has looked at it.
//!
//! Works on tokens, as the lexer finds them; the engine parses everything again.

mod calls;
mod kinds;
mod settings;
mod system;

use std::collections::HashSet;

use super::tokens::{Kind, Token};
use crate::engine::Exception;
use crate::rights::Identity;

pub use calls::ENGINES;
pub use kinds::{Action, Place, Target};
pub use settings::{SettingLimits, check_settings};
pub use system::tables as system_tables;

/// Names that the engine knows, so that one which is not allowed is recognised where it is not called:
/// a bare word can be passed to a higher-order function (`arrayMap(file, …)`).
#[derive(Debug, Default)]
pub struct Catalogue {
    exact: HashSet<Vec<u8>>,
    folded: HashSet<Vec<u8>>,
    tables: HashSet<Vec<u8>>,
    formats: HashSet<Vec<u8>>,
}

impl Catalogue {
    /// Of the engine's functions, with whether case counts for nothing in the name, its table functions and
    /// its formats.
    pub fn new<'name>(
        functions: impl IntoIterator<Item = (&'name str, bool)>,
        tables: impl IntoIterator<Item = &'name str>,
        formats: impl IntoIterator<Item = &'name str>,
    ) -> Self {
        let fold = |name: &str| name.to_ascii_lowercase().into_bytes();
        let (tables, formats) =
            (tables.into_iter().map(fold).collect(), formats.into_iter().map(fold).collect());
        let mut catalogue = Self { tables, formats, ..Self::default() };
        for (name, folds) in functions {
            match folds {
                true => catalogue.folded.insert(name.to_ascii_lowercase().into_bytes()),
                false => catalogue.exact.insert(name.as_bytes().to_vec()),
            };
        }
        catalogue
    }

    fn has(&self, name: &[u8]) -> bool {
        self.exact.contains(name) || self.folded.contains(&name.to_ascii_lowercase())
    }

    fn has_table_function(&self, name: &[u8]) -> bool {
        self.tables.contains(&name.to_ascii_lowercase())
    }

    fn has_format(&self, name: &[u8]) -> bool {
        self.formats.contains(&name.to_ascii_lowercase())
    }
}

/// Who asks, and what holds for them.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'server> {
    /// Who asks.
    pub identity: Identity,
    /// The database of names that name none.
    pub database: &'server str,
    /// Databases whose tables the owner changes and the reader reads.
    pub databases: &'server [String],
    /// The database in which the reader may make tables.
    pub scratch: &'server str,
    /// Table engines beyond the MergeTree family that the owner may use; none but in trials.
    pub further_engines: &'server [String],
    /// What the engine knows.
    pub catalogue: &'server Catalogue,
    /// Maxima of the reader's settings.
    pub limits: &'server SettingLimits,
}

impl Rules<'_> {
    /// Whether who asks may make tables with replicas.
    fn replicates(&self) -> bool {
        self.identity == Identity::Owner
            && self.further_engines.iter().any(|engine| engine.starts_with("Replicated"))
    }
}

/// What a statement that may be asked does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it changes.
    pub action: Action,
    /// What is called and is no function of the list: if it is not a view of a database that may be read,
    /// the statement is refused.
    pub views: Vec<View>,
}

/// A call that only a view with parameters can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Which view.
    pub place: Place,
    /// The token that names it, if it names no database.
    pub unqualified_at: Option<usize>,
}

/// Checks the tokens of one statement.
///
/// # Errors
/// 62 for what is not closed, 358 for files of the client, 452 for a setting, 497 for all else.
pub fn check(text: &[u8], tokens: &[Token], rules: &Rules<'_>) -> Result<Verdict, Exception> {
    let statement = Tokens { text, tokens };
    whole(&statement)?;
    files_of_the_client(&statement)?;
    let action = kinds::action(&statement, rules)?;
    let views = calls::check(&statement, rules, action.target().map(|target| target.at))?;
    system::check(&statement, rules)?;
    settings::check(&statement, rules)?;
    Ok(Verdict { action, views })
}

/// Checks rows in format `Values`: they may hold expressions, which are evaluated. Returns them as they are
/// to be sent, without comments.
///
/// # Errors
/// As for a statement; 229 for rows that are longer than `bytes_max`: expressions belong into short ones.
pub fn check_values(rows: &[u8], bytes_max: usize, rules: &Rules<'_>) -> Result<Vec<u8>, Exception> {
    if rows.len() > bytes_max {
        let message = format!("Rows in format Values are longer than {bytes_max} bytes: send another format");
        return Err(Exception::new(229, "QUERY_IS_TOO_LARGE", &message));
    }
    let tokens: Vec<Token> = super::tokens::Tokens::new(rows).collect();
    let statement = Tokens { text: rows, tokens: &tokens };
    whole(&statement)?;
    files_of_the_client(&statement)?;
    system::check(&statement, rules)?;
    settings::check(&statement, rules)?;
    if let Some(view) = calls::check(&statement, rules, None)?.first() {
        return Err(denied(&format!("{} is not served among rows", view.place.name)));
    }
    Ok(super::tokens::render(rows, &tokens))
}

/// Nothing is cut off, and nothing is there that another lexer could read otherwise.
fn whole(statement: &Tokens<'_>) -> Result<(), Exception> {
    let Some(last) = statement.tokens.last() else { return Ok(()) };
    let at = last.span.start;
    let message = match last.kind {
        Kind::Unclosed => format!("Syntax error: what begins at position {at} is not closed"),
        Kind::Foreign => format!(
            "Syntax error: failed at position {at}: characters beyond ASCII belong in quotes, a number ends \
             before a word, and `$` quotes nothing here"
        ),
        _ => return Ok(()),
    };
    Err(Exception::new(62, "SYNTAX_ERROR", &message))
}

/// `INTO OUTFILE` and `FROM INFILE` are the client's business, and here the client would be the server.
fn files_of_the_client(statement: &Tokens<'_>) -> Result<(), Exception> {
    for at in 0..statement.len() {
        if statement.are(at, &["INTO", "OUTFILE"]) || statement.are(at, &["FROM", "INFILE"]) {
            let message = "INTO OUTFILE and FROM INFILE are not allowed";
            return Err(Exception::new(358, "INTO_OUTFILE_NOT_ALLOWED", message));
        }
    }
    Ok(())
}

fn denied(message: &str) -> Exception {
    Exception::new(497, "ACCESS_DENIED", message)
}

/// A text and its tokens, and questions about them.
#[derive(Clone, Copy)]
struct Tokens<'statement> {
    text: &'statement [u8],
    tokens: &'statement [Token],
}

impl<'statement> Tokens<'statement> {
    fn len(&self) -> usize {
        self.tokens.len()
    }

    fn depth(&self, at: usize) -> usize {
        self.tokens[at].depth
    }

    /// What a word or quoted name at `at` names.
    fn name(&self, at: usize) -> Option<&'statement [u8]> {
        self.tokens.get(at)?.name(self.text)
    }

    /// The bare word at `at`.
    fn word(&self, at: usize) -> Option<&'statement [u8]> {
        self.tokens
            .get(at)
            .filter(|token| token.kind == Kind::Word)
            .map(|token| &self.text[token.span.clone()])
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.word(at).is_some_and(|spelled| spelled.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    fn are(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(next, word)| self.is(at + next, word))
    }

    fn punct(&self, at: usize, byte: u8) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Punct(byte))
    }

    /// Whether a dot stands before `at`, so that it is a part of a longer name.
    fn is_qualified(&self, at: usize) -> bool {
        at.checked_sub(1).is_some_and(|before| self.punct(before, b'.'))
    }

    /// The token that closes the parenthesis at `open`.
    fn closing(&self, open: usize) -> Option<usize> {
        (open + 1..self.len()).find(|&at| self.depth(at) == self.depth(open) && self.punct(at, b')'))
    }

    /// The text of the token at `at`, for messages.
    fn shown(&self, at: usize) -> String {
        let Some(token) = self.tokens.get(at) else { return String::new() };
        String::from_utf8_lossy(&self.text[token.span.clone()]).chars().take(80).collect()
    }
}
