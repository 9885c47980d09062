//! Whatever is written like a call, `name(…)`, and names that could be passed to one.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::{Place, Rules, Tokens, denied};
use crate::engine::Exception;
use crate::sql::tokens::Kind;

/// Functions, scalar and aggregate, one a line. Left out of the engine's own are those that read files,
/// dictionaries and models, ask other machines or language models, wait, or tell about the machine.
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

/// Table functions: those that make rows out of nothing.
const TABLE_FUNCTIONS: [&str; 12] = [
    "numbers",
    "numbers_mt",
    "zeros",
    "zeros_mt",
    "primes",
    "generate_series",
    "generateSeries",
    "generateRandom",
    "values",
    "SQLStandardValues",
    "null",
    "view",
];

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
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
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

/// Table engines of everybody: storage of the engine's own, in its own folder.
pub const ENGINES: [&str; 7] = [
    "MergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "VersionedCollapsingMergeTree",
    "CoalescingMergeTree",
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

/// Whether `name` is a function of the list, or one with combinators.
pub fn is_allowed_function(name: &[u8]) -> bool {
    if FUNCTIONS.contains(&name.to_ascii_lowercase()) {
        return true;
    }
    let shorter = |suffix: &&str| name.strip_suffix(suffix.as_bytes()).filter(|base| !base.is_empty());
    COMBINATORS.iter().filter_map(shorter).any(is_allowed_function)
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
) -> Result<Vec<Place>, Exception> {
    let mut views = Vec::new();
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
            let bare = !quoted && !statement.is_qualified(at) && !name[0].is_ascii_digit();
            if bare && rules.catalogue.has(name) && !is_allowed_function(name) {
                let shown = statement.shown(at);
                let message = format!(
                    "The function {shown} is not served; a column of that name is written with its table, t.{shown}"
                );
                return Err(denied(&message));
            }
            continue;
        }
        if Some(at) == target || !quoted && may_be_called(statement, at, name, rules) {
            continue;
        }
        if quoted && is_allowed_function(name) {
            continue;
        }
        match view(statement, at, rules) {
            Some(place) => views.push(place),
            None => return Err(denied(&format!("{} is not served", statement.shown(at)))),
        }
    }
    Ok(views)
}

fn may_be_called(statement: &Tokens<'_>, at: usize, name: &[u8], rules: &Rules<'_>) -> bool {
    let before = |words: &[&str]| at.checked_sub(1).is_some_and(|before| statement.is_any(before, words));
    let of_engine =
        before(&["ENGINE"]) || (at >= 2 && statement.punct(at - 1, b'=') && statement.is(at - 2, "ENGINE"));
    if of_engine && super::kinds::is_engine(name, rules) {
        return true;
    }
    if at >= 1 && statement.punct(at - 1, b'.') {
        return false;
    }
    is_allowed_function(name)
        || [&WORDS[..], &TYPES, &TABLE_FUNCTIONS].iter().any(|list| is_one_of(name, list))
        // `CODEC(ZSTD(3))`, `INDEX i … TYPE set(100)`, `PROJECTION p (SELECT …)`, `ADD INDEX i (…)`.
        || is_one_of(name, &CODECS_AND_INDEXES)
        || before(&["PROJECTION", "INDEX", "CONSTRAINT"])
}

/// `{name:Identifier}`
fn is_identifier_parameter(statement: &Tokens<'_>, at: usize) -> bool {
    at >= 3
        && statement.is(at, "Identifier")
        && statement.punct(at - 1, b':')
        && statement.punct(at - 3, b'{')
}

/// A call that may be a view with parameters: `FROM [database.]name(parameter = …)`.
fn view(statement: &Tokens<'_>, at: usize, rules: &Rules<'_>) -> Option<Place> {
    let text = |at| statement.name(at).map(|name| String::from_utf8_lossy(name).into_owned());
    if rules.catalogue.has(statement.name(at)?) {
        return None;
    }
    if at >= 2 && statement.punct(at - 1, b'.') {
        if at >= 3 && statement.punct(at - 3, b'.') {
            return None;
        }
        return Some(Place { database: text(at - 2)?, name: text(at)? });
    }
    let reads = at.checked_sub(1).is_some_and(|before| {
        statement.is_any(before, &["FROM", "JOIN", "TABLE", "DESCRIBE", "DESC"])
            || statement.punct(before, b',')
    });
    reads.then(|| Some(Place { database: rules.database.to_owned(), name: text(at)? }))?
}
