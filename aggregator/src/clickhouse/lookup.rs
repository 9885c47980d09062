//! The look-ups' SQL.
//!
//! Ids stand in the query as arrays of text that a subquery turns into a set: the primary key index
//! uses it, and parsing stays linear.

use crate::{position::Horizon, store::EventName};
use clickhouse::{Client, Row, error::Result};
use serde::Deserialize;
use std::{collections::HashSet, fmt::Write as _};
use uuid::Uuid;
use whence_schemas::{
    ids::{ClickId, EventId, Incarnation},
    rows::{Evidence, Lc, QualificationRow, SubjectKeyRow},
    subject::SubjectKey,
    time::UnixMs,
};

/// Ids of one query, at most: more are asked for in several.
const IDS_MAX: usize = 10_000;

/// What was stored before the block.
fn before_sql(before: &Horizon) -> String {
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
fn array(texts: impl Iterator<Item = String>) -> String {
    let mut sql = String::from("[");
    for (at, text) in texts.enumerate() {
        write!(sql, "{}'{text}'", if at == 0 { "" } else { "," }).expect("a String takes every write");
    }
    sql.push(']');
    sql
}

/// The programs' names, once each. They come out of records: anything may stand in them.
fn programs<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: HashSet<&str> = names.collect();
    array(names.into_iter().map(|name| name.replace('\\', "\\\\").replace('\'', "\\'")))
}

fn uuids(ids: impl Iterator<Item = Uuid>) -> String {
    format!("(SELECT toUUID(arrayJoin({})))", array(ids.map(|id| id.hyphenated().to_string())))
}

#[derive(Row, Deserialize)]
struct IdRow {
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
}

async fn ids(client: &Client, sql: &str) -> Result<Vec<Uuid>> {
    let mut cursor = client.query(&escape_binds(sql)).fetch::<IdRow>()?;
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

pub(super) async fn events_known(
    client: &Client,
    before: &Horizon,
    events: &[EventName],
) -> Result<HashSet<EventId>> {
    let mut known = HashSet::new();
    for events in events.chunks(IDS_MAX) {
        let condition = format!(
            "program IN {} AND id IN {} AND revision = 0 AND {}",
            programs(events.iter().map(|(program, _)| program.as_str())),
            uuids(events.iter().map(|(_, id)| id.0)),
            before_sql(before)
        );
        let sql = format!(
            "SELECT id FROM leads WHERE {condition} UNION ALL SELECT id FROM qualifications WHERE {condition}"
        );
        known.extend(ids(client, &sql).await?.into_iter().map(EventId));
    }
    Ok(known)
}

pub(super) async fn event_ids(client: &Client, before: &Horizon) -> Result<Vec<EventId>> {
    let condition = format!("revision = 0 AND {}", own_before_sql(before));
    let sql = format!(
        "SELECT id FROM leads WHERE {condition} UNION ALL SELECT id FROM qualifications WHERE {condition}"
    );
    Ok(ids(client, &sql).await?.into_iter().map(EventId).collect())
}

#[derive(Row, Deserialize)]
struct SubjectRow {
    program: String,
    key: [u8; 16],
    kind: String,
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    received_at: i64,
    live: bool,
    evidence: i8,
    referrer: String,
    link: String,
    channel: String,
    #[serde(with = "clickhouse::serde::uuid")]
    click_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    incarnation: Uuid,
    partition: u32,
    offset: u64,
}

impl From<SubjectRow> for SubjectKeyRow {
    fn from(row: SubjectRow) -> SubjectKeyRow {
        SubjectKeyRow {
            program: Lc(row.program),
            key: SubjectKey(row.key),
            kind: Lc(row.kind),
            event_id: EventId(row.event_id),
            received_at: UnixMs(row.received_at),
            live: row.live,
            evidence: evidence(row.evidence),
            referrer: row.referrer,
            link: row.link,
            channel: Lc(row.channel),
            click_id: row.click_id,
            incarnation: Incarnation(row.incarnation),
            partition: row.partition,
            offset: row.offset,
        }
    }
}

fn evidence(number: i8) -> Evidence {
    Evidence::ALL.into_iter().find(|evidence| *evidence as i8 == number).unwrap_or_default()
}

pub(super) async fn subjects(
    client: &Client,
    before: &Horizon,
    keys: &[(String, SubjectKey)],
) -> Result<Vec<SubjectKeyRow>> {
    let mut rows = Vec::new();
    for keys in keys.chunks(IDS_MAX) {
        let sql = format!(
            "SELECT ?fields FROM subject_keys WHERE program IN {} \
             AND key IN (SELECT toFixedString(unhex(arrayJoin({})), 16)) AND {}",
            programs(keys.iter().map(|(program, _)| program.as_str())),
            array(keys.iter().map(|(_, key)| key.to_string())),
            before_sql(before)
        );
        let mut cursor = client.query(&escape_binds(&sql)).fetch::<SubjectRow>()?;
        while let Some(row) = cursor.next().await? {
            rows.push(row.into());
        }
    }
    Ok(rows)
}

#[derive(Row, Deserialize)]
struct StoredQualification {
    program: String,
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    occurred_at: i64,
    received_at: i64,
    name: String,
    lead: String,
    keys: Vec<[u8; 16]>,
    #[serde(with = "clickhouse::serde::uuid")]
    lead_id: Uuid,
    evidence: i8,
    referrer: String,
    link: String,
    channel: String,
    #[serde(with = "clickhouse::serde::uuid")]
    click_id: Uuid,
    value_minor: i64,
    currency: String,
    source: String,
    live: bool,
    sign: i8,
    revision: u32,
    #[serde(with = "clickhouse::serde::uuid")]
    incarnation: Uuid,
    partition: u32,
    offset: u64,
}

impl From<StoredQualification> for QualificationRow {
    fn from(row: StoredQualification) -> QualificationRow {
        QualificationRow {
            program: Lc(row.program),
            id: EventId(row.id),
            occurred_at: UnixMs(row.occurred_at),
            received_at: UnixMs(row.received_at),
            name: Lc(row.name),
            lead: row.lead,
            keys: row.keys.into_iter().map(SubjectKey).collect(),
            lead_id: row.lead_id,
            evidence: evidence(row.evidence),
            referrer: row.referrer,
            link: row.link,
            channel: Lc(row.channel),
            click_id: row.click_id,
            value_minor: row.value_minor,
            currency: Lc(row.currency),
            source: Lc(row.source),
            live: row.live,
            sign: row.sign,
            revision: row.revision,
            incarnation: Incarnation(row.incarnation),
            partition: row.partition,
            offset: row.offset,
        }
    }
}

pub(super) async fn unmatched(
    client: &Client,
    before: &Horizon,
    qualifications: &[EventName],
) -> Result<Vec<QualificationRow>> {
    let mut rows = Vec::new();
    for asked in qualifications.chunks(IDS_MAX) {
        let sql = format!(
            "SELECT ?fields FROM qualifications WHERE program IN {} AND id IN {} AND sign = 1 AND {} \
             ORDER BY revision DESC LIMIT 1 BY program, id",
            programs(asked.iter().map(|(program, _)| program.as_str())),
            uuids(asked.iter().map(|(_, id)| id.0)),
            before_sql(before)
        );
        let mut cursor = client.query(&escape_binds(&sql)).fetch::<StoredQualification>()?;
        while let Some(row) = cursor.next().await? {
            if row.lead_id.is_nil() {
                rows.push(row.into());
            }
        }
    }
    Ok(rows)
}

/// The client reads a `?` as a place for a value; the only one meant is `?fields`.
fn escape_binds(sql: &str) -> String {
    sql.replace('?', "??").replace("??fields", "?fields")
}
