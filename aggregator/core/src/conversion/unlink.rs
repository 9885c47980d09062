//! The keys of a person who was forgotten cease to lead to the person's events.
//!
//! Whose events are whose has to stay known: a refund that names a payment is decided with the person's lead, other payments
//! and flags. So the keys get other names, each one of its own, that nobody can come to from a key: whatever is found
//! through a payment or an event is found as before. Only the suppression of the keys keeps them.
//!
//! Done behind the commit of the block with the erasure, when its events are blank on every replica. From that block on
//! no event finds anything by such a key, so that it makes no difference to any block, or to its replay, whether
//! the rows stand under the keys, under their new names, or under both.

use super::people::kind;
use std::collections::{BTreeMap, BTreeSet};
use whence_schemas::{rows::SubjectKeyRow, subject::SubjectKey};

/// The rows with other names for these keys; of rows that name none of them, and of those that suppress a key, none.
/// `fresh` gives a name that was never given before.
pub fn renamed(
    rows: &[SubjectKeyRow],
    keys: &BTreeSet<SubjectKey>,
    mut fresh: impl FnMut() -> SubjectKey,
) -> Vec<SubjectKeyRow> {
    let names: BTreeMap<SubjectKey, SubjectKey> = keys.iter().map(|key| (*key, fresh())).collect();
    let name = |key: &SubjectKey| names.get(key).copied().unwrap_or(*key);
    let linked = rows.iter().filter(|row| row.kind.0 != kind::ERASED);
    linked
        .filter(|row| row.keys.iter().any(|key| names.contains_key(key)))
        .map(|row| SubjectKeyRow {
            key: name(&row.key),
            keys: row.keys.iter().map(name).collect(),
            ..row.clone()
        })
        .collect()
}
