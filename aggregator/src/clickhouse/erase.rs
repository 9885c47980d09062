//! The one change of stored rows: personal columns become blank.
//!
//! They are in no sorting key, and nothing is decided by them. `mutations_sync` waits until every part, on every
//! replica, is rewritten.

use super::lookup::{IDS_MAX, array, programs};
use crate::store::EventName;
use clickhouse::{Client, error::Result};

/// The tables with personal columns, and what those become.
const BLANK: [(&str, &str); 5] = [
    ("leads", "lead = '', keys = []"),
    ("qualifications", "lead = '', keys = []"),
    ("disqualifications", "lead = '', keys = []"),
    ("identifies", "lead = '', keys = []"),
    ("participants", "keys = []"),
];

/// Blanks what is personal in all rows of these events.
pub(super) async fn erase(client: &Client, events: &[EventName]) -> Result<()> {
    for events in events.chunks(IDS_MAX) {
        let of_events = format!(
            "program IN {} AND id IN {}",
            programs(events.iter().map(|(program, _)| program.as_str())),
            array(events.iter().map(|(_, id)| id.0.hyphenated().to_string())),
        );
        for (table, blank) in BLANK {
            let found = format!("SELECT count() FROM {table} WHERE {of_events} AND notEmpty(keys)");
            if client.query(&found.replace('?', "??")).fetch_one::<u64>().await? == 0 {
                continue;
            }
            let sql =
                format!("ALTER TABLE {table} UPDATE {blank} WHERE {of_events} SETTINGS mutations_sync = 2");
            client.query(&sql.replace('?', "??")).execute().await?;
        }
    }
    Ok(())
}
