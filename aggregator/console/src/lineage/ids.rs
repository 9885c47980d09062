//! Lineage in two queries: the ids of all that is about a person, then the rows of these ids.
//!
//! Both are parts of the view's own file. ClickHouse evaluates a view's constants twice, and analyses its query once more
//! for each; asked apart, the two take a third of the time.

use clickhouse::{Client, Row, error::Error, query::Query};
use serde::Deserialize;
use whence_schemas::sql::views;

/// Where the rows begin in the view's query.
const ROWS: &str = "SELECT * FROM\n(";
/// The lists that the rows are chosen by, as the view's query names them.
const LISTS: [&str; 6] =
    ["lead_ids", "qualification_ids", "other_ids", "reward_ids", "decision_ids", "click_ids"];

/// Ids of what is stored about a person, as texts, in the order of [`LISTS`].
#[derive(Row, Deserialize)]
pub(super) struct Ids {
    lists: (List, List, List, List, List, List),
}

type List = Vec<String>;

impl Ids {
    fn lists(&self) -> [&List; 6] {
        let (leads, qualifications, others, rewards, decisions, clicks) = &self.lists;
        [leads, qualifications, others, rewards, decisions, clicks]
    }

    pub fn len(&self) -> usize {
        self.lists().into_iter().map(|list| list.len()).sum()
    }

    /// The query of [`rows`] with its parameters but `program`.
    pub fn params(&self, query: Query) -> Query {
        LISTS.into_iter().zip(self.lists()).fold(query, |query, (name, ids)| query.param(name, ids))
    }
}

/// The ids of all events about the person that `term` names.
pub(super) async fn of(client: &Client, program: &str, term: &str) -> Result<Ids, Error> {
    let (lists, _) = parts();
    let texts = LISTS.map(|name| format!("{name}::Array(String)")).join(", ");
    let sql = format!("{lists}SELECT tuple({texts}) AS lists");
    client.query(&sql).param("program", program).param("lead", term).fetch_one().await
}

/// The query for the rows of these ids; its parameters are `program` and the lists. Tables whose lists are empty are left
/// out: analysing their columns takes ClickHouse longer than finding no row.
pub(super) fn rows(ids: &Ids) -> String {
    let (_, rows) = parts();
    let rows = rows.rsplit_once("\n)\nORDER BY").map_or(rows.as_str(), |(rows, _)| rows);
    let given: Vec<&str> =
        LISTS.into_iter().zip(ids.lists()).filter(|(_, ids)| !ids.is_empty()).map(|(name, _)| name).collect();
    let mut tables = rows.split("\n    UNION ALL\n");
    // The first names the columns.
    let first = tables.next().unwrap_or_default();
    let chosen = tables.filter(|table| given.iter().any(|name| table.contains(&format!(" IN {name}"))));
    let chosen = std::iter::once(first).chain(chosen).collect::<Vec<_>>().join("\nUNION ALL\n");
    let lists = LISTS.map(|name| format!("{{{name}:Array(UUID)}} AS {name}")).join(", ");
    format!(
        "WITH toUUID('00000000-0000-0000-0000-000000000000') AS nil, {lists} SELECT ?fields FROM\n({chosen}\n)"
    )
}

/// The view's query in two: the part that defines the lists, and the rows that follow [`ROWS`].
fn parts() -> (String, String) {
    let view = views().into_iter().find(|view| view.name == "lineage").expect("the view has a file");
    let query = view.query();
    let (lists, rows) = query.split_once(ROWS).expect("the view's rows begin so");
    (lists.to_owned(), rows.to_owned())
}
