//! How long things are kept: whole months of a table that are past their age are dropped, hashes of addresses in what
//! stays are blanked. Rollups, conversions and rewards stay for good.
//!
//! A month is entered in the account before it is dropped (`sql/views/past_retention.sql`), by a row that says so and changes no
//! sum. So whatever is killed in between, and however many processes do the same, ends alike with the next pass: entered
//! and still there is dropped, what comes late into such a month is dropped with the next pass, and the account adds up at
//! every moment. Blanking is no more than a look whether there is something to blank, and a mutation.
//!
//! Knows no registry and no settings: ages are given. Nothing of a lead is taken that has a reward which is still open.

mod blank;

use crate::{
    account::RETENTION,
    clickhouse::{ClickHouseStore, replicas::Replicas},
    position::InsertToken,
    store::{Rows, Store, StoreError},
};
use clickhouse::{Client, Row, error::Error};
use metrics::{counter, gauge};
use serde::Deserialize;
use std::{collections::BTreeSet, time::Duration};
use uuid::Uuid;
use whence_schemas::{
    ids::Incarnation,
    rows::{BlockRow, ClickRow, Lc, Least, Most, RejectRow, Row as _, Total},
    time::UnixMs,
};

pub use blank::Blanked;

whence_metrics::declare! {
    /// Months past retention that stay, as rewards that are still open rest on them, by table.
    gauge RETENTION_HELD_MONTHS: "whence_retention_held_months" { table };
    /// Rows in months that were dropped as past retention, by table.
    counter RETENTION_ROWS_DROPPED: "whence_retention_rows_dropped_total" { table: DROPPED };
}

/// For how long things are kept. Ages of rows by the time that their table is partitioned by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Rows of `clicks`.
    pub clicks: Duration,
    /// `address` and `prefix`, wherever they are.
    pub addresses: Duration,
    /// Rows of `rejects`.
    pub rejects: Duration,
    /// Rows of `deliveries`, the log of what was sent.
    pub deliveries: Duration,
    /// Rows of `outbound_messages`.
    pub messages: Duration,
}

/// The tables whose months are dropped.
pub const DROPPED: [&str; 4] = [ClickRow::TABLE, RejectRow::TABLE, DELIVERIES, MESSAGES];
const DELIVERIES: &str = "deliveries";
const MESSAGES: &str = "outbound_messages";

impl Ages {
    fn of(&self, table: &str) -> Duration {
        match table {
            ClickRow::TABLE => self.clicks,
            RejectRow::TABLE => self.rejects,
            DELIVERIES => self.deliveries,
            _ => self.messages,
        }
    }
}

/// Why a pass did not end.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// ClickHouse does not answer a question, or refuses a change.
    #[error("retention could not {what}")]
    ClickHouse {
        /// What it was at.
        what: &'static str,
        /// ClickHouse's error.
        #[source]
        source: Error,
    },
    /// The account does not take the entry.
    #[error("retention could not enter a month in the account")]
    Entry(#[source] StoreError),
}

fn failed(what: &'static str) -> impl FnOnce(Error) -> RetentionError {
    move |source| RetentionError::ClickHouse { what, source }
}

/// A month of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    /// Its table.
    pub table: &'static str,
    /// Year and month: 202611.
    pub month: u32,
}

/// What a pass has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Months that were dropped, with the rows in them.
    pub dropped: Vec<(Month, u64)>,
    /// Months that are old enough and stay, as rewards that are still open rest on clicks in them.
    pub held: Vec<Month>,
    /// Months of which a mutation has begun to blank addresses.
    pub blanked: Vec<Month>,
}

/// What is done now and then. Remembers what was looked at on this day.
pub struct Retention {
    replicas: Replicas,
    store: ClickHouseStore,
    blanked: Blanked,
}

impl Retention {
    /// Over these servers.
    #[must_use]
    pub fn new(replicas: Replicas, store: ClickHouseStore) -> Retention {
        Retention { replicas, store, blanked: Blanked::default() }
    }

    /// Drops and blanks what is older than `ages` at `now`, or at ClickHouse's own time if that is earlier: a clock that
    /// runs ahead takes nothing.
    ///
    /// # Errors
    /// ClickHouse fails. The next pass goes on where this one ended.
    pub async fn pass(&mut self, ages: &Ages, now: UnixMs) -> Result<Report, RetentionError> {
        self.replicas.catch_up().await.map_err(failed("wait for what the other replicas have"))?;
        let sql = "SELECT toUnixTimestamp64Milli(now64(3))";
        let theirs: i64 = self
            .replicas
            .call(|client| async move { client.query(sql).fetch_one().await })
            .await
            .map_err(failed("ask for the time"))?;
        let now = UnixMs(now.0.min(theirs));
        let mut report = Report::default();
        for table in DROPPED {
            self.drop_months(table, before(now, ages.of(table)), now, &mut report).await?;
        }
        self.blanked.pass(&self.replicas, before(now, ages.addresses), &mut report).await?;
        Ok(report)
    }

    async fn drop_months(
        &self,
        table: &'static str,
        cutoff: UnixMs,
        now: UnixMs,
        report: &mut Report,
    ) -> Result<(), RetentionError> {
        let months: Vec<MonthRow> = self
            .replicas
            .call(|client| async move { months(&client, table, cutoff.month()).await })
            .await
            .map_err(failed("look which months there are"))?;
        if months.is_empty() {
            gauge!(RETENTION_HELD_MONTHS, "table" => table).set(0.0);
            return Ok(());
        }
        let held = match table {
            ClickRow::TABLE => self
                .replicas
                .call(|client| async move { held(&client, cutoff).await })
                .await
                .map_err(failed("look which rewards are open"))?,
            _ => BTreeSet::new(),
        };
        let (kept, past): (Vec<MonthRow>, _) = months.into_iter().partition(|row| held.contains(&row.month));
        gauge!(RETENTION_HELD_MONTHS, "table" => table).set(kept.len() as f64);
        report.held.extend(kept.iter().map(|row| Month { table, month: row.month }));
        for MonthRow { month, rows } in past {
            self.enter(table, month, now).await?;
            // The server's own bound is against slips of people.
            let sql = &format!("ALTER TABLE {table} DROP PARTITION {month}");
            let drop = |client: Client| async move {
                client.with_setting("max_partition_size_to_drop", "0").query(sql).execute().await
            };
            self.replicas.call(drop).await.map_err(failed("drop a month"))?;
            counter!(RETENTION_ROWS_DROPPED, "table" => table).increment(rows);
            tracing::info!(table, month, rows, "a month is past retention and was dropped");
            report.dropped.push((Month { table, month }, rows));
        }
        Ok(())
    }

    /// Writes into the account that the month is past retention.
    async fn enter(&self, table: &str, month: u32, now: UnixMs) -> Result<(), RetentionError> {
        let at = u64::try_from(now.0).unwrap_or(0);
        let row = BlockRow {
            stream: Lc(RETENTION.into()),
            partition: 0,
            incarnation: Incarnation(Uuid::nil()),
            table: Lc(table.into()),
            month,
            first: Least(at),
            end: Most(at),
            records: Total(0),
            rows: Total(0),
            positions: Total(0),
        };
        let token = InsertToken(format!("{RETENTION}-{table}-{month}-{at}"));
        self.store.insert(&token, &Rows::Blocks(vec![row])).await.map_err(RetentionError::Entry)
    }
}

/// What is from before this moment is older than `age`.
fn before(now: UnixMs, age: Duration) -> UnixMs {
    UnixMs(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)).max(0))
}

#[derive(Row, Deserialize)]
struct MonthRow {
    month: u32,
    rows: u64,
}

/// Months of a table that end before this one begins.
async fn months(client: &Client, table: &str, before: u32) -> Result<Vec<MonthRow>, Error> {
    let sql = format!(
        "SELECT toUInt32(p.partition) AS month, sum(p.rows) AS rows FROM system.parts AS p \
         WHERE database = currentDatabase() AND table = '{table}' AND active AND month < {before} \
         GROUP BY month ORDER BY month"
    );
    client.query(&sql).fetch_all().await
}

/// Leads of which a reward is neither approved nor rejected: what their flags rest on is looked at once more. A line that a
/// replica shows twice (see `ledger` in `clickhouse/reward.rs`) counts once.
const OPEN_LEADS: &str = "SELECT lead_id FROM rewards WHERE state IN ('accrued', 'held') \
    GROUP BY program, lead_id, reward_id, state \
    HAVING uniqExactIf(revision, sign = 1) > uniqExactIf(revision, sign = -1)";

/// Months before `cutoff` with clicks of leads that have an open reward.
async fn held(client: &Client, cutoff: UnixMs) -> Result<BTreeSet<u32>, Error> {
    let sql = format!(
        "SELECT DISTINCT toYYYYMM(arrayJoin([clicked_at, touch_clicked_at]) AS clicked) AS month FROM leads \
         WHERE id IN ({OPEN_LEADS}) AND clicked < fromUnixTimestamp64Milli({}, 'UTC')",
        cutoff.0
    );
    Ok(client.query(&sql).fetch_all::<u32>().await?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::time::parse;

    #[test]
    fn a_month_is_past_when_all_of_it_is() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let now = parse("2026-11-30T12:00:00Z").unwrap();
        assert_eq!(before(now, days(30)).month(), 202_610, "September and before");
        assert_eq!(before(now, days(29)).month(), 202_611, "October and before");
        assert_eq!(before(now, Duration::MAX), UnixMs(0), "nothing");
    }
}
