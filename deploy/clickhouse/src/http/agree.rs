//! Whether the engine reads a statement as this server has read it.
//!
//! The engine has a function for it, `tokenizeQuery`: its own lexer's tokens. A statement of the reader runs
//! only if they are this server's, place by place and kind by kind, and none of them is a semicolon. So a rule
//! of the engine's lexer that nobody here has thought of hides nothing.

use crate::engine::{Engine, EngineError, Exception};
use crate::sql::{Kind, Tokens};

/// What the engine calls a token of this kind; `None` where one byte or operator has its own name, and the
/// place says enough.
fn name(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Word => Some("BareWord"),
        Kind::Number => Some("Number"),
        Kind::Quoted => Some("QuotedIdentifier"),
        Kind::Text => Some("StringLiteral"),
        _ => None,
    }
}

/// Compares them. Blocks.
///
/// # Errors
/// 62 if they differ, or the engine's.
pub fn check(engine: &Engine, text: &[u8]) -> Result<(), EngineError> {
    let sql = "SELECT token.1, token.2, token.3 \
               FROM (SELECT arrayJoin(tokenizeQuery(unhex({text:String}))) AS token) \
               WHERE token.3 NOT IN ('Whitespace', 'EndOfStream')";
    let answer = engine.keeper()?.query(sql.as_bytes(), "TSVRaw", &[("text".into(), hex::encode(text))])?;
    let theirs = String::from_utf8_lossy(&answer.output).into_owned();
    let mut theirs = theirs.lines();
    for token in Tokens::new(text) {
        let place = format!("{}\t{}\t", token.span.start, token.span.end);
        let agrees = theirs.next().and_then(|line| line.strip_prefix(&place)).is_some_and(|kind| {
            kind != "Semicolon"
                && !kind.starts_with("Error")
                && name(token.kind).is_none_or(|own| own == kind)
        });
        if !agrees {
            return Err(differs(token.span.start));
        }
    }
    match theirs.next() {
        None => Ok(()),
        Some(_) => Err(differs(text.len())),
    }
}

fn differs(at: usize) -> EngineError {
    let message =
        format!("Syntax error: failed at position {at}: this can be read in two ways, write it more plainly");
    Exception::new(62, "SYNTAX_ERROR", &message).into()
}
