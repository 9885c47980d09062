//! Migrations, forward only: plain files in `sql/`, rendered for one server or for a cluster.
//!
//! A migration that has run anywhere is never edited; the runner refuses a file whose checksum
//! differs from the one it recorded.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Where the statements will run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server, plain MergeTree.
    Single,
    /// `ON CLUSTER`, Replicated… tables.
    Cluster {
        /// The cluster's name in ClickHouse's settings.
        name: String,
    },
}

/// A numbered file of statements.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Grows from 1; numbers may be left out.
    pub number: u32,
    /// The file's name without number and ending.
    pub name: &'static str,
    text: &'static str,
}

/// All migrations, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "facts", text: include_str!("../sql/0001_facts.sql") },
    Migration { number: 2, name: "rollups", text: include_str!("../sql/0002_rollups.sql") },
    Migration { number: 3, name: "dimensions", text: include_str!("../sql/0003_dimensions.sql") },
    Migration { number: 4, name: "reports", text: include_str!("../sql/0004_reports.sql") },
    Migration { number: 5, name: "conversions", text: include_str!("../sql/0005_conversions.sql") },
    Migration {
        number: 6,
        name: "conversion_reports",
        text: include_str!("../sql/0006_conversion_reports.sql"),
    },
    Migration { number: 7, name: "rewards", text: include_str!("../sql/0007_rewards.sql") },
    Migration { number: 8, name: "reward_reports", text: include_str!("../sql/0008_reward_reports.sql") },
    Migration { number: 9, name: "lineage", text: include_str!("../sql/0009_lineage.sql") },
    Migration { number: 10, name: "status", text: include_str!("../sql/0010_status.sql") },
    Migration { number: 11, name: "report_views", text: include_str!("../sql/0011_report_views.sql") },
    Migration { number: 12, name: "lead_touches", text: include_str!("../sql/0012_lead_touches.sql") },
    Migration { number: 13, name: "outbound", text: include_str!("../sql/0013_outbound.sql") },
    Migration { number: 14, name: "click_evidence", text: include_str!("../sql/0014_click_evidence.sql") },
    Migration { number: 15, name: "reward_lineage", text: include_str!("../sql/0015_reward_lineage.sql") },
    Migration { number: 16, name: "reward_views", text: include_str!("../sql/0016_reward_views.sql") },
    Migration {
        number: 17,
        name: "history_conditions",
        text: include_str!("../sql/0017_history_conditions.sql"),
    },
    Migration {
        number: 18,
        name: "email_disposable",
        text: include_str!("../sql/0018_email_disposable.sql"),
    },
    Migration { number: 19, name: "rewards_due", text: include_str!("../sql/0019_rewards_due.sql") },
    Migration {
        number: 20,
        name: "rewards_by_referrer",
        text: include_str!("../sql/0020_rewards_by_referrer.sql"),
    },
    Migration {
        number: 21,
        name: "referrer_prefixes",
        text: include_str!("../sql/0021_referrer_prefixes.sql"),
    },
    Migration { number: 22, name: "status_refused", text: include_str!("../sql/0022_status_refused.sql") },
    Migration { number: 23, name: "lineage_touches", text: include_str!("../sql/0023_lineage_touches.sql") },
    Migration {
        number: 24,
        name: "counts_taken_back",
        text: include_str!("../sql/0024_counts_taken_back.sql"),
    },
    Migration { number: 26, name: "blocks", text: include_str!("../sql/0026_blocks.sql") },
    Migration { number: 27, name: "retention", text: include_str!("../sql/0027_retention.sql") },
    Migration { number: 28, name: "completeness", text: include_str!("../sql/0028_completeness.sql") },
];

impl Migration {
    /// SHA-256 of the file, in hex.
    #[must_use]
    pub fn checksum(&self) -> String {
        let hash = Sha256::digest(self.text.as_bytes());
        hash.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes every write");
            hex
        })
    }

    /// The file's statements, without comments and semicolons.
    #[must_use]
    pub fn statements(&self, topology: &Topology) -> Vec<String> {
        let code: String = self.text.lines().filter(|line| !line.trim_start().starts_with("--")).fold(
            String::new(),
            |mut code, line| {
                code.push_str(line);
                code.push('\n');
                code
            },
        );
        code.split(';').map(str::trim).filter(|s| !s.is_empty()).map(|s| render(s, topology)).collect()
    }
}

fn render(statement: &str, topology: &Topology) -> String {
    let Topology::Cluster { name } = topology else { return statement.to_owned() };
    // Runs where it is sent: the tables' replicas have what it writes from there.
    if statement.starts_with("INSERT ") {
        return statement.to_owned();
    }
    let (head, tail) = statement.split_once('\n').unwrap_or((statement, ""));
    let head = match head.find(" TO ").or_else(|| head.find(" AS")) {
        Some(at) => format!("{} ON CLUSTER `{name}`{}", &head[..at], &head[at..]),
        None => format!("{head} ON CLUSTER `{name}`"),
    };
    let tail = ["AggregatingMergeTree", "ReplacingMergeTree", "SummingMergeTree", "MergeTree"]
        .iter()
        .find_map(|engine| tail.split_once(&format!("ENGINE = {engine}")).map(|parts| (engine, parts)))
        .map_or_else(|| tail.to_owned(), |(engine, (before, after))| replicated(before, engine, after));
    format!("{head}\n{tail}")
        .replace("non_replicated_deduplication_window", "replicated_deduplication_window")
}

/// `{uuid}`, `{shard}` and `{replica}` are macros of the server's own settings.
fn replicated(before: &str, engine: &str, after: &str) -> String {
    const PATH: &str = "'/clickhouse/tables/{uuid}/{shard}', '{replica}'";
    match after.strip_prefix('(') {
        Some(arguments) => format!("{before}ENGINE = Replicated{engine}({PATH}, {arguments}"),
        None => format!("{before}ENGINE = Replicated{engine}({PATH}){after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_grow_from_one_and_hold_statements() {
        assert_eq!(MIGRATIONS[0].number, 1);
        assert!(MIGRATIONS.is_sorted_by(|before, after| before.number < after.number));
        for migration in MIGRATIONS {
            let statements = migration.statements(&Topology::Single);
            assert!(!statements.is_empty());
            // What may run twice: "exists already" is taken as done, and so is what stands there.
            let may_repeat = |s: &String| {
                s.starts_with("CREATE ")
                    || (s.starts_with("INSERT ") && s.contains(" NOT IN "))
                    || s.contains("MATERIALIZE PROJECTION")
                    || (s.starts_with("ALTER TABLE ")
                        && s.matches("ADD ").count() == s.matches("IF NOT EXISTS").count())
            };
            assert!(statements.iter().all(may_repeat), "{statements:?}");
            // ClickHouse names a view in the deduplication ids of what it feeds: by its UUID from this statement on,
            // and by its name again once the server has restarted. A block that is inserted again in between counts
            // twice.
            assert!(
                !statements.iter().any(|s| s.contains("MODIFY QUERY")),
                "make a new view: {statements:?}"
            );
        }
    }

    #[test]
    fn a_cluster_gets_replicated_tables_on_every_server() {
        let topology = Topology::Cluster { name: "main".into() };
        let all: Vec<_> = MIGRATIONS.iter().flat_map(|m| m.statements(&topology)).collect();
        let defined: Vec<_> = all.iter().filter(|s| !s.starts_with("INSERT ")).collect();
        assert!(defined.iter().all(|s| s.contains(" ON CLUSTER `main`")), "{defined:#?}");
        let tables = all.iter().filter(|s| s.starts_with("CREATE TABLE"));
        for table in tables {
            assert!(table.contains("ENGINE = Replicated"), "{table}");
            assert!(!table.contains("non_replicated"), "{table}");
        }
        let links = all.iter().find(|s| s.starts_with("CREATE TABLE links")).unwrap();
        assert!(links.contains("'{replica}', version)"), "{links}");
        let view = all.iter().find(|s| s.contains("funnel_daily_feed")).unwrap();
        assert!(
            view.starts_with(
                "CREATE MATERIALIZED VIEW funnel_daily_feed ON CLUSTER `main` TO funnel_daily AS"
            )
        );
    }
}
