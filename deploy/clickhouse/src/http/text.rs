//! A request's statement: the URL's `query`, and then the body, as one text.

use bytes::Bytes;

use super::body::Whole;
use super::reply::Failure;
use crate::engine::Exception;
use crate::rights::Identity;
use crate::sql::{self, Insert, Parsed, Rules, Statement, Verdict};

/// Enough of a body to find an insert's clauses in, without copying its rows.
const HEAD_BYTES: usize = 64 << 10;

/// Rows in format `Values` are looked at token by token: another format is for long ones.
const VALUES_BYTES_MAX: usize = 4 << 20;
const READER_VALUES_BYTES_MAX: usize = 256 << 10;

/// A statement and, for an insert, its rows.
#[derive(Debug)]
pub struct Text {
    /// What it is.
    pub statement: Statement,
    /// What it does.
    pub verdict: Verdict,
    /// The rows of an insert, in pieces.
    pub rows: Vec<Bytes>,
}

impl Text {
    /// Puts `query` and `body` together, as ClickHouse does: a line break between them if both are
    /// there.
    ///
    /// # Errors
    /// What [`sql::parse`] refuses; 229 for a statement longer than `bytes_max`.
    pub fn new(query: &str, body: &Whole, bytes_max: usize, rules: &Rules<'_>) -> Result<Self, Failure> {
        // A form can bring a long one.
        if query.len() > bytes_max {
            return Err(too_long(bytes_max));
        }
        let mut text = query.as_bytes().to_vec();
        if !text.is_empty() && body.bytes > 0 {
            text.push(b'\n');
        }
        let url_bytes = text.len();
        if let Ok(parsed @ Parsed { statement: Statement::Insert(_), .. }) = sql::parse(&text, rules) {
            return Self::insert(&text, parsed, url_bytes, &body.chunks, rules);
        }
        for part in [HEAD_BYTES, usize::MAX] {
            text.truncate(url_bytes);
            let part = part.min(bytes_max.saturating_sub(url_bytes)).min(body.bytes);
            append(&mut text, &body.chunks, part);
            let cut = part < body.bytes;
            match sql::parse(&text, rules) {
                // At the very end of a part, a word may be cut in half.
                Ok(Parsed { statement: Statement::Insert(insert), .. })
                    if cut && insert.rows_at == text.len() => {}
                Ok(parsed @ Parsed { statement: Statement::Insert(_), .. }) => {
                    return Self::insert(&text, parsed, url_bytes, &body.chunks, rules);
                }
                _ if cut => {}
                other => {
                    let Parsed { statement, verdict } = other?;
                    return Ok(Self { statement, verdict, rows: Vec::new() });
                }
            }
        }
        Err(too_long(bytes_max))
    }

    /// Rows begin in `text`, at its end, or further on in `chunks`, which follow its first
    /// `url_bytes` bytes.
    fn insert(
        text: &[u8],
        Parsed { statement, verdict }: Parsed,
        url_bytes: usize,
        chunks: &[Bytes],
        rules: &Rules<'_>,
    ) -> Result<Self, Failure> {
        let Statement::Insert(Insert { rows_at, format, .. }) = &statement else {
            unreachable!("callers matched an insert");
        };
        let mut rows = Vec::with_capacity(chunks.len() + 1);
        if *rows_at < url_bytes {
            rows.push(Bytes::copy_from_slice(&text[*rows_at..url_bytes]));
        }
        let mut skip = rows_at.saturating_sub(url_bytes);
        for chunk in chunks {
            let skipped = skip.min(chunk.len());
            skip -= skipped;
            if skipped < chunk.len() {
                rows.push(chunk.slice(skipped..));
            }
        }
        if format.eq_ignore_ascii_case("Values") {
            let values_max = match rules.identity {
                Identity::Owner => VALUES_BYTES_MAX,
                Identity::Reader => READER_VALUES_BYTES_MAX,
            };
            rows = vec![sql::literals(&rows.concat(), values_max)?.into()];
        }
        Ok(Self { statement, verdict, rows })
    }
}

fn too_long(bytes_max: usize) -> Failure {
    let message = format!("The statement is longer than {bytes_max} bytes");
    Exception::new(229, "QUERY_IS_TOO_LARGE", &message).into()
}

fn append(text: &mut Vec<u8>, chunks: &[Bytes], mut bytes: usize) {
    for chunk in chunks {
        let taken = bytes.min(chunk.len());
        text.extend_from_slice(&chunk[..taken]);
        bytes -= taken;
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::Budget;
    use super::*;

    fn text(query: &str, body: &[u8], piece: usize) -> Result<Text, Failure> {
        let chunks: Vec<Bytes> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
        let whole = Whole { chunks, bytes: body.len(), share: Budget::new(0).share() };
        Text::new(query, &whole, 1 << 20, &sql::tests::owner())
    }

    fn rows(query: &str, body: &[u8], piece: usize) -> Vec<u8> {
        text(query, body, piece).unwrap().rows.concat()
    }

    #[test]
    fn a_statement_that_is_too_long_is_refused() {
        let long = format!("SELECT '{}'", "x".repeat(1 << 20));
        assert_eq!(text("", long.as_bytes(), 1000).unwrap_err().exception.code, 229);
    }

    #[test]
    fn rows_are_the_same_however_the_body_is_cut() {
        for piece in 1..40 {
            assert_eq!(rows("", b"INSERT INTO t FORMAT CSV\n\n1\n2", piece), b"\n1\n2", "{piece}");
            assert_eq!(rows("INSERT INTO t FORMAT CSV", b"\n1\n2", piece), b"\n1\n2", "{piece}");
            assert_eq!(rows("INSERT INTO t", b"FORMAT CSV\n1\n2", piece), b"1\n2", "{piece}");
            assert_eq!(rows("INSERT INTO t FORMAT CSV 1\n", b"2", piece), b"1\n\n2", "{piece}");
        }
    }

    #[test]
    fn a_long_body_of_rows_is_not_searched_for_clauses() {
        let mut body = b"INSERT INTO t FORMAT RowBinary\n".to_vec();
        body.extend(vec![b'\''; 300_000]);
        assert_eq!(rows("", &body, 10_000).len(), 300_000);
    }

    #[test]
    fn the_url_and_the_body_make_one_query() {
        let text = text("SELECT 1,", b"2", 1).unwrap();
        let Statement::Output(output) = text.statement else { panic!("{text:?}") };
        assert_eq!(output.head, b"SELECT 1 , 2");
    }

    #[test]
    fn expressions_among_values_cannot_read_files() {
        assert_eq!(text("INSERT INTO t VALUES", b"(file('x'))", 3).unwrap_err().exception.code, 497);
    }
}
