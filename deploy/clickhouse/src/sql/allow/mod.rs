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
mod engines;
mod kinds;
mod settings;
mod system;

use std::collections::HashSet;

use super::tokens::{Kind, Token};
use crate::engine::Exception;
use crate::rights::Identity;

pub use engines::ENGINES;
#[cfg(any(test, feature = "testing"))]
pub use kinds::SHOWN;
pub use kinds::{Action, TableName, Target};
pub use settings::{SettingLimits, check_settings};
pub use system::tables as system_tables;

/// Names that the engine knows, so that one which is not allowed is recognised where it is not called:
/// a bare word can be passed to a higher-order function (`arrayMap(file, …)`).
#[derive(Debug, Default)]
pub struct Catalogue {
    exact: HashSet<Vec<u8>>,
    folded: HashSet<Vec<u8>>,
    tables: HashSet<Vec<u8>>,
}

impl Catalogue {
    /// Of the engine's functions, with whether case counts for nothing in the name, and its table functions.
    pub fn new<'name>(
        functions: impl IntoIterator<Item = (&'name str, bool)>,
        tables: impl IntoIterator<Item = &'name str>,
    ) -> Self {
        let fold = |name: &str| name.to_ascii_lowercase().into_bytes();
        let mut catalogue = Self { tables: tables.into_iter().map(fold).collect(), ..Self::default() };
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

    /// Whether the engine has a function or a table function of this name.
    fn knows(&self, name: &[u8]) -> bool {
        self.has(name) || self.has_table_function(name)
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
    /// What is called and is not a function of the list: if it is not a view of a database that may be read,
    /// the statement is refused.
    pub views: Vec<View>,
}

/// A call that only a view with parameters can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Which view.
    pub place: TableName,
    /// The token that names it, if it names no database.
    pub unqualified_at: Option<usize>,
}

/// Checks the tokens of one statement.
///
/// # Errors
/// 62 for what is not closed, 358 for files of the client, 452 for a setting, 497 for all else.
pub fn check(text: &[u8], tokens: &[Token], rules: &Rules<'_>) -> Result<Verdict, Exception> {
    let statement = Tokens::new(text, tokens);
    whole(&statement)?;
    files_of_the_client(&statement)?;
    let action = kinds::action(&statement, rules)?;
    let views = calls::check(&statement, rules, action.target().map(|target| target.at))?;
    system::check(&statement, rules)?;
    settings::check(&statement, rules)?;
    Ok(Verdict { action, views })
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
struct Tokens<'statement> {
    text: &'statement [u8],
    tokens: &'statement [Token],
    /// For each token that opens a bracket, the one that closes it.
    closing: Vec<Option<usize>>,
}

impl<'statement> Tokens<'statement> {
    /// Matches all brackets in one pass: asked for one after the other, a long text would take for ever.
    fn new(text: &'statement [u8], tokens: &'statement [Token]) -> Self {
        let mut closing = vec![None; tokens.len()];
        let mut open = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            match token.kind {
                Kind::Punct(b'(' | b'[' | b'{') => open.push(at),
                Kind::Punct(b')' | b']' | b'}') => {
                    if let Some(opening) = open.pop() {
                        closing[opening] = Some(at);
                    }
                }
                _ => {}
            }
        }
        Self { text, tokens, closing }
    }

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
        self.closing.get(open).copied().flatten().filter(|&at| self.punct(at, b')'))
    }

    /// The text of the token at `at`, for messages.
    fn shown(&self, at: usize) -> String {
        let Some(token) = self.tokens.get(at) else { return String::new() };
        String::from_utf8_lossy(&self.text[token.span.clone()]).chars().take(80).collect()
    }
}
