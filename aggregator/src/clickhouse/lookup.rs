//! The look-ups' SQL.
//!
//! Ids stand in the query as arrays of text that a subquery turns into a set: the primary key index
//! uses it, and parsing stays linear.

use crate::{
    position::{Horizon, Partition},
    store::{EVENT_TABLES, EventName},
};
use clickhouse::{
    Client, Row,
    error::{Error, Result},
};
use serde::Deserialize;
use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};
use uuid::Uuid;
use whence_schemas::{
    ids::{ClickId, EventId, Incarnation},
    rows::{BlockRow, ClickRow, RejectRow, Row as TableRow, SubjectKeyRow, select_list},
    subject::SubjectKey,
    time::UnixMs,
    topics::Stream,
};

/// Ids of one query, at most: more are asked for in several.
pub(super) const IDS_MAX: usize = 10_000;

/// What was stored before the block.
pub(super) fn before_sql(before: &Horizon) -> String {
    format!(
        "(incarnation != toUUID('{}') OR partition != {} OR offset < {})",
        before.incarnation.0.hyphenated(),
        before.partition.number,
        before.before
    )
}

/// The same for everything the partition's owner may ever see again: its own rows, and those of other
/// incarnations, whose keys may have been on other partitions.
fn own_before_sql(before: &Horizon) -> String {
    format!(
        "(incarnation != toUUID('{}') OR (partition = {} AND offset < {}))",
        before.incarnation.0.hyphenated(),
        before.partition.number,
        before.before
    )
}

/// `['a', 'b']`, of texts that hold no quote and no backslash.
pub(super) fn array(texts: impl Iterator<Item = String>) -> String {
    let mut sql = String::from("[");
    for (at, text) in texts.enumerate() {
        write!(sql, "{}'{text}'", if at == 0 { "" } else { "," }).expect("a String takes every write");
    }
    sql.push(']');
    sql
}

/// Names, once each. They come out of records: anything may stand in them.
pub(super) fn programs<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: HashSet<&str> = names.collect();
    array(names.into_iter().map(|name| name.replace('\\', "\\\\").replace('\'', "\\'")))
}

pub(super) fn uuids(ids: impl Iterator<Item = Uuid>) -> String {
    format!("(SELECT toUUID(arrayJoin({})))", array(ids.map(|id| id.hyphenated().to_string())))
}

#[derive(Row, Deserialize)]
struct IdRow {
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
}

/// Whole rows of a table, in its own encoding.
pub(super) async fn rows<R: TableRow>(client: &Client, condition: &str) -> Result<Vec<R>> {
    let sql = format!("SELECT {} FROM {} WHERE {condition}", select_list::<R>(), R::TABLE);
    let found = client.query(&sql.replace('?', "??")).fetch_bytes("RowBinary")?.collect().await?;
    let (mut bytes, mut rows) = (&found[..], Vec::new());
    while !bytes.is_empty() {
        let row =
            R::decode(&mut bytes).ok_or_else(|| Error::Custom(format!("{} has other rows", R::TABLE)))?;
        rows.push(row);
    }
    Ok(rows)
}

async fn ids(client: &Client, sql: &str) -> Result<Vec<Uuid>> {
    let mut cursor = client.query(&sql.replace('?', "??")).fetch::<IdRow>()?;
    let mut ids = Vec::new();
    while let Some(row) = cursor.next().await? {
        ids.push(row.id);
    }
    Ok(ids)
}

pub(super) async fn clicks_known(
    client: &Client,
    before: &Horizon,
    clicks: &[(String, ClickId)],
) -> Result<HashSet<ClickId>> {
    let mut known = HashSet::new();
    for clicks in clicks.chunks(IDS_MAX) {
        let times = clicks.iter().map(|(_, id)| id.at().0.to_string()).collect::<Vec<_>>().join(",");
        let sql = format!(
            "SELECT id FROM clicks WHERE program IN {} \
             AND ts IN (SELECT fromUnixTimestamp64Milli(arrayJoin([{times}]::Array(Int64)), 'UTC')) \
             AND id IN {} AND {}",
            programs(clicks.iter().map(|(program, _)| program.as_str())),
            uuids(clicks.iter().map(|(_, id)| id.0)),
            before_sql(before),
        );
        known.extend(ids(client, &sql).await?.into_iter().map(ClickId));
    }
    Ok(known)
}

pub(super) async fn click_ids(
    client: &Client,
    before: &Horizon,
    from: UnixMs,
    to: UnixMs,
) -> Result<Vec<ClickId>> {
    let sql = format!(
        "SELECT id FROM clicks WHERE ts >= fromUnixTimestamp64Milli({}, 'UTC') \
         AND ts < fromUnixTimestamp64Milli({}, 'UTC') AND {}",
        from.0,
        to.0,
        own_before_sql(before)
    );
    Ok(ids(client, &sql).await?.into_iter().map(ClickId).collect())
}

/// These columns of conversions, whatever table their fact is in.
fn of_event_tables(columns: &str, condition: &str) -> String {
    EVENT_TABLES.map(|table| format!("SELECT {columns} FROM {table} WHERE {condition}")).join(" UNION ALL ")
}

#[derive(Row, Deserialize)]
struct DigestRow {
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    digest: u64,
}

#[derive(Row, Deserialize)]
struct EndRow {
    end: u64,
}

pub(super) async fn stored_end(
    client: &Client,
    incarnation: Incarnation,
    partition: Partition,
) -> Result<u64> {
    let of_stream: &[&str] = match partition.stream {
        Stream::Clicks => &[ClickRow::TABLE],
        Stream::Conversions => &EVENT_TABLES,
    };
    let place = format!(
        "incarnation = toUUID('{}') AND partition = {}",
        incarnation.0.hyphenated(),
        partition.number
    );
    let facts = of_stream.iter().map(|table| format!("SELECT offset FROM {table} WHERE {place}"));
    let rejects = format!(
        "SELECT offset FROM {} WHERE stream = '{}' AND {place}",
        RejectRow::TABLE,
        partition.stream.word()
    );
    // Rows may be past retention; the account is not.
    let account = format!(
        "SELECT toUInt64(end - 1) AS offset FROM {} WHERE stream = '{}' AND table = '' AND {place}",
        BlockRow::TABLE,
        partition.stream.word()
    );
    let offsets: Vec<String> = facts.chain([rejects, account]).collect();
    let sql =
        format!("SELECT if(count() = 0, 0, max(offset) + 1) AS end FROM ({})", offsets.join(" UNION ALL "));
    Ok(client.query(&sql).fetch_one::<EndRow>().await?.end)
}

#[derive(Row, Deserialize)]
struct AccountEndRow {
    #[serde(with = "clickhouse::serde::uuid")]
    incarnation: Uuid,
    end: u64,
}

pub(super) async fn account_ends(client: &Client, partition: Partition) -> Result<Vec<(Incarnation, u64)>> {
    let sql = format!(
        "SELECT incarnation, max(blocks.end) AS end FROM blocks \
         WHERE stream = '{}' AND partition = {} AND table = '' GROUP BY incarnation",
        partition.stream.word(),
        partition.number
    );
    let rows = client.query(&sql).fetch_all::<AccountEndRow>().await?;
    Ok(rows.into_iter().map(|row| (Incarnation(row.incarnation), row.end)).collect())
}

pub(super) async fn events_known(
    client: &Client,
    before: &Horizon,
    events: &[EventName],
) -> Result<HashMap<EventId, u64>> {
    let mut known = HashMap::new();
    for events in events.chunks(IDS_MAX) {
        let condition = format!(
            "program IN {} AND id IN {} AND revision = 0 AND {}",
            programs(events.iter().map(|(program, _)| program.as_str())),
            uuids(events.iter().map(|(_, id)| id.0)),
            before_sql(before)
        );
        let sql = of_event_tables("id, digest", &condition).replace('?', "??");
        let found = client.query(&sql).fetch_all::<DigestRow>().await?;
        known.extend(found.into_iter().map(|row| (EventId(row.id), row.digest)));
    }
    Ok(known)
}

pub(super) async fn event_ids(client: &Client, before: &Horizon) -> Result<Vec<EventId>> {
    let condition = format!("revision = 0 AND {}", own_before_sql(before));
    Ok(ids(client, &of_event_tables("id", &condition)).await?.into_iter().map(EventId).collect())
}

pub(super) async fn subjects(
    client: &Client,
    before: &Horizon,
    keys: &[(String, SubjectKey)],
) -> Result<Vec<SubjectKeyRow>> {
    let mut found = Vec::new();
    for keys in keys.chunks(IDS_MAX) {
        let condition = format!(
            "program IN {} AND key IN (SELECT toFixedString(unhex(arrayJoin({})), 16)) AND {}",
            programs(keys.iter().map(|(program, _)| program.as_str())),
            array(keys.iter().map(|(_, key)| key.to_string())),
            before_sql(before)
        );
        found.extend(rows(client, &condition).await?);
    }
    Ok(found)
}

/// The newest row of each of these events.
pub(super) async fn newest<R: TableRow>(
    client: &Client,
    before: &Horizon,
    events: &[EventName],
) -> Result<Vec<R>> {
    let mut found = Vec::new();
    for events in events.chunks(IDS_MAX) {
        let condition = format!(
            "program IN {} AND id IN {} AND {} ORDER BY revision DESC, sign DESC LIMIT 1 BY program, id",
            programs(events.iter().map(|(program, _)| program.as_str())),
            uuids(events.iter().map(|(_, id)| id.0)),
            before_sql(before)
        );
        found.extend(rows(client, &condition).await?);
    }
    Ok(found)
}
