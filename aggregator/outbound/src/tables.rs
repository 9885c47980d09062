//! Messages, the delivery log and checkpoints in ClickHouse.

use crate::{
    message::Message,
    queue::{Tried, Verdict},
};
use clickhouse::{Client, Row, RowOwned, RowWrite, error::Error};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use uuid::Uuid;
use whence_aggregator::clickhouse::replicas::Replicas;
use whence_schemas::time::UnixMs;

/// An incarnation and the rows of it that are stored for good: all before `next`, or all where that is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Era {
    /// The incarnation.
    pub incarnation: Uuid,
    /// One past the last offset that may be read.
    pub end: Option<u64>,
}

/// How far an endpoint is in a partition.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Program; empty for the topic.
    pub program: String,
    /// Endpoint; empty for the topic.
    pub endpoint: String,
    /// Partition of the conversions.
    pub partition: u32,
    /// The incarnation that it is in.
    #[serde(with = "clickhouse::serde::uuid")]
    pub incarnation: Uuid,
    /// Everything of it before this offset, and all incarnations before it, is done with.
    pub next_offset: u64,
    /// When that was.
    pub saved_at: i64,
}

/// A line of the delivery log: one try.
#[derive(Clone, Debug, PartialEq, Row, Serialize)]
#[expect(missing_docs, reason = "the columns of the table, which says what they are")]
pub struct DeliveryRow {
    pub program: String,
    pub endpoint: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub message_id: Uuid,
    pub attempt: u32,
    pub r#type: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub lead_id: Uuid,
    pub started_at: i64,
    pub duration_ms: u32,
    pub status: u16,
    pub outcome: i8,
    pub error: String,
    pub next_at: i64,
}

/// The value of `outcome`.
#[must_use]
pub fn outcome(verdict: Verdict) -> i8 {
    match verdict {
        Verdict::Delivered => 1,
        Verdict::Retry(_) => 2,
        Verdict::Dead => 3,
    }
}

/// What the log has of a message and an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// The message is delivered or dead.
    Done,
    /// The message is to be tried again.
    Open(Tried),
}

/// What an endpoint, or the topic, is to be sent.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this program; empty: of all.
    pub program: String,
    /// Of these types; none: of all.
    pub types: Vec<String>,
    /// Announced from here on.
    pub since: UnixMs,
}

/// The tables.
#[derive(Clone)]
pub struct Tables {
    replicas: Replicas,
    timeout: Duration,
}

/// An incarnation of which there are messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct EraRow {
    /// The incarnation.
    #[serde(with = "clickhouse::serde::uuid")]
    pub incarnation: Uuid,
    /// When its last message was announced, milliseconds since the epoch.
    pub last_announced: i64,
}

#[derive(Row, Deserialize)]
struct LoggedRow {
    #[serde(with = "clickhouse::serde::uuid")]
    message_id: Uuid,
    tries: u32,
    first: i64,
    next: i64,
    is_done: bool,
}

#[derive(Row, Deserialize)]
struct TriedRow {
    #[serde(with = "clickhouse::serde::uuid")]
    message_id: Uuid,
    tries: u32,
    is_delivered: bool,
}

#[derive(Row, Deserialize)]
struct LeadRow {
    #[serde(with = "clickhouse::serde::uuid")]
    lead_id: Uuid,
    lead: String,
}

impl Tables {
    /// Tables of servers whose clients know address, user, password and database. They are the aggregator's own: what
    /// its replica has is what may be read.
    #[must_use]
    pub fn new(replicas: impl Into<Replicas>, timeout: Duration) -> Tables {
        Tables { replicas: replicas.into(), timeout }
    }

    async fn ask<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let asked = self
            .replicas
            .call(|client| within(self.timeout, ask(client.with_setting("max_query_size", "67108864"))));
        asked.await
    }

    async fn fetch<R: RowOwned + clickhouse::RowRead>(&self, sql: &str) -> Result<Vec<R>, Error> {
        // The client reads a `?` as a place for a value; the only one meant is `?fields`.
        let sql = &sql.replace('?', "??").replace("??fields", "?fields");
        self.ask(|client| async move { client.query(sql).fetch_all::<R>().await }).await
    }

    /// The incarnations of which the partition has messages, in the order in which they were written.
    pub async fn eras(&self, partition: u32) -> Result<Vec<EraRow>, Error> {
        let sql = format!(
            "SELECT incarnation, toUnixTimestamp64Milli(max(announced_at)) AS last_announced \
             FROM outbound_messages WHERE partition = {partition} \
             GROUP BY incarnation ORDER BY min(announced_at), incarnation"
        );
        self.fetch(&sql).await
    }

    /// Which programs have messages of these offsets.
    pub async fn programs(
        &self,
        partition: u32,
        incarnation: Uuid,
        from: u64,
        to: u64,
    ) -> Result<BTreeSet<String>, Error> {
        let sql = format!(
            "SELECT DISTINCT toString(program) FROM outbound_messages WHERE partition = {partition} \
             AND incarnation = toUUID('{incarnation}') AND offset >= {from} AND offset < {to}"
        );
        let sql = &sql;
        let found = self.ask(|client| async move { client.query(sql).fetch_all::<String>().await });
        Ok(found.await?.into_iter().collect())
    }

    /// The next messages from this offset on, in order, at least `min` where there are as many: those of an offset
    /// come together.
    pub async fn messages(
        &self,
        partition: u32,
        era: Era,
        from: u64,
        wanted: &Wanted,
        min: usize,
    ) -> Result<Vec<Message>, Error> {
        let mut condition = format!(
            "partition = {partition} AND incarnation = toUUID('{}') AND offset >= {from} \
             AND announced_at >= fromUnixTimestamp64Milli({}, 'UTC')",
            era.incarnation, wanted.since.0
        );
        if let Some(end) = era.end {
            condition.push_str(&format!(" AND offset < {end}"));
        }
        if !wanted.program.is_empty() {
            condition.push_str(&format!(" AND program = {}", quoted(&wanted.program)));
        }
        if !wanted.types.is_empty() {
            let types: Vec<String> = wanted.types.iter().map(|kind| quoted(kind)).collect();
            condition.push_str(&format!(" AND type IN ({})", types.join(", ")));
        }
        let sql = format!(
            "SELECT ?fields FROM outbound_messages WHERE {condition} ORDER BY offset LIMIT {min} WITH TIES"
        );
        let mut messages = self.fetch::<Message>(&sql).await?;
        messages.sort_by_key(Message::order);
        Ok(messages)
    }

    /// What the log has of these messages; nothing of those that were never tried.
    pub async fn logged(
        &self,
        program: &str,
        endpoint: &str,
        messages: impl Iterator<Item = Uuid>,
    ) -> Result<HashMap<Uuid, Logged>, Error> {
        let sql = format!(
            "SELECT message_id, max(attempt) AS tries, toUnixTimestamp64Milli(min(started_at)) AS first, \
             toUnixTimestamp64Milli(argMax(next_at, (attempt, started_at))) AS next, \
             countIf(outcome != 'retry') > 0 AS is_done FROM deliveries \
             WHERE program = {} AND endpoint = {} AND message_id IN {} GROUP BY message_id",
            quoted(program),
            quoted(endpoint),
            uuids(messages)
        );
        let rows = self.fetch::<LoggedRow>(&sql).await?;
        let logged = |row: LoggedRow| {
            let tried =
                Tried { tries: row.tries, first_at: Some(UnixMs(row.first)), next_at: UnixMs(row.next) };
            (row.message_id, if row.is_done { Logged::Done } else { Logged::Open(tried) })
        };
        Ok(rows.into_iter().map(logged).collect())
    }

    /// How often each of these messages was tried, and whether it is delivered; nothing of those that were never.
    pub async fn tried(
        &self,
        program: &str,
        endpoint: &str,
        messages: impl Iterator<Item = Uuid>,
    ) -> Result<HashMap<Uuid, (u32, bool)>, Error> {
        let sql = format!(
            "SELECT message_id, max(attempt) AS tries, countIf(outcome = 'delivered') > 0 AS is_delivered \
             FROM deliveries WHERE program = {} AND endpoint = {} AND message_id IN {} GROUP BY message_id",
            quoted(program),
            quoted(endpoint),
            uuids(messages)
        );
        let rows = self.fetch::<TriedRow>(&sql).await?;
        Ok(rows.into_iter().map(|row| (row.message_id, (row.tries, row.is_delivered))).collect())
    }

    /// Messages that were given up for this endpoint, `max` at most, in the order in which they were announced; of
    /// `chosen` alone, unless that is empty. What has come since is left out, and what was never announced, too.
    pub async fn dead(
        &self,
        program: &str,
        endpoint: &str,
        chosen: &[Uuid],
        max: usize,
    ) -> Result<Vec<Message>, Error> {
        let mut condition = format!("program = {} AND endpoint = {}", quoted(program), quoted(endpoint));
        if !chosen.is_empty() {
            condition.push_str(&format!(" AND message_id IN {}", uuids(chosen.iter().copied())));
        }
        let sql = format!(
            "SELECT ?fields FROM outbound_messages WHERE program = {} \
             AND message_id IN (SELECT message_id FROM dead_deliveries WHERE {condition}) \
             ORDER BY announced_at, offset, rank, revision, message_id LIMIT 1 BY message_id LIMIT {max}",
            quoted(program)
        );
        self.fetch(&sql).await
    }

    /// The callers' lead ids of these leads (program and id), as they are now: an erased one is empty.
    pub async fn leads(&self, leads: &BTreeSet<(String, Uuid)>) -> Result<HashMap<Uuid, String>, Error> {
        let programs: BTreeSet<String> = leads.iter().map(|(program, _)| quoted(program)).collect();
        let sql = format!(
            "SELECT id AS lead_id, any(l.lead) AS lead FROM leads AS l WHERE program IN ({}) AND id IN {} \
             AND revision = 0 GROUP BY id",
            programs.into_iter().collect::<Vec<_>>().join(", "),
            uuids(leads.iter().map(|(_, id)| *id))
        );
        let rows = self.fetch::<LeadRow>(&sql).await?;
        Ok(rows.into_iter().map(|row| (row.lead_id, row.lead)).collect())
    }

    /// The newest checkpoints of the partition.
    pub async fn checkpoints(&self, partition: u32) -> Result<Vec<Checkpoint>, Error> {
        let sql = format!("SELECT ?fields FROM delivery_checkpoints FINAL WHERE partition = {partition}");
        self.fetch(&sql).await
    }

    /// Adds lines to the log. The same lines under the same token are stored once.
    pub async fn log(&self, token: Uuid, rows: &[DeliveryRow]) -> Result<(), Error> {
        self.insert(Some(token), "deliveries", rows).await
    }

    /// Remembers how far endpoints are. The newest row of each counts, so that it may be stored twice.
    pub async fn save(&self, checkpoints: &[Checkpoint]) -> Result<(), Error> {
        self.insert(None, "delivery_checkpoints", checkpoints).await
    }

    async fn insert<R>(&self, token: Option<Uuid>, table: &'static str, rows: &[R]) -> Result<(), Error>
    where
        R: RowOwned + RowWrite,
    {
        let limit = Some(self.timeout);
        let stored = self.replicas.insert(table, |client| {
            let client = self
                .replicas
                .for_inserts(client)
                .with_setting("async_insert", "0")
                .with_setting("wait_end_of_query", "1");
            let client = match token {
                Some(token) => client.with_setting("insert_deduplication_token", token.to_string()),
                None => client,
            };
            within(self.timeout, async move {
                let mut insert = client.insert::<R>(table).await?.with_timeouts(limit, limit);
                for row in rows {
                    insert.write(row).await?;
                }
                insert.end().await
            })
        });
        stored.await
    }
}

async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(Error::TimedOut))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn uuids(ids: impl Iterator<Item = Uuid>) -> String {
    let ids: Vec<String> = ids.map(|id| format!("'{id}'")).collect();
    format!("(SELECT toUUID(arrayJoin([{}]::Array(String))))", ids.join(","))
}
