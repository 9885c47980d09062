//! Hashes of addresses become 0 where they are older than they may be: by whole days, a month of a table at a time, and
//! only where there is something to blank.

use super::{Month, OPEN_LEADS, Report, RetentionError, failed};
use crate::clickhouse::replicas::Replicas;
use clickhouse::{Client, error::Error};
use metrics::counter;
use std::collections::BTreeMap;
use whence_schemas::{
    rows::{ClickEvidenceRow, ClickRow, ParticipantRow, Row as _, ShareRow, SubjectKeyRow},
    time::{DAY_MS, UnixMs},
};

whence_metrics::declare! {
    /// Rows whose hashes of addresses ClickHouse was told to blank, by table.
    counter RETENTION_ROWS_BLANKED: "whence_retention_rows_blanked_total" { table };
}

/// A table with hashes of addresses: the time that it is partitioned by, the time whose day salted the hashes, and the
/// columns.
struct Hashed {
    table: &'static str,
    partitioned_by: &'static str,
    salted_by: &'static str,
    columns: &'static [&'static str],
}

const BOTH: &[&str] = &["address", "prefix"];
const PREFIX: &[&str] = &["prefix"];
const RECEIVED: &str = "received_at";
const HASHED: [Hashed; 5] = [
    Hashed { table: ClickRow::TABLE, partitioned_by: "ts", salted_by: "ts", columns: BOTH },
    Hashed {
        table: ClickEvidenceRow::TABLE,
        partitioned_by: RECEIVED,
        salted_by: "clicked_at",
        columns: BOTH,
    },
    Hashed { table: SubjectKeyRow::TABLE, partitioned_by: RECEIVED, salted_by: RECEIVED, columns: PREFIX },
    Hashed { table: ParticipantRow::TABLE, partitioned_by: RECEIVED, salted_by: RECEIVED, columns: PREFIX },
    Hashed { table: ShareRow::TABLE, partitioned_by: RECEIVED, salted_by: RECEIVED, columns: PREFIX },
];

/// Which months hold nothing to blank from before which day: looked at once a day and process, as a look reads the
/// columns.
#[derive(Default)]
pub struct Blanked(BTreeMap<Month, i32>);

impl Blanked {
    pub(super) async fn pass(
        &mut self,
        replicas: &Replicas,
        cutoff: UnixMs,
        report: &mut Report,
    ) -> Result<(), RetentionError> {
        let day = cutoff.day();
        let before = UnixMs(i64::from(day) * DAY_MS);
        // Read when first needed: seldom.
        let mut kept: Option<String> = None;
        for hashed in &HASHED {
            let months: Vec<u32> = replicas
                .call(|client| async move { months(&client, hashed.table, before.month()).await })
                .await
                .map_err(failed("look which months there are"))?;
            self.0.retain(|at, _| at.table != hashed.table || months.contains(&at.month));
            for month in months {
                let at = Month { table: hashed.table, month };
                if self.0.get(&at).is_some_and(|done| *done >= day) {
                    continue;
                }
                if kept.is_none() {
                    let days = replicas.call(|client| async move { open_days(&client, before).await }).await;
                    kept = Some(days.map_err(failed("look which rewards are open"))?);
                }
                let days = kept.as_deref().unwrap_or_default();
                let rows = rows_to_blank(hashed, month, before, days);
                let counted = &format!("SELECT count() FROM {} WHERE {rows}", hashed.table);
                let count: u64 = replicas
                    .call(|client| async move { client.query(counted).fetch_one().await })
                    .await
                    .map_err(failed("look what there is to blank"))?;
                if count == 0 {
                    self.0.insert(at, day);
                    continue;
                }
                // One at a time, for each rewrites what it touches; what is under way is what this look has seen.
                if is_under_way(replicas, hashed.table).await? {
                    break;
                }
                begin(replicas, hashed, month, &rows).await?;
                counter!(RETENTION_ROWS_BLANKED, "table" => hashed.table).increment(count);
                tracing::info!(
                    table = hashed.table,
                    month,
                    rows = count,
                    "hashes of addresses past retention are being blanked"
                );
                report.blanked.push(at);
            }
        }
        Ok(())
    }
}

/// Months of a table up to this one.
async fn months(client: &Client, table: &str, last: u32) -> Result<Vec<u32>, Error> {
    let sql = format!(
        "SELECT DISTINCT toUInt32(partition) AS month FROM system.parts \
         WHERE database = currentDatabase() AND table = '{table}' AND active AND month <= {last} ORDER BY month"
    );
    client.query(&sql).fetch_all().await
}

/// Days, `'2026-11-30', …`, of which an open reward may still be held against others: of its lead's clicks, and of the lead.
async fn open_days(client: &Client, before: UnixMs) -> Result<String, Error> {
    let sql = format!(
        "SELECT DISTINCT toString(toDate(arrayJoin([clicked_at, touch_clicked_at, received_at]) AS at)) AS day FROM leads \
         WHERE id IN ({OPEN_LEADS}) AND at < fromUnixTimestamp64Milli({}, 'UTC') ORDER BY day",
        before.0
    );
    let days = client.query(&sql).fetch_all::<String>().await?;
    Ok(days.iter().map(|day| format!("'{day}'")).collect::<Vec<_>>().join(", "))
}

fn rows_to_blank(hashed: &Hashed, month: u32, before: UnixMs, kept_days: &str) -> String {
    let Hashed { partitioned_by, salted_by, columns, .. } = hashed;
    let has: Vec<_> = columns.iter().map(|column| format!("{column} != 0")).collect();
    let kept = match kept_days {
        "" => String::new(),
        days => format!(" AND toDate({salted_by}) NOT IN ({days})"),
    };
    format!(
        "toYYYYMM({partitioned_by}) = {month} AND {partitioned_by} < fromUnixTimestamp64Milli({}, 'UTC') \
         AND ({}){kept}",
        before.0,
        has.join(" OR ")
    )
}

async fn is_under_way(replicas: &Replicas, table: &str) -> Result<bool, RetentionError> {
    let sql = &format!(
        "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table = '{table}' \
         AND NOT is_done AND position(command, 'prefix = 0') > 0"
    );
    let open: Result<u64, Error> =
        replicas.call(|client| async move { client.query(sql).fetch_one().await }).await;
    Ok(open.map_err(failed("look what is being blanked"))? > 0)
}

/// A mutation is certain once ClickHouse has taken it, on every replica, and rewrites no column but these.
async fn begin(replicas: &Replicas, hashed: &Hashed, month: u32, rows: &str) -> Result<(), RetentionError> {
    let blank: Vec<_> = hashed.columns.iter().map(|column| format!("{column} = 0")).collect();
    let sql = &format!(
        "ALTER TABLE {} UPDATE {} IN PARTITION {month} WHERE {rows} SETTINGS mutations_sync = 0",
        hashed.table,
        blank.join(", ")
    );
    let begun = replicas.call(|client| async move { client.query(sql).execute().await }).await;
    begun.map_err(failed("blank hashes of addresses"))
}
