//! What is refused whatever the grants say.
//!
//! The engine's grants keep SQL from table functions that read files and URLs. They do not reach the
//! scalar function `file`, nor `File` as a table engine or dictionary source, and the embedded engine
//! does not confine those to a folder. So a name `file` that is called is refused, and so is the bare
//! word, which can be passed to a higher-order function (`arrayMap(file, …)`); a column of that name is
//! reached as `t.file`. `INTO OUTFILE` and `FROM INFILE` are the client's business, and here the client
//! would be the server.

use super::tokens::{Kind, Token, Tokens};
use crate::engine::Exception;

/// Checks the tokens of one statement.
///
/// # Errors
/// 358, 497 or 62 (several statements), worded as ClickHouse words them.
pub(super) fn check(text: &[u8], tokens: &[Token]) -> Result<(), Exception> {
    if let Some(last) = tokens.last().filter(|last| last.kind == Kind::Unclosed) {
        let message = format!("Syntax error: what begins at position {} is not closed", last.span.start);
        return Err(Exception::new(62, "SYNTAX_ERROR", &message));
    }
    if (0..tokens.len()).any(|at| reaches_files(text, tokens, at)) {
        let message = "Files cannot be read or written through this server";
        return Err(Exception::new(497, "ACCESS_DENIED", message));
    }
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        let word = |token: &Token| token.kind == Kind::Word;
        if word(token) && word(next) {
            if is(text, token, "INTO") && is(text, next, "OUTFILE") {
                return Err(Exception::new(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed"));
            }
            if is(text, token, "FROM") && is(text, next, "INFILE") {
                return Err(Exception::new(358, "INTO_OUTFILE_NOT_ALLOWED", "FROM INFILE is not allowed"));
            }
        }
    }
    Ok(())
}

/// Checks rows in format `Values`: they may hold expressions, which are evaluated.
///
/// # Errors
/// As for a statement.
pub fn check_values(rows: &[u8]) -> Result<(), Exception> {
    let tokens: Vec<Token> = Tokens::new(rows).filter(|token| token.kind != Kind::Unclosed).collect();
    check(rows, &tokens)
}

fn is(text: &[u8], token: &Token, word: &str) -> bool {
    text[token.span.clone()].eq_ignore_ascii_case(word.as_bytes())
}

fn reaches_files(text: &[u8], tokens: &[Token], at: usize) -> bool {
    let token = &tokens[at];
    let Some(name) = token.name(text) else {
        return false;
    };
    let is = |at: Option<usize>, byte| {
        at.and_then(|at| tokens.get(at)).is_some_and(|token| token.kind == Kind::Punct(byte))
    };
    let (before, after) = (at.checked_sub(1), Some(at + 1));
    // An escape inside a quoted name could spell it otherwise.
    let escaped = token.kind == Kind::Quoted && name.contains(&b'\\');
    if is(after, b'(') {
        return escaped || name.eq_ignore_ascii_case(b"file");
    }
    name == b"file" && !is(before, b'.') && !is(after, b'.')
}
