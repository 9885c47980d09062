//! Which statements there are, and which database each of them may change.

use super::engines::is_engine;
use super::{Rules, Tokens, denied};
use crate::engine::Exception;
use crate::rights::Identity;
use crate::sql::tokens::Kind;

/// A table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
}

/// What a statement makes, writes to or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which table or view.
    pub place: TableName,
    /// The token that names it.
    pub at: usize,
    /// Where in the text a database would be written, if none is.
    pub unqualified_at: Option<usize>,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It only reads.
    Read,
    /// It adds rows.
    Insert(Target),
    /// It makes a table or a view, or replaces one.
    Create(Target),
    /// It removes a table or a view.
    Drop(Target),
    /// It changes a table or its rows.
    Change(Target),
}

impl Action {
    /// What it changes.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Read => None,
            Self::Insert(target) | Self::Create(target) | Self::Drop(target) | Self::Change(target) => {
                Some(target)
            }
        }
    }
}

/// What may be shown. Left out are other people's statements, accounts and the machine.
pub const SHOWN: [&str; 17] = [
    "CHANGED",
    "CLUSTERS",
    "COLUMNS",
    "CREATE",
    "DATABASES",
    "DICTIONARIES",
    "ENGINES",
    "EXTENDED",
    "FIELDS",
    "FULL",
    "FUNCTIONS",
    "INDEX",
    "INDEXES",
    "INDICES",
    "KEYS",
    "SETTINGS",
    "TABLES",
];

/// Pairs of words that are clauses of no statement that is served: they run a second statement, lend
/// somebody's rights, or reach other disks, folders and servers.
const CLAUSES: [[&str; 2]; 22] = [
    ["PARALLEL", "WITH"],
    ["SQL", "SECURITY"],
    ["ON", "CLUSTER"],
    ["TO", "DISK"],
    ["TO", "VOLUME"],
    ["INNER", "UUID"],
    ["CLONE", "AS"],
    ["FREEZE", "PARTITION"],
    ["FREEZE", "WITH"],
    ["UNFREEZE", "PARTITION"],
    ["UNFREEZE", "WITH"],
    ["FETCH", "PARTITION"],
    ["FETCH", "PART"],
    ["ATTACH", "PARTITION"],
    ["ATTACH", "PART"],
    ["DETACH", "PARTITION"],
    ["DETACH", "PART"],
    ["MOVE", "PARTITION"],
    ["MOVE", "PART"],
    ["REPLACE", "PARTITION"],
    ["EXPORT", "PARTITION"],
    ["EXPORT", "PART"],
];

/// Beginnings of the commands of `ALTER TABLE`.
const ALTERATIONS: [&[&str]; 21] = [
    &["ADD", "COLUMN"],
    &["ADD", "INDEX"],
    &["ADD", "PROJECTION"],
    &["CLEAR", "COLUMN"],
    &["CLEAR", "INDEX"],
    &["COMMENT", "COLUMN"],
    &["DELETE"],
    &["DROP", "COLUMN"],
    &["DROP", "INDEX"],
    &["DROP", "PROJECTION"],
    &["MATERIALIZE"],
    &["MODIFY", "COLUMN"],
    &["MODIFY", "COMMENT"],
    &["MODIFY", "ORDER"],
    &["MODIFY", "QUERY"],
    &["MODIFY", "SETTING"],
    &["MODIFY", "TTL"],
    &["REMOVE", "TTL"],
    &["RENAME", "COLUMN"],
    &["RESET", "SETTING"],
    &["UPDATE"],
];

/// What the statement does, if it is one that is served.
pub(super) fn action(statement: &Tokens<'_>, rules: &Rules<'_>) -> Result<Action, Exception> {
    clauses(statement, rules)?;
    let Some(first) = (0..statement.len()).find(|&at| !statement.punct(at, b'(')) else {
        return Ok(Action::Read);
    };
    let action = match () {
        () if statement.is_any(first, &["SELECT", "WITH", "FROM"]) => match insert_of_a_query(statement) {
            None => Action::Read,
            Some(at) => Action::Insert(inserted(statement, rules, at)?),
        },
        () if statement.is(first, "SHOW") => shown(statement, first)?,
        () if statement.is_any(first, &["DESCRIBE", "DESC", "EXISTS"]) => Action::Read,
        () if statement.is(first, "EXPLAIN") => explained(statement)?,
        () if asks_for_a_right(statement, first) => Action::Read,
        () if statement.is(first, "INSERT") => Action::Insert(inserted(statement, rules, first)?),
        () if statement.is(first, "CREATE") => Action::Create(created(statement, rules, first)?),
        () if statement.is(first, "DROP") => Action::Drop(dropped(statement, rules, first)?),
        () if rules.identity == Identity::Owner => Action::Change(changed(statement, rules, first)?),
        () => return Err(not_served(statement, first, rules)),
    };
    if let Some(target) = action.target() {
        within(&target.place, rules)?;
    }
    Ok(action)
}

/// The databases that somebody may change.
fn within(place: &TableName, rules: &Rules<'_>) -> Result<(), Exception> {
    let is_own = match rules.identity {
        Identity::Owner => rules.databases.contains(&place.database),
        Identity::Reader => place.database == rules.scratch,
    };
    if is_own {
        return Ok(());
    }
    let message = match rules.identity {
        Identity::Owner => format!("Tables of the database {} are not changed here", place.database),
        Identity::Reader => format!(
            "Only tables of the database {} can be made, filled and dropped; name it: {0}.{}",
            rules.scratch, place.name
        ),
    };
    Err(denied(&message))
}

fn not_served(statement: &Tokens<'_>, at: usize, rules: &Rules<'_>) -> Exception {
    let word = statement.shown(at).to_ascii_uppercase();
    let hint = match word.as_str() {
        "SET" | "USE" | "BEGIN" | "COMMIT" | "ROLLBACK" => {
            ": each statement has a session of its own; give settings and the database with the request"
        }
        _ if rules.identity == Identity::Reader => {
            ": served are SELECT, SHOW, DESCRIBE, EXISTS and EXPLAIN, and CREATE, INSERT and DROP in the scratch database"
        }
        _ => "",
    };
    denied(&format!("The statement {word} is not served{hint}"))
}

fn clauses(statement: &Tokens<'_>, rules: &Rules<'_>) -> Result<(), Exception> {
    for at in 0..statement.len() {
        if let Some(pair) = CLAUSES.iter().find(|pair| statement.are(at, *pair)) {
            return Err(denied(&format!("{} {} is not served", pair[0], pair[1])));
        }
        if statement.is(at, "DEFINER") && statement.punct(at + 1, b'=') {
            return Err(denied("DEFINER is not served"));
        }
    }
    // What ages is dead before it is gone, and takes its place meanwhile.
    let ages = |at| statement.is(at, "TTL") && !statement.is_qualified(at);
    if rules.identity == Identity::Reader && makes(statement) && (0..statement.len()).any(ages) {
        return Err(denied("TTL is not served; a column of that name is written in backticks"));
    }
    // `ENGINE = name` or `ENGINE name`, wherever it stands outside of brackets: names of columns and tables
    // can be spelled like any word, and a column called `engine` can be written with its table.
    for at in 1..statement.len() {
        let begins = makes(statement) && statement.depth(at) == 0 && statement.is(at, "ENGINE");
        if !begins || statement.is_qualified(at) {
            continue;
        }
        let named = at + 1 + usize::from(statement.punct(at + 1, b'='));
        if !is_engine(statement.name(named).unwrap_or_default(), rules) {
            return Err(denied(&format!(
                "The table engine {} is not served; a column of that name is written with its table, t.engine",
                statement.shown(named)
            )));
        }
    }
    Ok(())
}

/// Whether the statement may have an `ENGINE` clause.
fn makes(statement: &Tokens<'_>) -> bool {
    statement.is_any(0, &["CREATE", "ALTER"])
}

/// `CHECK GRANT right, right ON place`: whether who asks has them, 1 or 0. Without `ON` the engine reads a column `CHECK`
/// by the name of `GRANT`.
fn asks_for_a_right(statement: &Tokens<'_>, first: usize) -> bool {
    let mut rest = first..statement.len();
    statement.are(first, &["CHECK", "GRANT"])
        && rest.clone().any(|at| statement.is(at, "ON"))
        && !rest.any(|at| statement.punct(at, b'('))
}

fn shown(statement: &Tokens<'_>, at: usize) -> Result<Action, Exception> {
    if statement.is_any(at + 1, &SHOWN) {
        return Ok(Action::Read);
    }
    let what = statement.shown(at + 1).to_ascii_uppercase();
    Err(denied(&format!("SHOW {what} is not served")))
}

/// `EXPLAIN` of what is a query or an insert; neither runs.
fn explained(statement: &Tokens<'_>) -> Result<Action, Exception> {
    const STATEMENTS: [&str; 16] = [
        "SELECT", "WITH", "FROM", "INSERT", "CREATE", "ALTER", "DROP", "SYSTEM", "SET", "GRANT", "EXECUTE",
        "ATTACH", "DETACH", "RENAME", "TRUNCATE", "UPDATE",
    ];
    let found = (1..statement.len()).find(|&at| statement.is_any(at, &STATEMENTS));
    match found {
        Some(at) if statement.is_any(at, &STATEMENTS[..4]) => Ok(Action::Read),
        _ => Err(denied("EXPLAIN is served for SELECT and INSERT")),
    }
}

/// `WITH … INSERT INTO …`, `FROM … INSERT …`
fn insert_of_a_query(statement: &Tokens<'_>) -> Option<usize> {
    (0..statement.len()).find(|&at| {
        statement.depth(at) == 0 && statement.are(at, &["INSERT", "INTO"]) && !statement.is_qualified(at)
    })
}

fn inserted(statement: &Tokens<'_>, rules: &Rules<'_>, insert: usize) -> Result<Target, Exception> {
    let mut at = insert + 1;
    if statement.is(at, "INTO") {
        at += 1;
    }
    if statement.is(at, "FUNCTION") {
        return Err(denied("INSERT INTO FUNCTION is not served"));
    }
    if statement.is(at, "TABLE") && statement.name(at + 1).is_some() && !statement.is(at + 1, "FORMAT") {
        at += 1;
    }
    target(statement, rules, at)
}

fn created(statement: &Tokens<'_>, rules: &Rules<'_>, create: usize) -> Result<Target, Exception> {
    let mut at = create + 1;
    if statement.are(at, &["OR", "REPLACE"]) {
        at += 2;
    }
    let is_made = statement.is_any(at, &["TABLE", "VIEW"]);
    if is_made {
        at += 1;
    } else if rules.identity == Identity::Owner && statement.are(at, &["MATERIALIZED", "VIEW"]) {
        at += 2;
    } else {
        let what = statement.shown(at).to_ascii_uppercase();
        return Err(denied(&format!("CREATE {what} is not served")));
    }
    if statement.are(at, &["IF", "NOT", "EXISTS"]) {
        at += 3;
    }
    let target = target(statement, rules, at)?;
    // Where tables have replicas, all of a table have its UUID.
    if statement.is(target.at + 1, "UUID") && !rules.replicates() {
        return Err(denied("UUID is not served"));
    }
    Ok(target)
}

fn dropped(statement: &Tokens<'_>, rules: &Rules<'_>, drop: usize) -> Result<Target, Exception> {
    let mut at = drop + 1;
    if !statement.is_any(at, &["TABLE", "VIEW"]) {
        let what = statement.shown(at).to_ascii_uppercase();
        return Err(denied(&format!("DROP {what} is not served")));
    }
    at += 1;
    if statement.are(at, &["IF", "EXISTS"]) || statement.are(at, &["IF", "EMPTY"]) {
        at += 2;
    }
    let target = target(statement, rules, at)?;
    // `DROP TABLE a, b`
    if statement.punct(target.at + 1, b',') {
        return Err(denied("One table is dropped at a time"));
    }
    Ok(target)
}

/// What only the owner does.
fn changed(statement: &Tokens<'_>, rules: &Rules<'_>, first: usize) -> Result<Target, Exception> {
    if statement.are(first, &["TRUNCATE", "TABLE"]) || statement.are(first, &["OPTIMIZE", "TABLE"]) {
        let exists = statement.are(first + 2, &["IF", "EXISTS"]);
        return target(statement, rules, first + 2 + 2 * usize::from(exists));
    }
    if statement.are(first, &["ALTER", "TABLE"]) {
        let target = target(statement, rules, first + 2)?;
        // A month that is past retention, and nothing else in the same statement: neither ALL nor an expression.
        if statement.are(target.at + 1, &["DROP", "PARTITION"]) {
            let is_number =
                statement.tokens.get(target.at + 3).is_some_and(|token| token.kind == Kind::Number);
            return match is_number && statement.len() == target.at + 4 {
                true => Ok(target),
                false => Err(denied("DROP PARTITION is served for one partition that is a number")),
            };
        }
        if ALTERATIONS.iter().any(|words| statement.are(target.at + 1, words)) {
            return Ok(target);
        }
        let what = statement.shown(target.at + 1).to_ascii_uppercase();
        return Err(denied(&format!("ALTER TABLE … {what} is not served")));
    }
    // Where tables have replicas, which is nowhere but in trials: only waits for what the others have.
    if rules.replicates() && statement.are(first, &["SYSTEM", "SYNC", "REPLICA"]) {
        return target(statement, rules, first + 3);
    }
    Err(not_served(statement, first, rules))
}

/// The table or view that is named at `at`; the token is the last of its name.
fn target(statement: &Tokens<'_>, rules: &Rules<'_>, at: usize) -> Result<Target, Exception> {
    let text = |at| statement.name(at).map(|name| String::from_utf8_lossy(name).into_owned());
    let missing = || Exception::new(62, "SYNTAX_ERROR", "Syntax error: the name of a table is missing");
    let first = text(at).ok_or_else(missing)?;
    if !statement.punct(at + 1, b'.') {
        let place = TableName { database: rules.database.to_owned(), name: first };
        return Ok(Target { place, at, unqualified_at: Some(statement.tokens[at].span.start) });
    }
    let name = text(at + 2).ok_or_else(missing)?;
    Ok(Target { place: TableName { database: first, name }, at: at + 2, unqualified_at: None })
}
