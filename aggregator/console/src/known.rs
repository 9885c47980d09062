//! Whether a program or a referrer is known: by its name's own table, or by any fact about it. An answer about one that is not
//! would be an empty success.

use clickhouse::Client;
use whence_aggregator::store::EVENT_TABLES;
use whence_schemas::rows::{ClickRow, RejectRow, Row};

use crate::ask::AskError;

/// Of the tables that tell of a program all but those of events: its own, what outlives clicks, clicks, refused records.
const OF_PROGRAMS: [&str; 4] = ["programs", "funnel_daily", ClickRow::TABLE, RejectRow::TABLE];

/// The tables that tell of a referrer, its own first, and how: rows of those that a lead's touches name count.
const OF_REFERRERS: [(&str, &str); 8] = [
    ("referrers", "referrer = {referrer:String}"),
    ("funnel_daily", "referrer = {referrer:String}"),
    (
        "leads",
        "(referrer = {referrer:String} OR touch_referrer = {referrer:String} \
         OR arrayExists(touch -> touch.referrer = {referrer:String}, touches))",
    ),
    ("qualifications", "referrer = {referrer:String}"),
    ("participants", "referrer = {referrer:String}"),
    ("shares", "referrer = {referrer:String}"),
    ("rewards", "referrer = {referrer:String}"),
    ("clicks", "referrer = {referrer:String}"),
];

/// Whether anything is stored about the program.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn program(client: &Client, program: &str) -> Result<bool, AskError> {
    let tables = OF_PROGRAMS[..2].iter().chain(&EVENT_TABLES).chain(&OF_PROGRAMS[2..]);
    let any = any(tables.map(|table| (*table, "true")));
    Ok(!client.query(&any).param("program", program).fetch_all::<u8>().await?.is_empty())
}

/// Whether anything is stored about the referrer in the program.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn referrer(client: &Client, program: &str, referrer: &str) -> Result<bool, AskError> {
    let query = client.query(&any(OF_REFERRERS)).param("program", program).param("referrer", referrer);
    Ok(!query.fetch_all::<u8>().await?.is_empty())
}

/// A row, if any of these tables has one of the program's for which its condition is true.
fn any(tables: impl IntoIterator<Item = (&'static str, &'static str)>) -> String {
    let of = |(table, condition)| {
        format!(
            "SELECT toUInt8(1) AS is_there FROM {table} WHERE program = {{program:String}} AND {condition} LIMIT 1"
        )
    };
    let all: Vec<String> = tables.into_iter().map(of).collect();
    format!("SELECT is_there FROM ({}) LIMIT 1", all.join(" UNION ALL "))
}
