//! Inserts of one process take turns where they would meet each other's quorums.
//!
//! ClickHouse lets one quorum be open in a table. An insert opens one in its own table and one in each that a feed writes,
//! so that tables with feeds share a turn.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Tables with feeds.
const FED: [&str; 5] = ["clicks", "leads", "qualifications", "rejects", "rewards"];

/// The turn of each table. Bounded by the tables.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<&'static str, Turn>>);

/// Held while an insert is under way.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

impl Turns {
    /// That of a table.
    pub(super) fn of(&self, table: &'static str) -> Turn {
        let name = if FED.contains(&table) { FED[0] } else { table };
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(name).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use whence_schemas::sql::{MIGRATIONS, Topology};

    #[test]
    fn tables_that_a_feed_reads_share_a_turn() {
        let statements = MIGRATIONS.iter().flat_map(|migration| migration.statements(&Topology::Single));
        let feeds: Vec<String> =
            statements.filter(|sql| sql.starts_with("CREATE MATERIALIZED VIEW")).collect();
        let words = |sql: &str| sql.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let behind = |sql: &str, word: &str| -> BTreeSet<String> {
            words(sql).windows(2).filter(|pair| pair[0] == word).map(|pair| pair[1].clone()).collect()
        };
        let written: BTreeSet<String> = feeds.iter().flat_map(|sql| behind(sql, "TO")).collect();
        let read: BTreeSet<String> = feeds.iter().flat_map(|sql| behind(sql, "FROM")).collect();
        // What a feed writes another may read: it has its turn with whoever began.
        let fed: BTreeSet<&str> = read
            .iter()
            .map(String::as_str)
            .filter(|table| *table != "(" && !written.contains(*table))
            .collect();
        assert_eq!(fed, BTreeSet::from(FED));
        let turns = Turns::default();
        assert!(Arc::ptr_eq(&turns.of("clicks"), &turns.of("rewards")));
        assert!(!Arc::ptr_eq(&turns.of("clicks"), &turns.of("blocks")));
    }
}
