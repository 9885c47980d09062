//! Tables and views, each in a file of `sql/`, rendered for one server or for a cluster.
//!
//! `tables` and `feeds` (materialized views) are the baseline; from there they go forward in the numbered files of
//! `changes`. A migration
//! that has run anywhere is never edited; the runner refuses one whose checksum differs from that which it recorded.
//! `views` may be edited: a view is recreated whenever its file has changed. What the baseline made and a change has
//! dropped is in `gone`.

use sha2::{Digest, Sha256};

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

/// Statements that run once.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Grows; numbers may be left out.
    pub number: u32,
    /// What it is called.
    pub name: &'static str,
    files: &'static [&'static str],
}

/// A view that is recreated whenever its file differs from the text that created it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($path:literal),* $(,)?) => { &[$(include_str!(concat!("../sql/", $path, ".sql"))),*] };
}

macro_rules! views {
    ($($name:literal),* $(,)?) => {
        &[$(View { name: $name, text: include_str!(concat!("../sql/views/", $name, ".sql")) }),*]
    };
}

/// The number of the last migration of the files that the baseline replaces: a database that has it has the baseline's
/// tables, without their comments.
pub const BEFORE_BASELINE: u32 = 28;

/// All migrations, in order.
pub const MIGRATIONS: &[Migration] =
    &[BASELINE, PAYMENTS_AND_RECORDS, MADE_BY, PERSONS, READING, FUNNEL_HOURLY_GOES, DIGESTS, UNLINKED];

const BASELINE: Migration = Migration {
    number: BEFORE_BASELINE + 1,
    name: "baseline",
    files: files![
        "tables/clicks",
        "tables/leads",
        "tables/qualifications",
        "tables/disqualifications",
        "tables/identifies",
        "tables/participants",
        "tables/shares",
        "tables/erasures",
        "tables/subject_keys",
        "tables/click_evidence",
        "tables/rejects",
        "tables/reward_terms",
        "tables/rewards",
        "tables/reward_events",
        "tables/blocks",
        "tables/completeness_clock",
        "gone/funnel_hourly",
        "tables/funnel_daily",
        "tables/rewards_daily",
        "tables/rewards_due",
        "tables/programs",
        "tables/referrers",
        "tables/links",
        "tables/outbound_messages",
        "tables/deliveries",
        "tables/delivery_checkpoints",
        "gone/funnel_hourly_clicks",
        "gone/funnel_hourly_leads",
        "gone/funnel_hourly_qualifications",
        "gone/funnel_daily_feed",
        "feeds/rewards_daily_feed",
        "feeds/rewards_due_feed",
        "gone/outbound_leads",
        "gone/outbound_qualifications",
        "feeds/outbound_rewards",
    ],
};

const PAYMENTS_AND_RECORDS: Migration = Migration {
    number: 30,
    name: "payments_and_records",
    files: files![
        "changes/030_payments_and_records",
        "tables/reinstatements",
        "feeds/outbound_leads_told_again",
        "feeds/outbound_rewards_given_again"
    ],
};

const VIEWS: &[View] = views![
    "channels",
    "cohorts",
    "completeness",
    "dead_deliveries",
    "delivery_states",
    "excess_refunds",
    "funnel",
    "funnel_over",
    "lead_facts",
    "lineage",
    "links_now",
    "not_counted",
    "past_retention",
    "payments_made",
    "payouts",
    "payouts_as_of",
    "qualification_facts",
    "reconciliation",
    "referrers_now",
    "rejects_by_reason",
    "review_queue",
    "review_queue_as_of",
    "reward_balance",
    "reward_balance_as_of",
    "reward_roi",
    "reward_roi_by_rule",
    "reward_states",
    "reward_states_as_of",
    "status",
    "steps",
    "time_to_qualify",
    "top_referrers",
    "unmatched",
];

const MADE_BY: Migration = Migration { number: 31, name: "made_by", files: files!["changes/031_made_by"] };
const READING: Migration = Migration { number: 33, name: "reading", files: files!["changes/033_reading"] };

const PERSONS: Migration = Migration {
    number: 32,
    name: "persons",
    files: files![
        "changes/032_persons",
        "tables/funnel_quarter_hourly",
        "changes/032_funnel_daily",
        "feeds/funnel_days",
        "changes/032_funnel_filled",
        "feeds/funnel_clicks",
        "feeds/funnel_leads",
        "feeds/funnel_qualifications",
        "feeds/outbound_lead_changes",
        "feeds/outbound_qualification_changes",
    ],
};

/// One of its own: what is filled from the table is filled before it goes, however often that is begun.
const FUNNEL_HOURLY_GOES: Migration =
    Migration { number: 35, name: "funnel_hourly_goes", files: files!["changes/035_funnel_hourly_goes"] };

const DIGESTS: Migration = Migration {
    number: 36,
    name: "digests",
    files: files!["changes/036_digests", "feeds/outbound_conflicts"],
};

const UNLINKED: Migration = Migration { number: 37, name: "unlinked", files: files!["changes/037_unlinked"] };

/// All views, each behind those that it reads.
#[must_use]
pub fn views() -> Vec<&'static View> {
    let mut rest: Vec<&View> = VIEWS.iter().collect();
    let mut ordered = Vec::new();
    while !rest.is_empty() {
        let (ready, waiting): (Vec<&View>, Vec<&View>) = rest
            .iter()
            .partition(|view| !rest.iter().any(|other| view.name != other.name && view.reads(other.name)));
        assert!(!ready.is_empty(), "views read each other: {waiting:?}");
        ordered.extend(ready);
        rest = waiting;
    }
    ordered
}

/// A column that a view's file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// ClickHouse's type of it.
    pub kind: String,
    /// What it holds.
    pub comment: String,
}

impl View {
    /// The columns that the file declares, one on a line; none of a view with parameters.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        let lines = self.text.lines().skip_while(|line| *line != "(").skip(1).take_while(|line| *line != ")");
        let column = |line: &str| {
            let (head, comment) = line.trim().split_once(" COMMENT '")?;
            let (name, kind) = head.split_once(' ')?;
            let comment = comment.trim_end_matches(',').trim_end_matches('\'').replace("''", "'");
            Some(Column { name: name.to_owned(), kind: kind.to_owned(), comment })
        };
        lines.filter_map(column).collect()
    }

    /// SHA-256 of the file, in hex.
    #[must_use]
    pub fn checksum(&self) -> String {
        checksum([self.text])
    }

    /// The statement that makes it, whether it is there or not.
    #[must_use]
    pub fn statement(&self, topology: &Topology) -> String {
        statements(self.text, topology).concat()
    }

    /// The query that it stands for, with its parameters in braces.
    ///
    /// # Panics
    /// The file is not a view with a comment behind its query; a test looks at each.
    #[must_use]
    pub fn query(&self) -> String {
        let statement = self.statement(&Topology::Single);
        let query = statement.split_once("\nAS\n").and_then(|(_, text)| text.rsplit_once("\nCOMMENT "));
        query.expect("a view's file has AS and COMMENT on lines of their own").0.to_owned()
    }

    /// Whether the statement names this view or table.
    fn reads(&self, name: &str) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        statements(self.text, &Topology::Single)
            .iter()
            .any(|sql| sql.split(|c| !is_part(c)).any(|word| word == name))
    }
}

impl Migration {
    /// SHA-256 of the files, in hex.
    #[must_use]
    pub fn checksum(&self) -> String {
        checksum(self.files.iter().copied())
    }

    /// The files' statements, without comments and semicolons.
    #[must_use]
    pub fn statements(&self, topology: &Topology) -> Vec<String> {
        self.files.iter().flat_map(|text| statements(text, topology)).collect()
    }
}

fn checksum<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    texts.into_iter().for_each(|text| hash.update(text));
    hex::encode(hash.finalize())
}

/// A statement ends with a semicolon at the end of a line.
fn statements(text: &str, topology: &Topology) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = lines.join("\n") + "\n";
    code.split(";\n").map(str::trim).filter(|s| !s.is_empty()).map(|s| render(s, topology)).collect()
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
    fn migrations_grow_and_hold_statements_that_may_repeat() {
        assert!(MIGRATIONS.is_sorted_by(|before, after| before.number < after.number));
        for migration in MIGRATIONS {
            let statements = migration.statements(&Topology::Single);
            assert!(!statements.is_empty());
            // What may run twice: "exists already" is taken as done, and so is what stands there.
            let may_repeat = |s: &String| {
                s.starts_with("CREATE ")
                    || (s.starts_with("INSERT ") && s.contains(" insert_deduplication_token = "))
                    || ((s.starts_with("DROP ") || s.starts_with("TRUNCATE ")) && s.contains(" IF EXISTS "))
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
    fn each_view_stands_for_a_query() {
        for view in views() {
            let query = view.query();
            assert!(query.starts_with("SELECT") || query.starts_with("WITH"), "{}: {query}", view.name);
        }
    }

    #[test]
    fn every_file_is_there_once_and_makes_what_it_is_called() {
        let made = MIGRATIONS.iter().flat_map(|migration| migration.statements(&Topology::Single));
        let made: Vec<String> = made.collect();
        let gone = |name: &str| {
            made.iter().any(|sql| sql.starts_with("DROP ") && sql.split_whitespace().any(|w| w == name))
        };
        let created = made.iter().filter(|sql| sql.starts_with("CREATE ")).cloned();
        let made = created.chain(views().into_iter().map(|view| view.statement(&Topology::Single)));
        let mut made: Vec<String> = made
            .map(|sql| {
                let head = sql.lines().next().unwrap().replace("CREATE ", "").replace("OR REPLACE ", "");
                let (kind, rest) =
                    [("TABLE ", "tables"), ("MATERIALIZED VIEW ", "feeds"), ("VIEW ", "views")]
                        .iter()
                        .find_map(|(word, folder)| head.strip_prefix(word).map(|rest| (*folder, rest)))
                        .unwrap();
                let name = rest.split(' ').next().unwrap();
                format!("{}/{name}.sql", if gone(name) { "gone" } else { kind })
            })
            .collect();
        made.sort();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
        let mut files: Vec<String> = ["tables", "feeds", "views", "gone"]
            .into_iter()
            .flat_map(|folder| {
                let files = std::fs::read_dir(root.join(folder)).unwrap().flatten();
                files.map(move |file| format!("{folder}/{}", file.file_name().to_string_lossy()))
            })
            .collect();
        files.sort();
        assert_eq!(made, files);
    }

    #[test]
    fn a_view_comes_behind_those_that_it_reads() {
        let views = views();
        for (at, view) in views.iter().enumerate() {
            let later: Vec<_> = views[at + 1..].iter().filter(|later| view.reads(later.name)).collect();
            assert!(later.is_empty(), "{} reads {later:?}", view.name);
        }
        let place = |name: &str| views.iter().position(|view| view.name == name).unwrap();
        assert!(place("reward_states") < place("payouts") && place("funnel") < place("top_referrers"));
    }

    #[test]
    fn a_cluster_gets_replicated_tables_on_every_server() {
        let topology = Topology::Cluster { name: "main".into() };
        let mut all: Vec<_> = MIGRATIONS.iter().flat_map(|m| m.statements(&topology)).collect();
        all.extend(views().iter().map(|view| view.statement(&topology)));
        let defined: Vec<_> = all.iter().filter(|s| !s.starts_with("INSERT ")).collect();
        assert!(defined.iter().all(|s| s.contains(" ON CLUSTER `main`")), "{defined:#?}");
        let tables = all.iter().filter(|s| s.starts_with("CREATE TABLE"));
        for table in tables {
            assert!(table.contains("ENGINE = Replicated"), "{table}");
            assert!(!table.contains("non_replicated"), "{table}");
        }
        let links = all.iter().find(|s| s.starts_with("CREATE TABLE links")).unwrap();
        assert!(links.contains("'{replica}', version)"), "{links}");
        let view = all.iter().find(|s| s.contains("VIEW funnel_days")).unwrap();
        assert!(
            view.starts_with("CREATE MATERIALIZED VIEW funnel_days ON CLUSTER `main` TO funnel_daily AS")
        );
    }
}
