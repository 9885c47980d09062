//! Tells statements apart and finds their clauses. What comes out is text of this module's own making, one
//! blank between tokens: the engine never sees what the client wrote.

use super::allow::{self, Action, Rules, Verdict};
use super::tokens::{Kind, Token, Tokens, blank_before, render};
use crate::engine::Exception;
use crate::rights::quoted;

/// What a request's text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Nothing but blanks, comments and semicolons.
    Empty,
    /// A statement whose result is rows, and may be large.
    Output(Output),
    /// An insert whose rows come with the request.
    Insert(Insert),
    /// Anything else, `INSERT … SELECT` included; runs whole.
    Command {
        /// The statement, without a trailing semicolon.
        sql: Vec<u8>,
        /// The format that it names for what it answers.
        format: Option<String>,
    },
}

/// A statement whose result is rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The statement up to the place where `INTO OUTFILE` belongs.
    pub head: Vec<u8>,
    /// From that place to the end: `FORMAT …`, `SETTINGS …`, or nothing.
    pub tail: Vec<u8>,
    /// The format the statement names.
    pub format: Option<String>,
}

/// An insert whose rows come with the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// The statement without its `FORMAT` or `VALUES` word.
    pub head: Vec<u8>,
    /// The format of the rows.
    pub format: String,
    /// Where in the request's text the rows begin.
    pub rows_at: usize,
}

/// A statement that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What it is.
    pub statement: Statement,
    /// What it does.
    pub verdict: Verdict,
}

/// The first words of statements that are written `… INTO OUTFILE …`. Of `SHOW TABLES` and its like, which
/// the engine turns into other statements, nothing comes out that way; their results are small.
pub const OUTPUT_WORDS: [&str; 3] = ["SELECT", "WITH", "FROM"];

/// A text that was checked, and its tokens.
struct Checked {
    text: Vec<u8>,
    tokens: Vec<Token>,
    verdict: Verdict,
}

impl Checked {
    /// Renders the tokens of one statement and checks the result.
    fn new(text: &[u8], tokens: &[Token], rules: &Rules<'_>) -> Result<Self, Exception> {
        let mut rendered = render(text, tokens);
        let mut end = 0;
        let mut own: Vec<Token> = tokens
            .iter()
            .map(|token| {
                let start = end + usize::from(end > 0 && blank_before(token));
                end = start + token.span.len();
                Token { kind: token.kind, span: start..end, depth: token.depth }
            })
            .collect();
        let verdict = allow::check(&rendered, &own, rules)?;
        if !verdict.views.is_empty() {
            // With its database, a name is never one of the engine's own table functions.
            rendered = qualified(&rendered, &own, &verdict);
            own = Tokens::new(&rendered).collect();
        }
        Ok(Self { text: rendered, tokens: own, verdict })
    }
}

fn qualified(text: &[u8], tokens: &[Token], verdict: &Verdict) -> Vec<u8> {
    let mut rendered = Vec::with_capacity(text.len() + 64);
    for (at, token) in tokens.iter().enumerate() {
        if at > 0 && blank_before(token) {
            rendered.push(b' ');
        }
        if let Some(view) = verdict.views.iter().find(|view| view.unqualified_at == Some(at)) {
            rendered.extend_from_slice(quoted(&view.place.database).as_bytes());
            rendered.extend_from_slice(b" . ");
        }
        rendered.extend_from_slice(&text[token.span.clone()]);
    }
    rendered
}

/// Reads the text of a request. `text` may end in rows of an insert, in any format.
///
/// # Errors
/// An exception worded as ClickHouse's: several statements or what is not served as text (62), an insert
/// without a format (62), or something that is refused here (358, 452, 497).
pub fn parse(text: &[u8], rules: &Rules<'_>) -> Result<Parsed, Exception> {
    let mut tokens = Tokens::new(text).skip_while(|token| token.kind == Kind::Punct(b';')).peekable();
    let Some(first) = tokens.peek() else {
        let verdict = Verdict { action: Action::Read, views: Vec::new() };
        return Ok(Parsed { statement: Statement::Empty, verdict });
    };
    if is_word(text, first, "INSERT") {
        return insert(text, &mut tokens, rules);
    }
    let tokens: Vec<Token> = tokens.collect();
    let checked = Checked::new(text, one_statement(&tokens)?, rules)?;
    if matches!(checked.verdict.action, Action::Insert(_)) {
        takes_rows_from_a_query(&checked)?;
    }
    Ok(whole(checked))
}

/// `WITH … INSERT INTO t SELECT …`. The engine would read the rows of any other such insert from the text, and then from
/// this process's standard input.
fn takes_rows_from_a_query(Checked { text, tokens, .. }: &Checked) -> Result<(), Exception> {
    let insert = tokens.iter().position(|token| token.depth == 0 && is_word(text, token, "INSERT"));
    let after = &tokens[insert.map_or(tokens.len(), |at| at + 1)..];
    let rows = after.iter().enumerate().find(|(at, token)| {
        let is_name = after[..*at].last().is_none_or(|last| {
            last.kind == Kind::Punct(b'.') || ["INTO", "TABLE"].iter().any(|word| is_word(text, last, word))
        });
        !is_name && ["SELECT", "VALUES", "FORMAT"].iter().any(|word| is_word(text, token, word))
    });
    match rows {
        Some((_, token)) if is_word(text, token, "SELECT") => Ok(()),
        _ => {
            let message = "Syntax error: an INSERT after WITH takes its rows from a SELECT";
            Err(Exception::new(62, "SYNTAX_ERROR", message))
        }
    }
}

/// A statement whose text has no rows in it.
fn whole(Checked { text, tokens, verdict }: Checked) -> Parsed {
    let first = &tokens[0];
    let brings_rows =
        first.kind == Kind::Punct(b'(') || OUTPUT_WORDS.iter().any(|word| is_word(&text, first, word));
    let clause = format_clause(&text, &tokens);
    let format = clause.map(|at| spelled(&text, &tokens[at + 1]));
    let statement = if !brings_rows || verdict.action != Action::Read {
        Statement::Command { sql: text, format }
    } else {
        let place = clause.map_or(text.len(), |at| tokens[at].span.start);
        Statement::Output(Output { head: text[..place].to_vec(), tail: text[place..].to_vec(), format })
    };
    Parsed { statement, verdict }
}

/// The tokens before the first semicolon; an error if anything but semicolons follows it.
fn one_statement(tokens: &[Token]) -> Result<&[Token], Exception> {
    let is_semicolon = |token: &Token| token.kind == Kind::Punct(b';');
    let end = tokens.iter().position(is_semicolon).unwrap_or(tokens.len());
    let Some(second) = tokens[end..].iter().find(|token| !is_semicolon(token)) else {
        return Ok(&tokens[..end]);
    };
    let at = second.span.start;
    let message = format!("Syntax error: failed at position {at} (Multi-statements are not allowed)");
    Err(Exception::new(62, "SYNTAX_ERROR", &message))
}

/// The last `FORMAT name` that ends the statement, or is followed by its settings only.
fn format_clause(text: &[u8], tokens: &[Token]) -> Option<usize> {
    (0..tokens.len().saturating_sub(1)).rev().find(|&at| {
        tokens[at].depth == 0
            && is_word(text, &tokens[at], "FORMAT")
            && tokens[at + 1].kind == Kind::Word
            && tokens.get(at + 2).is_none_or(|next| is_word(text, next, "SETTINGS"))
    })
}

/// Walks an insert up to its rows, and no further: they may be binary.
fn insert(
    text: &[u8],
    tokens: &mut dyn Iterator<Item = Token>,
    rules: &Rules<'_>,
) -> Result<Parsed, Exception> {
    let mut seen: Vec<Token> = Vec::new();
    let mut table_named = false;
    while let Some(token) = tokens.next() {
        let qualified = seen.last().is_some_and(|last| last.kind == Kind::Punct(b'.'));
        if table_named && !qualified && token.kind == Kind::Word {
            let selects = ["SELECT", "WITH", "WATCH"].iter().any(|word| is_word(text, &token, word));
            let grouped = seen.last().is_some_and(|last| last.kind == Kind::Punct(b'('));
            if selects && (token.depth == 0 || (token.depth == 1 && grouped)) {
                return command(text, seen, token, tokens, rules);
            }
            if token.depth == 0 && is_word(text, &token, "VALUES") {
                return rows(text, &seen, "Values".into(), token.span.end, rules);
            }
            if token.depth == 0 && is_word(text, &token, "FORMAT") {
                return formatted(text, &seen, tokens, rules);
            }
        }
        table_named |= names_table(text, &seen, &token);
        seen.push(token);
    }
    Checked::new(text, &seen, rules)?;
    Err(Exception::new(62, "SYNTAX_ERROR", "Syntax error: an INSERT needs VALUES, FORMAT or SELECT"))
}

/// Whether `token` is (the first part of) the table's name. Words after it are clauses; the name
/// itself may be spelled like one, as in `INSERT INTO format VALUES`.
fn names_table(text: &[u8], before: &[Token], token: &Token) -> bool {
    let introduces =
        |token: &Token| ["INTO", "TABLE", "FUNCTION"].iter().any(|word| is_word(text, token, word));
    let named = matches!(token.kind, Kind::Word | Kind::Quoted);
    let after_introduction =
        before.last().is_some_and(|last| introduces(last) || is_word(text, last, "INSERT"));
    named && after_introduction && !introduces(token)
}

fn command(
    text: &[u8],
    mut seen: Vec<Token>,
    token: Token,
    tokens: &mut dyn Iterator<Item = Token>,
    rules: &Rules<'_>,
) -> Result<Parsed, Exception> {
    seen.push(token);
    seen.extend(tokens);
    let Checked { text, verdict, .. } = Checked::new(text, one_statement(&seen)?, rules)?;
    Ok(Parsed { statement: Statement::Command { sql: text, format: None }, verdict })
}

fn formatted(
    text: &[u8],
    seen: &[Token],
    tokens: &mut dyn Iterator<Item = Token>,
    rules: &Rules<'_>,
) -> Result<Parsed, Exception> {
    match tokens.next() {
        Some(name) if name.kind == Kind::Word => rows(text, seen, spelled(text, &name), name.span.end, rules),
        _ => Err(Exception::new(62, "SYNTAX_ERROR", "Syntax error: FORMAT needs the name of a format")),
    }
}

/// An insert whose clause ends at `clause_end`. Rows begin after blanks and at most one line break,
/// as ClickHouse has it, so that a row may itself begin with one.
fn rows(
    text: &[u8],
    seen: &[Token],
    format: String,
    clause_end: usize,
    rules: &Rules<'_>,
) -> Result<Parsed, Exception> {
    let Checked { text: head, verdict, .. } = Checked::new(text, seen, rules)?;
    let mut at = clause_end;
    while matches!(text.get(at), Some(b' ' | b'\t' | 0x0c)) {
        at += 1;
    }
    if text.get(at) == Some(&b';') && !format.eq_ignore_ascii_case("Values") {
        return Err(Exception::new(
            62,
            "SYNTAX_ERROR",
            "You have excessive ';' symbol before data for INSERT",
        ));
    }
    if text.get(at) == Some(&b'\r') && text.get(at + 1) == Some(&b'\n') {
        at += 1;
    }
    if text.get(at) == Some(&b'\n') {
        at += 1;
    }
    Ok(Parsed { statement: Statement::Insert(Insert { head, format, rows_at: at }), verdict })
}

fn is_word(text: &[u8], token: &Token, word: &str) -> bool {
    token.kind == Kind::Word && text[token.span.clone()].eq_ignore_ascii_case(word.as_bytes())
}

fn spelled(text: &[u8], token: &Token) -> String {
    String::from_utf8_lossy(&text[token.span.clone()]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tests::owner;

    fn parse(text: &[u8]) -> Result<Statement, Exception> {
        super::parse(text, &owner()).map(|parsed| parsed.statement)
    }

    fn code(text: &str) -> u16 {
        parse(text.as_bytes()).unwrap_err().code
    }

    fn output(text: &str) -> (String, String, Option<String>) {
        match parse(text.as_bytes()).unwrap() {
            Statement::Output(output) => (utf8(output.head), utf8(output.tail), output.format),
            other => panic!("{other:?}"),
        }
    }

    fn utf8(text: Vec<u8>) -> String {
        String::from_utf8(text).unwrap()
    }

    fn inserted(text: &str) -> (String, String, &str) {
        match parse(text.as_bytes()).unwrap() {
            Statement::Insert(insert) => (utf8(insert.head), insert.format, &text[insert.rows_at..]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_closed_is_refused_rather_than_cut_off() {
        for text in ["DROP TABLE t; 'x", "SELECT 1 'x", "SELECT 1 /* x", "INSERT INTO t SELECT 1 `x"] {
            assert_eq!(code(text), 62, "{text}");
        }
    }

    #[test]
    fn two_statements_are_refused_and_a_trailing_semicolon_is_not() {
        assert_eq!(code("SELECT 1; SELECT 2"), 62);
        assert_eq!(code("INSERT INTO t SELECT 1; DROP TABLE t"), 62);
        assert_eq!(output("SELECT ';' ;; -- done"), ("SELECT ';'".into(), String::new(), None));
    }

    #[test]
    fn files_are_refused_however_they_are_spelled() {
        for text in [
            "SELECT file('/etc/passwd')",
            "SELECT `file` ('/etc/passwd')",
            r"SELECT `fil\x65`('/etc/passwd')",
            "CREATE TABLE t (a String) ENGINE = File(CSV, '/etc/passwd')",
            "INSERT INTO FUNCTION file('x') FORMAT CSV\n1",
            "INSERT INTO t SELECT file('x')",
            "SELECT arrayMap(file, ['x'])",
            "SELECT arrayMap(`file`, ['x'])",
            "SELECT * APPLY(file) FROM t",
            "SELECT * APPLY `file` FROM t",
            "SELECT file /* /* */ */ ('x')",
        ] {
            assert_eq!(code(text), 497, "{text}");
        }
        // A column may be called like one.
        assert!(parse(b"SELECT file, `file` FROM t WHERE file > 1").is_ok());
        assert_eq!(code("SELECT 1 INTO OUTFILE 'x'"), 358);
        assert_eq!(code("INSERT INTO t FROM INFILE 'x' FORMAT CSV"), 358);
        assert!(parse(b"SELECT t.file, 'file(', profile FROM files").is_ok());
    }

    #[test]
    fn an_insert_without_rows_or_format_is_a_syntax_error() {
        assert_eq!(code("INSERT INTO t"), 62);
        assert_eq!(code("INSERT INTO t (a, b) FORMAT"), 62);
        assert_eq!(code("INSERT INTO t FORMAT CSV;\n1"), 62);
    }

    #[test]
    fn an_insert_after_with_takes_its_rows_from_a_query_alone() {
        for text in [
            "WITH 1 AS x INSERT INTO t FORMAT CSV",
            "WITH 1 AS x INSERT INTO t FORMAT CSV\n5",
            "WITH 1 AS x INSERT INTO t (a) VALUES",
            "WITH 1 AS x INSERT INTO t",
            "WITH 1 AS x INSERT INTO format FORMAT CSV",
            "WITH 1 AS x INSERT INTO t FORMAT CSV SELECT",
        ] {
            assert_eq!(code(text), 62, "{text}");
        }
        for text in [
            "WITH 1 AS x INSERT INTO t (a) SELECT x",
            "WITH 1 AS x INSERT INTO format SELECT x",
            "WITH 1 AS x INSERT INTO TABLE db.values SELECT x FORMAT JSON",
            "WITH 1 AS x INSERT INTO t (SELECT x)",
        ] {
            assert!(matches!(parse(text.as_bytes()), Ok(Statement::Command { .. })), "{text}");
        }
    }

    #[test]
    fn the_format_clause_is_found_at_the_end_and_nowhere_else() {
        assert_eq!(
            output("SELECT 1 FORMAT JSON"),
            ("SELECT 1 ".into(), "FORMAT JSON".into(), Some("JSON".into()))
        );
        assert_eq!(
            output("SELECT 1 SETTINGS limit = 1 format TSV SETTINGS offset = 2;"),
            (
                "SELECT 1 SETTINGS limit = 1 ".into(),
                "format TSV SETTINGS offset = 2".into(),
                Some("TSV".into())
            )
        );
        assert_eq!(output("SELECT format FROM t").2, None);
        assert_eq!(output("SELECT a AS format").2, None);
        assert_eq!(output("SELECT * FROM (SELECT 1 FORMAT) x").2, None);
        assert_eq!(output("WITH 1 AS x SELECT x FORMAT Null").2, Some("Null".into()));
    }

    #[test]
    fn statements_are_told_apart_by_their_words() {
        for text in ["(SELECT 1) UNION ALL (SELECT 2)", "from t select 1"] {
            assert!(matches!(parse(text.as_bytes()), Ok(Statement::Output(_))), "{text}");
        }
        for text in [
            "show tables",
            "DESCRIBE t",
            "EXPLAIN INSERT INTO t SELECT 1",
            "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a",
            "INSERT INTO t (a) SELECT 1",
            "INSERT INTO t (SELECT 1)",
            "INSERT INTO t WITH 1 AS x SELECT x",
            "WITH 1 AS x INSERT INTO t SELECT x",
        ] {
            assert!(matches!(parse(text.as_bytes()), Ok(Statement::Command { .. })), "{text}");
        }
        assert_eq!(parse(b" -- nothing\n ;"), Ok(Statement::Empty));
    }

    #[test]
    fn an_inserts_rows_begin_after_one_line_break() {
        assert_eq!(
            inserted("INSERT INTO t (a) SETTINGS limit = 1 FORMAT RowBinary\n\n\nrow"),
            ("INSERT INTO t ( a ) SETTINGS limit = 1".into(), "RowBinary".into(), "\n\nrow")
        );
        assert_eq!(inserted("INSERT INTO t FORMAT CSV \t1,2").2, "1,2");
        assert_eq!(inserted("INSERT INTO t VALUES (1), (2);").2, "(1), (2);");
    }

    #[test]
    fn a_table_may_be_named_like_a_clause() {
        assert_eq!(inserted("INSERT INTO values VALUES (1)").0, "INSERT INTO values");
        assert_eq!(inserted("INSERT INTO db.format (format) FORMAT CSV\n1").1, "CSV");
        assert_eq!(inserted("INSERT INTO TABLE format FORMAT CSV\n1").0, "INSERT INTO TABLE format");
    }

    #[test]
    fn binary_rows_are_not_read_as_sql() {
        let text = b"INSERT INTO t FORMAT RowBinary\n\x00'\xff; SELECT file(";
        let Ok(Statement::Insert(insert)) = parse(text) else { panic!() };
        assert_eq!(insert.rows_at, 31);
    }

    #[test]
    fn the_engine_is_sent_what_was_checked_and_no_comment() {
        for text in [
            "SELECT 1 // '\n , file( -- '\n 'x')",
            "SELECT 'x' // '\n INTO OUTFILE '/any' -- '",
            "SELECT 1 // '\n ; SET ROLE whence_owner -- '\n",
            "SELECT getSetting('x'), .5SETTINGS max_threads=0",
            "SELECT 1. SETTINGS dialect = 'kusto'",
            "SELECT 1\u{2212}file('x')",
        ] {
            assert!(matches!(code(text), 62 | 358 | 452 | 497), "{text}");
        }
        let (head, ..) = output("SELECT 5 / 2 // note\n /* more */ , t.1.2, a::Int8");
        assert_eq!(head, "SELECT 5 / 2 , t . 1 . 2 , a :: Int8");
    }

    #[test]
    fn settings_are_plain_or_refused() {
        for text in [
            "SELECT 1 SETTINGS extremes, max_memory_usage = 0",
            "SELECT 1 SETTINGS http_zlib_compression_level = -1, dialect = 'kusto'",
            "SELECT 1 SETTINGS input_format_allow_errors_ratio = 1e-5, dialect = 'kusto'",
            "SELECT 1 SETTINGS limit == 1, dialect = 'kusto'",
            "SELECT 1 SETTINGS limit = (1), dialect = 'kusto'",
            "SELECT 1 SETTINGS limit = 1 + 1",
            "SELECT 1 SETTINGS limit = 1 dialect = 'kusto'",
            "SELECT * FROM (SELECT 1 SETTINGS `dialect` = 'kusto')",
            "INSERT INTO t SETTINGS dialect = 'kusto' VALUES (1)",
        ] {
            assert_eq!(code(text), 452, "{text}");
        }
        for text in [
            "SELECT settings, t.settings FROM t WHERE settings = 1 ORDER BY settings",
            "SELECT 1 SETTINGS limit = 1, extremes = true FORMAT CSV",
            "(SELECT 1 SETTINGS limit = 1) UNION ALL SELECT 2 SETTINGS offset = 0",
        ] {
            assert!(parse(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn fuzz_statements() {
        bolero::check!().for_each(|text: &[u8]| {
            if let Ok(Statement::Insert(insert)) = parse(text) {
                assert!(format!("{insert:?}").len() < 100 * (text.len() + 100), "bounded by the text");
            }
        });
    }
}
