//! The engine's own tables: what tells about whence's tables and about SQL, and nothing about the machine,
//! about other people's statements or about accounts.

use super::{Rules, Tokens, denied};
use crate::engine::Exception;
use crate::rights::Identity;

/// Tables of `system` for everybody.
const EVERYBODY: [&str; 28] = [
    "aggregate_function_combinators",
    "build_options",
    "clusters",
    "collations",
    "columns",
    "contributors",
    "current_roles",
    "data_skipping_indices",
    "data_type_families",
    "database_engines",
    "databases",
    "dictionaries",
    "enabled_roles",
    "formats",
    "functions",
    "keywords",
    "licenses",
    "merge_tree_settings",
    "numbers",
    "numbers_mt",
    "one",
    "projections",
    "settings",
    "table_engines",
    "table_functions",
    "tables",
    "time_zones",
    "zeros",
];

/// What the process itself looks at besides.
const OWNER: [&str; 6] = ["errors", "merges", "mutations", "parts", "processes", "replicas"];

/// Tables of `system` that `identity` may read.
pub fn tables(identity: Identity) -> impl Iterator<Item = &'static str> {
    let further: &[&str] = if identity == Identity::Owner { &OWNER } else { &[] };
    EVERYBODY.into_iter().chain(further.iter().copied())
}

pub(super) fn check(statement: &Tokens<'_>, rules: &Rules<'_>) -> Result<(), Exception> {
    for at in 0..statement.len() {
        let Some(name) = statement.name(at) else { continue };
        if !name.eq_ignore_ascii_case(b"system") || !statement.punct(at + 1, b'.') {
            continue;
        }
        let table = statement.name(at + 2).unwrap_or_default();
        if !tables(rules.identity).any(|allowed| table == allowed.as_bytes()) {
            return Err(denied(&format!("The table system.{} is not served", statement.shown(at + 2))));
        }
    }
    Ok(())
}
