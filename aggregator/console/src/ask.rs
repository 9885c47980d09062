//! Questions to ClickHouse, bounded in time and rows.

use clickhouse::{Client, query::Query};
use serde_json::{Map, Value};
use std::time::Duration;
use whence_aggregator::servers::{Trouble, trouble};

/// A row as JSON: times are RFC 3339 texts, numbers are numbers.
pub type Object = Map<String, Value>;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// ClickHouse does not answer, or refuses.
    #[error("clickhouse did not answer: {0}")]
    ClickHouse(Trouble),
    /// It answered something else than rows of JSON.
    #[error("clickhouse answered no JSON")]
    Json(#[from] serde_json::Error),
}

impl From<clickhouse::error::Error> for AskError {
    fn from(error: clickhouse::error::Error) -> Self {
        AskError::ClickHouse(trouble(&error))
    }
}

/// A client that reads only, and gives a question up after `time`.
#[must_use]
pub fn reader(client: Client, time: Duration) -> Client {
    client
        .with_setting("readonly", "2")
        .with_setting("max_execution_time", time.as_secs().max(1).to_string())
        .with_setting("output_format_json_quote_64bit_integers", "0")
        .with_setting("date_time_output_format", "iso")
}

/// The rows of a query's result, which must be few: they are held in memory.
///
/// # Errors
/// See [`AskError`].
pub async fn objects(query: Query) -> Result<Vec<Object>, AskError> {
    let bytes = query.fetch_bytes("JSONEachRow")?.collect().await?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(serde_json::from_slice).collect::<Result<_, _>>()?)
}
