//! Gives the keys of persons who were forgotten other names ([`crate::conversion::unlink`]).
//!
//! ```text
//! all is blank, everywhere ─▶ rows under other names ─▶ rewards counted ─▶ rows under the keys go ─▶ said of the erasure
//! ```
//!
//! Killed in between, or done by two processes, it is done again: rows under names that nothing leads to stay, and change
//! nothing, as they are about the same events.

use super::{
    ClickHouseStore,
    erase::{BLANK, Watch},
    lookup::{IDS_MAX, array, before_sql, programs, rows, uuids},
};
use crate::{
    conversion::unlink::renamed,
    position::{Horizon, InsertToken},
    store::{Linked, StoreError},
};
use clickhouse::{Client, Row, error::Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use uuid::Uuid;
use whence_schemas::{ids::EventId, rows::SubjectKeyRow, subject::SubjectKey, time::UnixMs};

/// Keys of one statement, at most: ClickHouse takes statements of 50,000 parts.
const KEYS_MAX: usize = 1000;
/// A list of keys, so that it is told from another without naming one.
const LIST: &str = "sipHash64(keys)";
/// Erasures of one pass, at most.
const ERASURES_MAX: usize = 100;

#[derive(Row, Deserialize)]
struct LinkedRow {
    program: String,
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    /// Milliseconds since the epoch.
    received_at: i64,
}

/// What links the events of the persons whom an erasure was about.
struct Links {
    keys: BTreeSet<SubjectKey>,
    /// By a key that is suppressed.
    by_key: Vec<SubjectKeyRow>,
    /// By another key of such an event: a payment, an event id.
    by_others: Vec<SubjectKeyRow>,
}

impl ClickHouseStore {
    /// What [`crate::store::Store::unlink`] promises.
    pub(super) async fn give_other_names(&self, erasure: &Linked) -> Result<bool, StoreError> {
        // Who had the partition before may have stored it by another way.
        self.replicas.catch_up().await.map_err(|error| self.failed(error))?;
        // What was begun before is not begun again while ClickHouse is at it.
        if Watch::new(self.replicas.clone()).look().await.mutations > 0 {
            return Ok(false);
        }
        let links = self.look_up(|client| async move { links(&client, erasure).await }).await?;
        let linking: Vec<SubjectKeyRow> = links.by_key.iter().chain(&links.by_others).cloned().collect();
        let events: BTreeSet<Uuid> = linking.iter().map(|row| row.event_id.0).collect();
        let events = &events.into_iter().collect::<Vec<_>>();
        let personal =
            self.look_up(|client| async move { personal(&client, &erasure.program, events).await }).await?;
        if personal > 0 {
            // The erasure is so new that nobody has begun with it.
            return Ok(false);
        }
        let renamed = renamed(&linking, &links.keys, || SubjectKey(rand::random()));
        self.send(&InsertToken(format!("unlink {}", Uuid::new_v4())), &renamed).await?;
        let links = &links;
        self.look_up(|client| async move { drop_links(&client, erasure, links, events).await }).await?;
        Ok(true)
    }
}

pub(super) async fn linked(client: &Client, before: &Horizon) -> Result<Vec<Linked>> {
    let sql = format!(
        "SELECT toString(program) AS program, id, toUnixTimestamp64Milli(received_at) AS received_at FROM erasures \
         WHERE linked AND partition = {} AND {} ORDER BY received_at LIMIT {ERASURES_MAX}",
        before.partition.number,
        before_sql(before)
    );
    let rows: Vec<LinkedRow> = client.query(&sql).fetch_all().await?;
    let linked = |row: LinkedRow| Linked {
        program: row.program,
        erasure: EventId(row.id),
        received_at: UnixMs(row.received_at),
    };
    Ok(rows.into_iter().map(linked).collect())
}

async fn links(client: &Client, erasure: &Linked) -> Result<Links> {
    let Linked { program, erasure, received_at } = erasure;
    let of_program = format!("program IN {}", programs(std::iter::once(program.as_str())));
    let suppressed = format!(
        "{of_program} AND kind = 'erased' AND event_id = toUUID('{}') \
         AND received_at = fromUnixTimestamp64Milli({}, 'UTC')",
        erasure.0, received_at.0
    );
    let suppressed: Vec<SubjectKeyRow> = rows(client, &suppressed).await?;
    let keys: BTreeSet<SubjectKey> = suppressed.iter().map(|row| row.key).collect();
    let mut by_key = Vec::new();
    for keys in chunks(&keys, KEYS_MAX) {
        by_key.extend(rows(client, &format!("{of_program} AND kind != 'erased' AND key IN {keys}")).await?);
    }
    let named = by_key.iter().flat_map(|row: &SubjectKeyRow| &row.keys).copied();
    let others: BTreeSet<SubjectKey> = named.filter(|key| !keys.contains(key)).collect();
    let mut by_others: Vec<SubjectKeyRow> = Vec::new();
    for others in chunks(&others, KEYS_MAX) {
        by_others
            .extend(rows(client, &format!("{of_program} AND kind != 'erased' AND key IN {others}")).await?);
    }
    by_others.retain(|row| row.keys.iter().any(|key| keys.contains(key)));
    Ok(Links { keys, by_key, by_others })
}

/// How many of these events have personal columns that are not blank.
async fn personal(client: &Client, program: &str, events: &[Uuid]) -> Result<u64> {
    let mut found = 0;
    for events in events.chunks(IDS_MAX) {
        for (table, _) in BLANK {
            let sql = format!(
                "SELECT count() FROM {table} WHERE program IN {} AND id IN {} AND notEmpty(keys)",
                programs(std::iter::once(program)),
                uuids(events.iter().copied())
            );
            found += client.query(&sql).fetch_one::<u64>().await?;
        }
    }
    Ok(found)
}

/// Each statement names keys that are suppressed, or events: ClickHouse keeps the text of the last ones.
async fn drop_links(client: &Client, erasure: &Linked, links: &Links, events: &[Uuid]) -> Result<()> {
    let of_program = format!("program IN {}", programs(std::iter::once(erasure.program.as_str())));
    let mut rewards = 0;
    for events in events.chunks(IDS_MAX) {
        let sql = format!(
            "SELECT uniqExact(reward_id) FROM rewards WHERE {of_program} AND lead_id IN {}",
            uuids(events.iter().copied())
        );
        rewards += client.query(&sql).fetch_one::<u64>().await?;
    }
    let mut conditions = Vec::new();
    let others: BTreeSet<SubjectKey> = links.by_others.iter().map(|row| row.key).collect();
    for others in chunks(&others, KEYS_MAX) {
        let sql = format!(
            "SELECT DISTINCT toString({LIST}) AS list FROM subject_keys WHERE {of_program} AND key IN {others} \
             AND hasAny(keys, arrayMap(key -> toFixedString(unhex(key), 16), {}))",
            array(links.keys.iter().map(ToString::to_string))
        );
        let lists: Vec<String> = client.query(&sql.replace('?', "??")).fetch_all().await?;
        // The rows under other names have other lists of keys.
        conditions.push(format!("key IN {others} AND toString({LIST}) IN {}", array(lists.into_iter())));
    }
    conditions.extend(chunks(&links.keys, KEYS_MAX).map(|keys| format!("key IN {keys}")));
    for condition in conditions {
        let sql = format!(
            "ALTER TABLE subject_keys DELETE WHERE {of_program} AND kind != 'erased' AND {condition} \
             SETTINGS mutations_sync = 0"
        );
        client.query(&sql).execute().await?;
    }
    let sql = format!(
        "ALTER TABLE erasures UPDATE linked = false, rewards = {rewards} WHERE {of_program} AND id = toUUID('{}') \
         SETTINGS mutations_sync = 0",
        erasure.erasure.0
    );
    client.query(&sql).execute().await
}

/// Lists of so many keys, at most, as SQL.
fn chunks(keys: &BTreeSet<SubjectKey>, keys_max: usize) -> impl Iterator<Item = String> {
    let keys: Vec<String> = keys.iter().map(|key| format!("toFixedString(unhex('{key}'), 16)")).collect();
    let chunks: Vec<String> = keys.chunks(keys_max).map(|keys| format!("({})", keys.join(", "))).collect();
    chunks.into_iter()
}
