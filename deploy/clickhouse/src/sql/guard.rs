//! What is refused whatever the grants say.
//!
//! The engine's grants keep SQL from table functions that read files and URLs. They do not reach the
//! scalar function `file`, nor `File` as a table engine or dictionary source, and the embedded engine
//! does not confine those to a folder, so a name `file` that is called is refused wherever it stands.
//! `INTO OUTFILE` and `FROM INFILE` are the client's business, and here the client would be the server.

use super::tokens::{Kind, Token, Tokens};
use crate::engine::Exception;

/// Checks the tokens of one statement.
///
/// # Errors
/// 358, 497 or 62 (several statements), worded as ClickHouse words them.
pub(super) fn check(text: &[u8], tokens: &[Token]) -> Result<(), Exception> {
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
        if next.kind == Kind::Punct(b'(') && names_file(text, token) {
            return Err(Exception::new(
                497,
                "ACCESS_DENIED",
                "Files cannot be read or written through this server",
            ));
        }
    }
    Ok(())
}

/// Checks rows in format `Values`: they may hold expressions, which are evaluated.
///
/// # Errors
/// As for a statement.
pub fn check_values(rows: &[u8]) -> Result<(), Exception> {
    let mut tokens = Tokens::new(rows).peekable();
    while let Some(token) = tokens.next() {
        if let Some(next) = tokens.peek() {
            check(rows, &[token, next.clone()])?;
        }
    }
    Ok(())
}

fn is(text: &[u8], token: &Token, word: &str) -> bool {
    text[token.span.clone()].eq_ignore_ascii_case(word.as_bytes())
}

fn names_file(text: &[u8], token: &Token) -> bool {
    let name = match token.kind {
        Kind::Word => &text[token.span.clone()],
        Kind::Quoted => &text[token.span.start + 1..token.span.end - 1],
        _ => return false,
    };
    // An escape inside a quoted name could spell it otherwise.
    name.eq_ignore_ascii_case(b"file") || (token.kind == Kind::Quoted && name.contains(&b'\\'))
}
