//! What a statement with `ON CLUSTER` becomes for each replica: ClickHouse's worker of distributed DDL, in as much as
//! whence's migrations need of it.

use uuid::Uuid;

/// A statement for all replicas, or for one whose work the others take over through Keeper.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Without `ON CLUSTER`. What it makes gets one UUID everywhere: the macro `{uuid}` is made of a table's, and tokens of
    /// inserts through a view are made of the view's.
    pub sql: String,
    /// Whether each replica runs it.
    pub is_for_all: bool,
}

/// The statement, if it is for a cluster.
pub fn rewrite(sql: &str, uuid: Uuid) -> Option<Rewritten> {
    const CLAUSE: &str = " ON CLUSTER ";
    let at = sql.find(CLAUSE).filter(|at| *at < 400)?;
    let rest = &sql[at + CLAUSE.len()..];
    let name = match rest.strip_prefix('`') {
        Some(quoted) => quoted.find('`')? + 2,
        None => rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()),
    };
    let (head, tail) = (&sql[..at], &rest[name..]);
    let has_uuid = ["CREATE TABLE ", "CREATE VIEW ", "CREATE MATERIALIZED VIEW "];
    let sql = match has_uuid.iter().any(|words| head.starts_with(words)) {
        true => format!("{head} UUID '{uuid}'{tail}"),
        false => format!("{head}{tail}"),
    };
    // Settings are each replica's own; columns, indices and rows go through Keeper.
    let is_for_all = sql.contains("MODIFY SETTING") || !sql.starts_with("ALTER TABLE");
    Some(Rewritten { sql, is_for_all })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str) -> (String, bool) {
        let Rewritten { sql, is_for_all } = rewrite(sql, Uuid::nil()).unwrap();
        (sql, is_for_all)
    }

    #[test]
    fn each_replica_makes_the_same_table_and_the_same_view() {
        let (sql, is_for_all) = rewritten("CREATE TABLE a ON CLUSTER `main`\n(x) ENGINE = R('/t/{uuid}')");
        assert_eq!(
            sql,
            "CREATE TABLE a UUID '00000000-0000-0000-0000-000000000000'\n(x) ENGINE = R('/t/{uuid}')"
        );
        assert!(is_for_all);
        let (sql, _) = rewritten("CREATE MATERIALIZED VIEW a ON CLUSTER `main` TO b AS SELECT 1");
        assert_eq!(
            sql,
            "CREATE MATERIALIZED VIEW a UUID '00000000-0000-0000-0000-000000000000' TO b AS SELECT 1"
        );
    }

    #[test]
    fn what_keeper_hands_on_runs_once() {
        assert_eq!(
            rewritten("ALTER TABLE a ON CLUSTER main ADD COLUMN b UInt8"),
            ("ALTER TABLE a ADD COLUMN b UInt8".into(), false)
        );
        assert!(rewritten("ALTER TABLE a ON CLUSTER `main` MODIFY SETTING b = 1").1);
        assert_eq!(rewrite("SELECT 1", Uuid::nil()), None);
    }
}
