//! Gives the keys of persons who were forgotten other names ([`crate::conversion::unlink`]).
//!
//! ```text
//! all is blank, everywhere ─▶ rows under other names, rewards counted ─▶ a while ─▶ rows under the keys go ─▶ said of the erasure
//! ```
//!
//! The while is for look-ups that follow a chain of keys, one question a link: one of before must not go on behind it.
//!
//! Killed in between, or done by two processes, it is done again: rows under names that nothing leads to stay, and change
//! nothing, as they are about the same events.

use super::{
    ClickHouseStore,
    erase::BLANK,
    lookup::{IDS_MAX, array, before_sql, programs, rows, uuids},
};
use crate::{
    conversion::unlink::renamed,
    position::{Horizon, InsertToken},
    store::{Forgotten, Linked, Store as _, StoreError},
};
use clickhouse::{Client, Row, error::Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use uuid::Uuid;
use whence_schemas::{ids::EventId, rows::SubjectKeyRow, subject::SubjectKey, time::UnixMs};

/// Keys of one statement, at most: ClickHouse takes statements of 50,000 parts.
const KEYS_MAX: usize = 1000;
/// A list of keys, so that it is told from another without naming one.
const LIST: &str = "toString(sipHash64(keys))";
/// Erasures of one pass, at most.
const ERASURES_MAX: usize = 20;

#[derive(Row, Deserialize)]
struct LinkedRow {
    program: String,
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    /// Milliseconds since the epoch.
    received_at: i64,
}

#[derive(Row, Deserialize)]
struct ListRow {
    list: String,
    keys: Vec<[u8; 16]>,
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
    /// What [`crate::store::Store::rename_links`] promises.
    pub(super) async fn give_other_names(&self, erasure: &Linked) -> Result<bool, StoreError> {
        for live in [true, false] {
            let links = self.look_up(|client| async move { links(&client, erasure, live).await }).await?;
            let events = &links.events();
            let program = erasure.program.as_str();
            if self.look_up(|client| async move { personal(&client, program, events).await }).await? > 0 {
                // Copied by a correction of an earlier version.
                let forgotten = Forgotten {
                    events: events.iter().map(|id| (program.to_owned(), EventId(*id))).collect(),
                    keys: Vec::new(),
                };
                self.erase(&forgotten).await?;
                return Ok(false);
            }
            let linking: Vec<SubjectKeyRow> = links.by_key.iter().chain(&links.by_others).cloned().collect();
            let renamed = renamed(&linking, &links.keys, || SubjectKey(rand::random()));
            if !renamed.is_empty() {
                self.send(&InsertToken(format!("unlink {}", Uuid::new_v4())), &renamed).await?;
            }
            self.look_up(|client| async move { count_rewards(&client, erasure, events).await }).await?;
        }
        Ok(true)
    }
}

impl Links {
    fn events(&self) -> Vec<Uuid> {
        let rows = self.by_key.iter().chain(&self.by_others);
        rows.map(|row| row.event_id.0).collect::<BTreeSet<_>>().into_iter().collect()
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

/// Of one mode: a key may be suppressed in one and not in the other.
async fn links(client: &Client, erasure: &Linked, live: bool) -> Result<Links> {
    let of_program = format!("{} AND live = {live}", of_program(erasure));
    let suppressed = format!(
        "{of_program} AND kind = 'erased' AND event_id = toUUID('{}') \
         AND received_at = fromUnixTimestamp64Milli({}, 'UTC')",
        erasure.erasure.0, erasure.received_at.0
    );
    let suppressed: Vec<SubjectKeyRow> = rows(client, &suppressed).await?;
    let keys: BTreeSet<SubjectKey> = suppressed.iter().map(|row| row.key).collect();
    let linking = format!("{of_program} AND kind != 'erased'");
    let mut by_key: Vec<SubjectKeyRow> = Vec::new();
    for keys in chunks(&keys) {
        by_key.extend(rows(client, &format!("{linking} AND key IN {keys}")).await?);
    }
    let named = by_key.iter().flat_map(|row| &row.keys).copied();
    let others: BTreeSet<SubjectKey> = named.filter(|key| !keys.contains(key)).collect();
    let mut by_others: Vec<SubjectKeyRow> = Vec::new();
    for others in chunks(&others) {
        by_others.extend(rows(client, &format!("{linking} AND key IN {others}")).await?);
    }
    by_others.retain(|row| row.keys.iter().any(|key| keys.contains(key)));
    Ok(Links { keys, by_key, by_others })
}

fn of_program(erasure: &Linked) -> String {
    format!("program IN {}", programs(std::iter::once(erasure.program.as_str())))
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
            found += client.query(&sql.replace('?', "??")).fetch_one::<u64>().await?;
        }
    }
    Ok(found)
}

/// Before the links go; never less than was counted before.
async fn count_rewards(client: &Client, erasure: &Linked, events: &[Uuid]) -> Result<()> {
    let of_program = of_program(erasure);
    let mut rewards = 0;
    for events in events.chunks(IDS_MAX) {
        let sql = format!(
            "SELECT uniqExact(reward_id) FROM rewards WHERE {of_program} AND lead_id IN {}",
            uuids(events.iter().copied())
        );
        rewards += client.query(&sql.replace('?', "??")).fetch_one::<u64>().await?;
    }
    if rewards == 0 {
        return Ok(());
    }
    change(
        client,
        "erasures",
        &format!("UPDATE rewards = greatest(rewards, {rewards}) WHERE {}", itself(erasure)),
    )
    .await
}

/// No statement that changes anything names both a key that is suppressed and an event: ClickHouse keeps the last ones.
pub(super) async fn drop_links(client: &Client, erasure: &Linked) -> Result<()> {
    for live in [true, false] {
        let linking = format!("{} AND live = {live} AND kind != 'erased'", of_program(erasure));
        let links = links(client, erasure, live).await?;
        let others: BTreeSet<SubjectKey> = links.by_others.iter().map(|row| row.key).collect();
        let mut conditions = Vec::new();
        for others in chunks(&others) {
            let sql = format!(
                "SELECT DISTINCT {LIST} AS list, keys FROM subject_keys WHERE {linking} AND key IN {others}"
            );
            let lists: Vec<ListRow> = client.query(&sql.replace('?', "??")).fetch_all().await?;
            // The rows under other names have other lists of keys.
            let is_old = |row: &ListRow| row.keys.iter().any(|key| links.keys.contains(&SubjectKey(*key)));
            let old: Vec<String> = lists.into_iter().filter(is_old).map(|row| row.list).collect();
            if !old.is_empty() {
                conditions.push(format!("key IN {others} AND {LIST} IN {}", array(old.into_iter())));
            }
        }
        conditions.extend(chunks(&links.keys).map(|keys| format!("key IN {keys}")));
        for condition in conditions {
            change(client, "subject_keys", &format!("DELETE WHERE {linking} AND {condition}")).await?;
        }
    }
    change(client, "erasures", &format!("UPDATE linked = false WHERE {}", itself(erasure))).await
}

fn itself(erasure: &Linked) -> String {
    format!("{} AND id = toUUID('{}')", of_program(erasure), erasure.erasure.0)
}

async fn change(client: &Client, table: &str, change: &str) -> Result<()> {
    let sql = format!("ALTER TABLE {table} {change} SETTINGS mutations_sync = 0");
    client.query(&sql.replace('?', "??")).execute().await
}

/// Lists of [`KEYS_MAX`] keys, at most, as SQL.
fn chunks(keys: &BTreeSet<SubjectKey>) -> impl Iterator<Item = String> {
    let keys: Vec<String> = keys.iter().map(|key| format!("toFixedString(unhex('{key}'), 16)")).collect();
    let chunks: Vec<String> = keys.chunks(KEYS_MAX).map(|keys| format!("({})", keys.join(", "))).collect();
    chunks.into_iter()
}
