//! A statement as the engine is sent it: with the pipe that its result is written to, of which no error may tell.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::reply::Failure;
use crate::engine::Exception;
use crate::sql::{Output, Tokens};

/// ClickHouse shows so much of a statement from the place of a syntax error on.
const SHOWN_BYTES: usize = 160;
const FAILED_AT: &str = "failed at position ";

/// A statement and what was put into it.
#[derive(Debug)]
pub struct Piped {
    /// What the engine is sent.
    pub sql: Vec<u8>,
    /// The same without what was put in.
    said: Vec<u8>,
    /// Where that begins, and how long it is.
    begins: usize,
    length: usize,
    /// The pipe's path.
    path: String,
}

impl Piped {
    /// The statement that writes its result in `format` to `writer`.
    ///
    /// # Errors
    /// 73 for what is not the name of a format.
    pub fn new(output: &Output, format: &str, writer: &File) -> Result<Self, Failure> {
        if !format.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Exception::new(73, "UNKNOWN_FORMAT", &format!("Unknown format {format}")).into());
        }
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let (default, tail) = match output.format {
            Some(_) => (String::new(), &output.tail[..]),
            None => (format!("FORMAT {format}"), &[][..]),
        };
        let added = format!(" INTO OUTFILE '{path}' APPEND {default}");
        let said = [&output.head[..], tail].concat();
        let sql = [&output.head[..], added.as_bytes(), tail].concat();
        Ok(Self { sql, said, begins: output.head.len(), length: added.len(), path })
    }

    /// An error of the engine's about what it was sent, as one about what was said.
    pub fn told(&self, exception: Exception) -> Exception {
        let text = self.syntax_error(&exception.text).unwrap_or(exception.text);
        Exception { text: text.replace(&self.path, "the response"), ..exception }
    }

    /// `failed at position P (TOKEN): THE REST OF THE STATEMENT. …`, if it is one.
    fn syntax_error(&self, text: &str) -> Option<String> {
        let number_at = text.find(FAILED_AT)? + FAILED_AT.len();
        let digits = text[number_at..].bytes().take_while(u8::is_ascii_digit).count();
        let after = &text[number_at + digits..];
        let sent_at = text[number_at..number_at + digits].parse::<usize>().ok()?.checked_sub(1)?;
        let shown = |sql: &[u8], at: usize| {
            let rest = sql.get(at..).unwrap_or_default();
            String::from_utf8_lossy(&rest[..rest.len().min(SHOWN_BYTES)]).into_owned()
        };
        let is_added = (self.begins..self.begins + self.length).contains(&sent_at);
        let said_at = match sent_at {
            _ if is_added => self.begins,
            at if at < self.begins => at,
            at => at - self.length,
        };
        // The token, if it is one of those that were put in; then the statement as it was sent.
        let after = match (is_added, after.strip_prefix(" (").and_then(|token| token.split_once("): "))) {
            (true, Some((_, rest))) => format!(" ({}): {rest}", self.token(said_at)),
            _ => after.to_owned(),
        };
        let after = after.replacen(&shown(&self.sql, sent_at), &shown(&self.said, said_at), 1);
        Some(format!("{}{}{after}", &text[..number_at], said_at + 1))
    }

    fn token(&self, at: usize) -> String {
        let rest = self.said.get(at..).unwrap_or_default();
        let first =
            Tokens::new(rest).next().map(|token| String::from_utf8_lossy(&rest[token.span]).into_owned());
        first.unwrap_or_else(|| "end of query".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piped(head: &str, tail: &str) -> (Piped, File) {
        let writer = File::open("/dev/null").unwrap();
        let format = (!tail.is_empty()).then(|| "JSON".to_owned());
        let output = Output { head: head.into(), tail: tail.into(), format };
        (Piped::new(&output, "JSON", &writer).unwrap(), writer)
    }

    /// The engine's words for an error at `at`.
    fn syntax_error(piped: &Piped, at: usize, token: &str) -> Exception {
        let rest = &piped.sql[at..];
        let rest = String::from_utf8_lossy(&rest[..rest.len().min(SHOWN_BYTES)]);
        let message = format!(
            "Syntax error: failed at position {} ({token}): {rest}. Expected one of: BY, end of query",
            at + 1
        );
        Exception::new(62, "SYNTAX_ERROR", &message)
    }

    fn told(head: &str, tail: &str, at: usize, token: &str) -> String {
        let (piped, _writer) = piped(head, tail);
        let text = piped.told(syntax_error(&piped, at, token)).text;
        let begins = text.find("failed at").unwrap();
        text[begins..].replace(". Expected one of: BY, end of query. (SYNTAX_ERROR)", "")
    }

    #[test]
    fn errors_show_what_was_said_wherever_they_are() {
        assert_eq!(told("SELECT 1 1", "", 9, "1"), "failed at position 10 (1): 1");
        assert_eq!(told("SELECT * FROM t ORDER", "", 22, "INTO"), "failed at position 22 (end of query): ");
        assert_eq!(told("SELECT 1 1 ", "FORMAT JSON", 9, "1"), "failed at position 10 (1): 1 FORMAT JSON");
        assert_eq!(
            told("SELECT 1 ORDER ", "FORMAT JSON", 16, "INTO"),
            "failed at position 16 (FORMAT): FORMAT JSON"
        );
        let (piped, _writer) = piped("SELECT 1 ", "FORMAT JSON x");
        let at = piped.sql.len() - 1;
        let text = piped.told(syntax_error(&piped, at, "x")).text;
        assert!(text.contains("failed at position 22 (x): x. "), "{text}");
    }

    #[test]
    fn the_pipe_is_not_told_wherever_the_engine_cuts_a_statement_off() {
        for blanks in 0..220 {
            let head = format!("SELECT 1 1{}", ",1".repeat(blanks / 2) + &" ".repeat(blanks % 2));
            let text = told(&head, "", 9, "1");
            assert!(!text.contains("OUTFILE") && !text.contains("INTO") && !text.contains("/proc"), "{text}");
            assert!(head[9..].starts_with(text.split_once("): ").unwrap().1), "{text}");
        }
    }

    #[test]
    fn other_errors_name_no_path() {
        let (piped, writer) = piped("SELECT 1", "");
        let message = format!("Cannot write to file /proc/self/fd/{}: Broken pipe", writer.as_raw_fd());
        let told = piped.told(Exception::new(75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", &message));
        assert!(told.text.contains("Cannot write to file the response: Broken pipe"), "{}", told.text);
    }
}
