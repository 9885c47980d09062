//! Rows in format `Values`: literals, and nothing else.
//!
//! The engine reads such rows with several parsers: each type's own, and, where that one gives up, the one of
//! SQL, which evaluates what it finds. They disagree on where a field ends, so that what one of them takes for
//! the inside of a name is a call to another. Two things keep that from mattering: what is sent on are literals
//! of this module's own making, in which no word can stand that means anything; and the engine is configured to
//! evaluate nothing (`engine::layout`).

use super::tokens::{Kind, Token, Tokens};
use crate::engine::Exception;

/// Words that are values.
const WORDS: [&[u8]; 6] = [b"null", b"true", b"false", b"nan", b"inf", b"infinity"];
/// Brackets in brackets; the engine's types are not that deep.
const DEPTH_MAX: usize = 64;

/// The rows as they are to be sent: no blanks, no comments, no semicolon at the end.
///
/// # Errors
/// 62 for what is cut off or not a list of rows, 497 for what is not a literal, 229 for rows that are longer than
/// `bytes_max`.
pub fn literals(rows: &[u8], bytes_max: usize) -> Result<Vec<u8>, Exception> {
    if rows.len() > bytes_max {
        let message = format!("Rows in format Values are longer than {bytes_max} bytes: send another format");
        return Err(Exception::new(229, "QUERY_IS_TOO_LARGE", &message));
    }
    let mut reading =
        Reading { written: Vec::with_capacity(rows.len()), open: Vec::new(), state: ReadPhase::Begins };
    let mut has_ended = false;
    for token in Tokens::new(rows) {
        if token.kind == Kind::Punct(b';') && reading.open.is_empty() {
            has_ended = true;
        } else if has_ended {
            return Err(misplaced(&token));
        } else {
            reading.take(rows, &token)?;
        }
    }
    match reading.open.is_empty() {
        true => Ok(reading.written),
        false => Err(syntax(rows.len())),
    }
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadPhase {
    /// A value, or the end of its brackets; between rows, a row.
    Begins,
    /// A number or a word that has a sign.
    Signed,
    /// Whatever follows a value.
    After,
}

struct Reading {
    written: Vec<u8>,
    /// What closes the brackets that are open.
    open: Vec<u8>,
    state: ReadPhase,
}

impl Reading {
    fn take(&mut self, text: &[u8], token: &Token) -> Result<(), Exception> {
        let spelled = &text[token.span.clone()];
        let is_value = match token.kind {
            Kind::Text => self.state == ReadPhase::Begins,
            Kind::Number => self.state != ReadPhase::After,
            Kind::Word => {
                if !WORDS.iter().any(|word| spelled.eq_ignore_ascii_case(word)) {
                    return Err(no_literal(spelled));
                }
                self.state != ReadPhase::After
            }
            Kind::Quoted => return Err(no_literal(spelled)),
            Kind::Unclosed | Kind::Foreign => return Err(syntax(token.span.start)),
            Kind::Operator => return Err(no_literal(spelled)),
            Kind::Punct(byte) => return self.punct(byte, token),
        };
        if self.open.is_empty() || !is_value {
            return Err(misplaced(token));
        }
        self.write(spelled, ReadPhase::After);
        Ok(())
    }

    fn punct(&mut self, byte: u8, token: &Token) -> Result<(), Exception> {
        let closes = match byte {
            b'(' => Some(b')'),
            b'[' => Some(b']'),
            b'{' => Some(b'}'),
            _ => None,
        };
        let state = match (byte, closes) {
            // A row may follow a row without a comma.
            (b'(', _) if self.open.is_empty() => ReadPhase::Begins,
            (_, Some(_)) if self.open.is_empty() || self.state != ReadPhase::Begins => {
                return Err(misplaced(token));
            }
            (_, Some(_)) => ReadPhase::Begins,
            (b')' | b']' | b'}', _) if self.open.last() == Some(&byte) && self.state != ReadPhase::Signed => {
                self.open.pop();
                ReadPhase::After
            }
            (b',', _) if self.state == ReadPhase::After => ReadPhase::Begins,
            (b':', _) if self.state == ReadPhase::After && self.open.last() == Some(&b'}') => {
                ReadPhase::Begins
            }
            (b'-' | b'+', _) if self.state == ReadPhase::Begins && !self.open.is_empty() => ReadPhase::Signed,
            (b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b':', _) => return Err(misplaced(token)),
            _ => return Err(no_literal(&[byte])),
        };
        if let Some(closes) = closes {
            if self.open.len() == DEPTH_MAX {
                return Err(misplaced(token));
            }
            self.open.push(closes);
        }
        self.write(&[byte], state);
        Ok(())
    }

    fn write(&mut self, spelled: &[u8], state: ReadPhase) {
        self.written.extend_from_slice(spelled);
        self.state = state;
    }
}

fn no_literal(spelled: &[u8]) -> Exception {
    let shown: String = String::from_utf8_lossy(spelled).chars().take(80).collect();
    let message = format!(
        "Rows in format Values must be literals here, and {shown} is not one: use INSERT … SELECT for expressions"
    );
    Exception::new(497, "ACCESS_DENIED", &message)
}

fn misplaced(token: &Token) -> Exception {
    syntax(token.span.start)
}

fn syntax(at: usize) -> Exception {
    let message = format!(
        "Syntax error: failed at position {at} of the rows: expected literals in brackets, (1, 'a'), (2, 'b')"
    );
    Exception::new(62, "SYNTAX_ERROR", &message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(rows: &str) -> Result<String, u16> {
        literals(rows.as_bytes(), 1000)
            .map(|rows| String::from_utf8(rows).unwrap())
            .map_err(|error| error.code)
    }

    #[test]
    fn literals_are_sent_on_without_what_stands_between_them() {
        for (rows, sent) in [
            ("(1, 'a'), -- note\n (2, 'b; (''c'') \\'');", "(1,'a'),(2,'b; (''c'') \\'')"),
            ("( - 1 , + 2.5e-3, NULL, True, -inf) (.5)", "(-1,+2.5e-3,NULL,True,-inf)(.5)"),
            ("([[1], []], {'a': 1, 'b': (2, 'x')}, (1,), {})", "([[1],[]],{'a':1,'b':(2,'x')},(1,),{})"),
            ("", ""),
            (" ; ; ", ""),
        ] {
            assert_eq!(read(rows).as_deref(), Ok(sent), "{rows}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for rows in [
            "(file('x'))",
            "(1 * 2)",
            "(1 - 2)",
            "(a)",
            "(DEFAULT)",
            "(`a`)",
            "([`] , file('x'), [`])",
            "([\"],file('x'),[\"])",
            "(1 = 1)",
            "(x -> 1)",
            "('a' || 'b')",
            "({a:UInt8})",
            "(SELECT 1)",
            "(DATE '2026-01-01')",
            "(1::UInt8)",
            "(?)",
        ] {
            assert_eq!(read(rows), Err(497), "{rows}");
        }
        for rows in [
            "1",
            "'a'",
            "[1]",
            "(1",
            "(1]",
            "(1))",
            "(1 2)",
            "('a' 'b')",
            "(1 [2])",
            "((1) (2))",
            "(--\n)(",
            "(- 'a')",
            "(-)",
            "(,1)",
            "(1),,(2)",
            "(1:2)",
            "(1); (2)",
            "('a",
            "(\u{a0})",
            "($$a$$)",
        ] {
            assert_eq!(read(rows), Err(62), "{rows}");
        }
        assert_eq!(read(&format!("{}1{}", "(".repeat(90), ")".repeat(90))), Err(62));
        assert_eq!(read(&format!("({})", "1,".repeat(500))), Err(229));
    }

    proptest! {
        #[test]
        fn no_word_but_the_values_stands_outside_of_a_text(rows in "[(),'\\[\\]{}:;a1N` \"\\\\-]{0,40}") {
            if let Ok(sent) = literals(rows.as_bytes(), 1000) {
                for token in Tokens::new(&sent) {
                    let spelled = &sent[token.span.clone()];
                    prop_assert!(!matches!(token.kind, Kind::Quoted | Kind::Foreign | Kind::Unclosed));
                    prop_assert!(token.kind != Kind::Word || WORDS.iter().any(|word| spelled.eq_ignore_ascii_case(word)));
                }
            }
        }
    }
}
