//! Whatever is written like a call, `name(…)`, and names that could be passed to one.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::{Rules, TableName, Tokens, View, denied};
use crate::engine::Exception;
use crate::sql::tokens::Kind;

/// Functions, scalar and aggregate, one a line. Left out of the engine's own are those that read files,
/// dictionaries and models, ask other machines or language models, wait, or tell about the machine; that recurse as
/// deep as a text is nested (`jsonMergePatch` ends the process); and that compare all of one text with all of another
/// (edit distances), for which nobody can wait. Also what takes the name of a format as a text (`formatRow`): some
/// formats write files of their own.
static FUNCTIONS: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| {
    let listed = include_str!("functions.txt").lines().chain(PARSED);
    listed.map(|name| name.to_ascii_lowercase().into_bytes()).collect()
});

/// Functions that the parser knows and no system table lists.
const PARSED: [&str; 10] = [
    "untuple",
    "grouping",
    "date_add",
    "dateadd",
    "date_sub",
    "datesub",
    "timestamp_add",
    "timestampadd",
    "timestamp_sub",
    "timestampsub",
];

/// Table functions: those that make rows out of nothing, and whose arguments are numbers or a query. Left out
/// are those that take a structure (`values`, `generateRandom`, `null`, `format`): it is a text that can hold
/// any expression (`a String ALIAS file('x')`), put together out of any pieces.
const TABLE_FUNCTIONS: [&str; 8] =
    ["numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generate_series", "generateSeries", "view"];

/// Functions whose first argument names an aggregate function, with parameters, which the engine evaluates.
const NAMES_AN_AGGREGATE: [&str; 3] = ["arrayReduce", "arrayReduceInRanges", "initializeAggregation"];

/// Words of the grammar that a parenthesis may follow.
const WORDS: [&str; 88] = [
    "ALIAS",
    "ALL",
    "AND",
    "ANTI",
    "ANY",
    "APPLY",
    "ARRAY",
    "AS",
    "ASC",
    "ASSUME",
    "BETWEEN",
    "BY",
    "CASE",
    "CHECK",
    "CODEC",
    "COLUMNS",
    "COMMENT",
    "CONSTRAINT",
    "CUBE",
    "DEFAULT",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DIV",
    "ELSE",
    "END",
    "ENUM",
    "EPHEMERAL",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXPRESSION",
    "FILTER",
    "FINAL",
    "FIRST",
    "FROM",
    "GLOBAL",
    "GROUP",
    "HAVING",
    "IGNORE",
    "ILIKE",
    "IN",
    "INNER",
    "INTERPOLATE",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "KEY",
    "LAST",
    "LIKE",
    "LIMIT",
    "MATERIALIZED",
    "MOD",
    "NOT",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "OVER",
    "PARTITION",
    "PIPELINE",
    "PLAN",
    "PREWHERE",
    "QUALIFY",
    "QUERY",
    "REGEXP",
    "REPLACE",
    "ROLLUP",
    "SAMPLE",
    "SELECT",
    "SEMI",
    "SETS",
    "SYNTAX",
    "THEN",
    "TO",
    "TOP",
    "TOTALS",
    "TREE",
    "TTL",
    "UNION",
    "USING",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "TABLE",
];

/// Types with arguments; plain ones are never called.
const TYPES: [&str; 33] = [
    "AggregateFunction",
    "BINARY",
    "BIT",
    "CHAR",
    "CHARACTER",
    "DateTime",
    "DateTime32",
    "DateTime64",
    "DEC",
    "Decimal",
    "Decimal128",
    "Decimal256",
    "Decimal32",
    "Decimal64",
    "Dynamic",
    "Enum16",
    "Enum8",
    "FIXED",
    "FixedString",
    "JSON",
    "LowCardinality",
    "Map",
    "Nested",
    "Nullable",
    "NUMERIC",
    "Object",
    "QBit",
    "SimpleAggregateFunction",
    "Time64",
    "Tuple",
    "VARBINARY",
    "VARCHAR",
    "Variant",
];

/// How columns are packed and skipped.
const CODECS_AND_INDEXES: [&str; 16] = [
    "NONE",
    "LZ4",
    "LZ4HC",
    "ZSTD",
    "Delta",
    "DoubleDelta",
    "Gorilla",
    "FPC",
    "GCD",
    "T64",
    "minmax",
    "set",
    "bloom_filter",
    "ngrambf_v1",
    "tokenbf_v1",
    "text",
];

/// What may be put behind an aggregate function's name.
const COMBINATORS: [&str; 15] = [
    "SimpleState",
    "OrDefault",
    "OrNull",
    "Distinct",
    "Resample",
    "ForEach",
    "ArgMin",
    "ArgMax",
    "Array",
    "Merge",
    "State",
    "Tuple",
    "Null",
    "Map",
    "If",
];

/// Each is looked up before the statement runs.
const VIEWS_MAX: usize = 16;

/// Longer names are nobody's.
const NAME_BYTES_MAX: usize = 128;

/// Whether `name` is a function of the list, or one with combinators.
pub fn is_allowed_function(name: &[u8]) -> bool {
    listed(name).is_some()
}

/// The function of the list that `name` is, combinators taken off.
fn listed(name: &[u8]) -> Option<&[u8]> {
    let mut name = name;
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    loop {
        if FUNCTIONS.contains(&name.to_ascii_lowercase()) {
            return Some(name);
        }
        // The longest first: `OrNull` before `Null`.
        let shorter = COMBINATORS.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes()));
        match shorter {
            Some(base) if !base.is_empty() => name = base,
            _ => return None,
        }
    }
}

fn is_one_of(name: &[u8], list: &[&str]) -> bool {
    list.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
}

/// Checks every name; returns the calls that only a view can answer. `target` is the place of the name
/// that the statement makes or writes to, which a list of columns may follow.
pub(super) fn check(
    statement: &Tokens<'_>,
    rules: &Rules<'_>,
    target: Option<usize>,
) -> Result<Vec<View>, Exception> {
    let passes_functions = (0..statement.len()).any(|at| is_higher_order(statement, at));
    let mut views: Vec<View> = Vec::new();
    for at in 0..statement.len() {
        let Some(name) = statement.name(at) else { continue };
        let quoted = statement.tokens[at].kind == Kind::Quoted;
        if quoted && name.contains(&b'\\') {
            // It could spell any name; there is another way to write each.
            return Err(denied("Escapes in quoted names are not served"));
        }
        if is_identifier_parameter(statement, at) {
            return Err(denied("Parameters of type Identifier are not served: write the name"));
        }
        if !statement.punct(at + 1, b'(') {
            // A name can stand for a function where functions are passed on; elsewhere it is a column's.
            let may_be_passed =
                passes_functions && !statement.is_qualified(at) && !statement.punct(at + 1, b'.');
            let is_free = listed(name).is_some_and(|base| !reads_a_text(base));
            if may_be_passed && rules.catalogue.has(name) && !is_free {
                let shown = statement.shown(at);
                let message = format!(
                    "The function {shown} is not served; a column of that name is written with its table, t.{shown}"
                );
                return Err(denied(&message));
            }
            continue;
        }
        if Some(at) == target || may_be_called(statement, at, name, quoted, rules) {
            continue;
        }
        match view(statement, at, rules) {
            Some(view) if views.len() < VIEWS_MAX => views.push(view),
            Some(_) => return Err(denied(&format!("More than {VIEWS_MAX} calls of views are not served"))),
            None => return Err(denied(&format!("{} is not served", statement.shown(at)))),
        }
    }
    Ok(views)
}

/// Whether what follows may be given a function by its name: `arrayMap(f, …)`, `APPLY(f)`, `APPLY f`.
fn is_higher_order(statement: &Tokens<'_>, at: usize) -> bool {
    let Some(name) = statement.name(at) else { return false };
    if statement.is(at, "APPLY") {
        return true;
    }
    let begins = |start: &[u8]| name.len() >= start.len() && name[..start.len()].eq_ignore_ascii_case(start);
    statement.punct(at + 1, b'(') && [&b"array"[..], b"map", b"lambda"].into_iter().any(begins)
}

fn may_be_called(statement: &Tokens<'_>, at: usize, name: &[u8], quoted: bool, rules: &Rules<'_>) -> bool {
    if statement.is_qualified(at) {
        return false;
    }
    if let Some(base) = listed(name) {
        return match reads_a_text(base) {
            true => has_plain_text(statement, at, base),
            false => !rules.catalogue.has_table_function(name),
        };
    }
    if quoted {
        return false;
    }
    // What the engine has under this name is on one of two lists, or refused, whatever else the name means.
    if rules.catalogue.knows(name) {
        return is_one_of(name, &TABLE_FUNCTIONS);
    }
    let before = |words: &[&str]| at.checked_sub(1).is_some_and(|before| statement.is_any(before, words));
    let of_engine =
        before(&["ENGINE"]) || (at >= 2 && statement.punct(at - 1, b'=') && statement.is(at - 2, "ENGINE"));
    if of_engine && super::engines::is_engine(name, rules) {
        return true;
    }
    [&WORDS[..], &TYPES, &TABLE_FUNCTIONS].iter().any(|list| is_one_of(name, list))
        // `CODEC(ZSTD(3))`, `INDEX i … TYPE set(100)`, `PROJECTION p (SELECT …)`, `ADD INDEX i (…)`.
        || is_one_of(name, &CODECS_AND_INDEXES)
        || names_a_part(statement, at)
        || is_common_table(statement, at)
}

/// `PROJECTION [IF NOT EXISTS] name (…)`, a part of a table that is made.
fn names_a_part(statement: &Tokens<'_>, at: usize) -> bool {
    let word =
        at.checked_sub(1).map(|before| match at >= 4 && statement.are(at - 3, &["IF", "NOT", "EXISTS"]) {
            true => at - 4,
            false => before,
        });
    word.is_some_and(|word| statement.is_any(word, &["PROJECTION", "INDEX", "CONSTRAINT"]))
}

/// `WITH name(column, …) AS (`, a definition and no call.
fn is_common_table(statement: &Tokens<'_>, at: usize) -> bool {
    let begins = at.checked_sub(1).is_some_and(|before| {
        statement.is_any(before, &["WITH", "RECURSIVE"]) || statement.punct(before, b',')
    });
    begins
        && statement
            .closing(at + 1)
            .is_some_and(|close| statement.is(close + 1, "AS") && statement.punct(close + 2, b'('))
}

/// Functions whose first argument is a text that the engine reads more into: they are called by their name,
/// with that text written out, and passed to no other.
fn reads_a_text(base: &[u8]) -> bool {
    base.eq_ignore_ascii_case(b"format") || is_one_of(base, &NAMES_AN_AGGREGATE)
}

/// Whether the text says what it says to everybody: no escapes, and nothing that is put together, given as a
/// parameter or evaluated.
///
/// `format(CSV, 'rows')` reads rows and `format('{}', x)` makes text: no format has a brace in its name.
fn has_plain_text(statement: &Tokens<'_>, at: usize, base: &[u8]) -> bool {
    let Some(first) = statement.tokens.get(at + 2).filter(|first| first.kind == Kind::Text) else {
        return false;
    };
    if !statement.punct(at + 3, b',') && !statement.punct(at + 3, b')') {
        return false;
    }
    let spelled = &statement.text[first.span.clone()];
    let text = &spelled[1..spelled.len() - 1];
    if base.eq_ignore_ascii_case(b"format") {
        return text.contains(&b'{') && !text.contains(&b'\\');
    }
    let name_bytes = text.iter().position(|&byte| byte == b'(').unwrap_or(text.len());
    let (name, parameters) = text.split_at(name_bytes);
    let are_numbers =
        parameters.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b',' | b' ' | b'(' | b')'));
    is_allowed_function(name) && are_numbers
}

/// `{name:Identifier}`
fn is_identifier_parameter(statement: &Tokens<'_>, at: usize) -> bool {
    at >= 3
        && statement.is(at, "Identifier")
        && statement.punct(at - 1, b':')
        && statement.punct(at - 3, b'{')
}

/// A call that may be a view with parameters: `FROM [database.]name(parameter = …)`.
fn view(statement: &Tokens<'_>, at: usize, rules: &Rules<'_>) -> Option<View> {
    let text = |at| statement.name(at).map(|name| String::from_utf8_lossy(name).into_owned());
    if statement.is_qualified(at) {
        if at < 2 || (at >= 3 && statement.punct(at - 3, b'.')) {
            return None;
        }
        let place = TableName { database: text(at - 2)?, name: text(at)? };
        return Some(View { place, unqualified_at: None });
    }
    let name = statement.name(at)?;
    if rules.catalogue.knows(name) {
        return None;
    }
    let reads = at.checked_sub(1).is_some_and(|before| {
        statement.is_any(before, &["FROM", "JOIN", "TABLE", "DESCRIBE", "DESC"])
            || statement.punct(before, b',')
    });
    let place = TableName { database: rules.database.to_owned(), name: text(at)? };
    reads.then_some(View { place, unqualified_at: Some(at) })
}
