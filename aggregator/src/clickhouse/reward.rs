//! What rewards are looked up by, in SQL.

use super::{
    ClickHouseStore,
    lookup::{IDS_MAX, array, before_sql, programs, rows, uuids},
};
use crate::{
    position::Horizon,
    store::{DueReward, EventName, LeadTimes, RewardStore, RewardSum, RewardUsage, StoreError},
};
use clickhouse::{Client, Row, RowOwned, RowRead, error::Result};
use serde::Deserialize;
use std::collections::HashSet;
use uuid::Uuid;
use whence_schemas::{
    ids::EventId,
    rows::{RewardRow, RewardState, RewardTermsRow},
    time::UnixMs,
};

/// A reward that is due this long without a timer has no owner.
const ORPHANED_AFTER_MS: i64 = 60 * 60 * 1000;

pub(super) async fn fetch<R: RowOwned + RowRead>(client: &Client, sql: &str) -> Result<Vec<R>> {
    // The client reads a `?` as a place for a value; the only one meant is `?fields`.
    client.query(&sql.replace('?', "??").replace("??fields", "?fields")).fetch_all::<R>().await
}

/// States that count as open.
fn open_sql() -> String {
    let open = RewardState::ALL.into_iter().filter(|state| state.is_open());
    format!("state IN {}", array(open.map(|state| state.word().to_owned())))
}

async fn rewards(
    client: &Client,
    before: &Horizon,
    leads: &[EventName],
    rewards: &[(String, Uuid)],
) -> Result<Vec<RewardRow>> {
    let mut found: Vec<RewardRow> = Vec::new();
    for leads in leads.chunks(IDS_MAX) {
        let condition = format!(
            "program IN {} AND lead_id IN {} AND {}",
            programs(leads.iter().map(|(program, _)| program.as_str())),
            uuids(leads.iter().map(|(_, id)| id.0)),
            before_sql(before)
        );
        found.extend(rows(client, &condition).await?);
    }
    let known: HashSet<EventId> = leads.iter().map(|(_, id)| *id).collect();
    for rewards in rewards.chunks(IDS_MAX) {
        let condition = format!(
            "program IN {} AND reward_id IN {} AND {}",
            programs(rewards.iter().map(|(program, _)| program.as_str())),
            uuids(rewards.iter().map(|(_, id)| *id)),
            before_sql(before)
        );
        let more: Vec<RewardRow> = rows(client, &condition).await?;
        found.extend(more.into_iter().filter(|row| !known.contains(&row.lead_id)));
    }
    Ok(found)
}

/// Where sums of the ledger are read from, each line once.
///
/// A replica whose commit was lost on its way to Keeper shows that part beside the one that was stored in its place, until
/// it has checked it (five minutes). While it has any to check, lines are told apart, which costs the projection.
async fn ledger(client: &Client, is_cluster: bool, condition: &str) -> Result<String> {
    let checks = "SELECT toUInt8(count() > 0) FROM system.replicas \
                  WHERE database = currentDatabase() AND table = 'rewards' AND parts_to_check > 0";
    Ok(match is_cluster && client.query(checks).fetch_one::<u8>().await? == 1 {
        true => format!(
            "(SELECT DISTINCT program, rule, referrer, reward_id, revision, sign, state, amount_minor, earned_at \
             FROM rewards WHERE {condition})"
        ),
        false => format!("rewards WHERE {condition}"),
    })
}

#[derive(Row, Deserialize)]
struct UsageRow {
    program: String,
    rule: String,
    referrer: String,
    day: i64,
    count: i64,
    amount: i64,
}

/// Reads the projection by referrer.
async fn usage(
    client: &Client,
    is_cluster: bool,
    before: &Horizon,
    referrers: &[(String, String)],
) -> Result<Vec<RewardUsage>> {
    let mut found: Vec<UsageRow> = Vec::new();
    for referrers in referrers.chunks(IDS_MAX) {
        let condition = format!(
            "program IN {} AND referrer IN {} AND {} AND {}",
            programs(referrers.iter().map(|(program, _)| program.as_str())),
            programs(referrers.iter().map(|(_, referrer)| referrer.as_str())),
            open_sql(),
            before_sql(before)
        );
        let sql = format!(
            "SELECT program, rule, referrer, toInt64(intDiv(toUnixTimestamp64Milli(earned_at), 86400000)) AS day, \
             sum(toInt64(sign)) AS count, sum(sign * amount_minor) AS amount FROM {} \
             GROUP BY program, rule, referrer, day",
            ledger(client, is_cluster, &condition).await?
        );
        found.extend(fetch(client, &sql).await?);
    }
    let usage = |row: UsageRow| RewardUsage {
        program: row.program,
        rule: row.rule,
        referrer: row.referrer,
        day: row.day,
        count: row.count,
        amount_minor: row.amount,
    };
    Ok(found.into_iter().map(usage).collect())
}

#[derive(Row, Deserialize)]
struct SumRow {
    program: String,
    rule: String,
    count: i64,
    amount: i64,
}

async fn sums(client: &Client, is_cluster: bool, before: &Horizon, of: &[String]) -> Result<Vec<RewardSum>> {
    let condition = format!(
        "program IN {} AND {} AND {}",
        programs(of.iter().map(String::as_str)),
        open_sql(),
        before_sql(before)
    );
    let sql = format!(
        "SELECT program, rule, sum(toInt64(sign)) AS count, sum(sign * amount_minor) AS amount FROM {} \
         GROUP BY program, rule",
        ledger(client, is_cluster, &condition).await?
    );
    let found: Vec<SumRow> = fetch(client, &sql).await?;
    let sum = |row: SumRow| RewardSum {
        program: row.program,
        rule: row.rule,
        count: row.count,
        amount_minor: row.amount,
    };
    Ok(found.into_iter().map(sum).collect())
}

async fn terms(
    client: &Client,
    before: &Horizon,
    qualifications: &[EventName],
) -> Result<Vec<RewardTermsRow>> {
    let mut found = Vec::new();
    for asked in qualifications.chunks(IDS_MAX) {
        let condition = format!(
            "program IN {} AND qualification_id IN {} AND {}",
            programs(asked.iter().map(|(program, _)| program.as_str())),
            uuids(asked.iter().map(|(_, id)| id.0)),
            before_sql(before)
        );
        found.extend(rows(client, &condition).await?);
    }
    Ok(found)
}

#[derive(Row, Deserialize)]
struct TimesRow {
    program: String,
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    occurred_at: i64,
    clicked_at: i64,
    #[serde(with = "clickhouse::serde::uuid")]
    click_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    first_lead: Uuid,
    live: bool,
}

async fn times(client: &Client, before: &Horizon, leads: &[EventName]) -> Result<Vec<LeadTimes>> {
    let mut found: Vec<TimesRow> = Vec::new();
    for leads in leads.chunks(IDS_MAX) {
        let sql = format!(
            "SELECT program, id, toUnixTimestamp64Milli(l.occurred_at) AS occurred_at, \
             toUnixTimestamp64Milli(l.touch_clicked_at) AS clicked_at, l.touch_click_id AS click_id, first_lead, live \
             FROM leads AS l WHERE program IN {} AND id IN {} AND revision = 0 AND {}",
            programs(leads.iter().map(|(program, _)| program.as_str())),
            uuids(leads.iter().map(|(_, id)| id.0)),
            before_sql(before)
        );
        found.extend(fetch(client, &sql).await?);
    }
    let times = |row: TimesRow| LeadTimes {
        program: row.program,
        id: EventId(row.id),
        occurred_at: UnixMs(row.occurred_at),
        clicked_at: UnixMs(row.clicked_at),
        click_id: row.click_id,
        first_lead: row.first_lead,
        live: row.live,
    };
    Ok(found.into_iter().map(times).collect())
}

#[derive(Row, Deserialize)]
struct DueRow {
    program: String,
    #[serde(with = "clickhouse::serde::uuid")]
    reward_id: Uuid,
    changed: u32,
    due: i64,
}

/// What stands accrued, on whatever partition the program was when its lines were written. It is looked after where
/// it was accrued last, and what nobody has looked after for [`ORPHANED_AFTER_MS`] by the owner of partition 0: its
/// partition may be gone with a topic of another number of them. The timer goes where the program is now.
async fn due(client: &Client, partition: u32, at: UnixMs, max: usize) -> Result<Vec<DueReward>> {
    let orphaned = match partition {
        0 => format!(" OR due <= {}", at.plus_ms(-ORPHANED_AFTER_MS).0),
        _ => String::new(),
    };
    let sql = format!(
        "SELECT program, reward_id, revision AS changed, toUnixTimestamp64Milli(due_at) AS due FROM rewards_due \
         WHERE due_at <= fromUnixTimestamp64Milli({}, 'UTC') GROUP BY due_at, program, reward_id, revision \
         HAVING sum(open) > 0 AND (any(partition) = {partition}{orphaned}) ORDER BY due, reward_id LIMIT {max}",
        at.0
    );
    let found: Vec<DueRow> = fetch(client, &sql).await?;
    let due = |row: DueRow| DueReward {
        program: row.program,
        reward_id: row.reward_id,
        revision: row.changed,
        due_at: UnixMs(row.due),
    };
    Ok(found.into_iter().map(due).collect())
}

impl RewardStore for ClickHouseStore {
    async fn rewards(
        &self,
        before: &Horizon,
        leads: &[EventName],
        ids: &[(String, Uuid)],
    ) -> std::result::Result<Vec<RewardRow>, StoreError> {
        self.look_up(|client| async move { rewards(&client, before, leads, ids).await }).await
    }

    async fn reward_usage(
        &self,
        before: &Horizon,
        referrers: &[(String, String)],
    ) -> std::result::Result<Vec<RewardUsage>, StoreError> {
        let is_cluster = self.replicas.is_cluster();
        self.look_up(|client| async move { usage(&client, is_cluster, before, referrers).await }).await
    }

    async fn reward_sums(
        &self,
        before: &Horizon,
        programs: &[String],
    ) -> std::result::Result<Vec<RewardSum>, StoreError> {
        let is_cluster = self.replicas.is_cluster();
        self.look_up(|client| async move { sums(&client, is_cluster, before, programs).await }).await
    }

    async fn reward_terms(
        &self,
        before: &Horizon,
        qualifications: &[EventName],
    ) -> std::result::Result<Vec<RewardTermsRow>, StoreError> {
        self.look_up(|client| async move { terms(&client, before, qualifications).await }).await
    }

    async fn lead_times(
        &self,
        before: &Horizon,
        leads: &[EventName],
    ) -> std::result::Result<Vec<LeadTimes>, StoreError> {
        self.look_up(|client| async move { times(&client, before, leads).await }).await
    }

    async fn rewards_due(
        &self,
        partition: u32,
        at: UnixMs,
        max: usize,
    ) -> std::result::Result<Vec<DueReward>, StoreError> {
        self.look_up(|client| async move { due(&client, partition, at, max).await }).await
    }
}
