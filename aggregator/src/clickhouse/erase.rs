//! The one change of stored rows: personal columns become blank.
//!
//! They are in no sorting key, and nothing is decided by them. A mutation is certain once ClickHouse has taken it (on a
//! cluster it is in Keeper), and rewrites parts when it comes to it, on each replica for itself and on one that is away
//! once it is back. So a partition does not wait for it; [`Watch`] tells what every replica has applied.

use super::{
    lookup::{IDS_MAX, array, programs},
    replicas::Replicas,
};
use crate::store::Forgotten;
use clickhouse::{Client, Row, error::Result};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

whence_metrics::declare! {
    /// Erasures' changes of tables that are not known to be applied on every replica.
    gauge ERASURES_UNAPPLIED: "whence_erasures_unapplied";
}

/// The tables with personal columns, and what those become.
pub(super) const BLANK: [(&str, &str); 6] = [
    ("leads", "lead = '', keys = []"),
    ("qualifications", "lead = '', keys = []"),
    ("disqualifications", "lead = '', keys = []"),
    ("reinstatements", "lead = '', keys = []"),
    ("identifies", "lead = '', keys = []"),
    ("participants", "keys = []"),
];

/// Those of them whose events are found by their payment alone, whatever keys they have beside it.
const FOUND_BY_PAYMENT: [&str; 2] = ["disqualifications", "reinstatements"];

/// Has ClickHouse blank what is personal in all rows of these events, and of what names these keys.
pub(super) async fn erase(client: &Client, forgotten: &Forgotten) -> Result<()> {
    for events in forgotten.events.chunks(IDS_MAX) {
        let of_events = format!(
            "program IN {} AND id IN {}",
            programs(events.iter().map(|(program, _)| program.as_str())),
            array(events.iter().map(|(_, id)| id.0.hyphenated().to_string())),
        );
        for (table, blank) in BLANK {
            blank_rows(client, table, blank, &of_events).await?;
        }
    }
    let mut by_program: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (program, key) in &forgotten.keys {
        by_program.entry(program).or_default().push(key.to_string());
    }
    for (program, keys) in by_program {
        for keys in keys.chunks(IDS_MAX) {
            let of_keys = format!(
                "program IN {} AND hasAny(keys, arrayMap(key -> toFixedString(unhex(key), 16), {}))",
                programs(std::iter::once(program)),
                array(keys.iter().cloned()),
            );
            for (table, blank) in BLANK.into_iter().filter(|(table, _)| FOUND_BY_PAYMENT.contains(table)) {
                blank_rows(client, table, blank, &of_keys).await?;
            }
        }
    }
    Ok(())
}

async fn blank_rows(client: &Client, table: &str, blank: &str, condition: &str) -> Result<()> {
    let found = format!("SELECT count() FROM {table} WHERE {condition} AND notEmpty(keys)");
    if client.query(&found.replace('?', "??")).fetch_one::<u64>().await? == 0 {
        return Ok(());
    }
    let sql = format!("ALTER TABLE {table} UPDATE {blank} WHERE {condition} SETTINGS mutations_sync = 0");
    client.query(&sql.replace('?', "??")).execute().await
}

/// Between two looks, and how long a server may take to answer one.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[derive(Row, Deserialize)]
struct MutationRow {
    mutation: String,
    is_done: u8,
}

#[derive(Row, Deserialize)]
struct ReplicaRow {
    name: String,
    registered: u64,
}

/// What every replica has applied of the erasures. Knows what it has seen, and starts empty with the process.
pub struct Watch {
    replicas: Replicas,
    /// Mutations that every replica had applied.
    applied: BTreeSet<String>,
}

/// Erasures' mutations of tables, and who knows of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unapplied {
    /// Mutations that are not known to be applied everywhere.
    pub mutations: usize,
    /// Replicas that Keeper knows and that did not answer: they are away, or `clickhouse-url` does not name them.
    pub silent: u64,
}

impl Watch {
    /// Watches these servers.
    #[must_use]
    pub fn new(replicas: Replicas) -> Watch {
        Watch { replicas, applied: BTreeSet::new() }
    }

    /// Looks again and again, for ever.
    pub async fn run(mut self) {
        let mut before = Unapplied::default();
        loop {
            let now = self.look().await;
            metrics::gauge!(ERASURES_UNAPPLIED).set(now.mutations as f64);
            match (before.mutations, now.mutations) {
                (0, 0) => {}
                (_, 0) => tracing::info!("all erasures are applied on every replica"),
                (0, mutations) => {
                    tracing::info!(mutations, silent_replicas = now.silent, "erasures are under way");
                }
                (_, mutations) if now.silent != before.silent => {
                    tracing::info!(mutations, silent_replicas = now.silent, "erasures wait for replicas");
                }
                _ => {}
            }
            before = now;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks every server.
    pub async fn look(&mut self) -> Unapplied {
        // By mutation, how many replicas have applied it.
        let mut mutations: BTreeMap<String, usize> = BTreeMap::new();
        let (mut names, mut registered) = (BTreeSet::new(), 1);
        for (_, client) in self.replicas.each() {
            let asked = tokio::time::timeout(ANSWER_MAX, of_server(client, self.replicas.is_cluster()));
            let Ok(Ok((replica, found))) = asked.await else { continue };
            registered = registered.max(replica.registered);
            // Two addresses of one server are one replica.
            if !names.insert(replica.name) {
                continue;
            }
            for row in found {
                *mutations.entry(row.mutation).or_default() += usize::from(row.is_done);
            }
        }
        let answered = names.len();
        let silent = registered.saturating_sub(answered as u64);
        self.applied.retain(|mutation| answered == 0 || mutations.contains_key(mutation));
        if silent == 0 {
            let done = mutations.iter().filter(|(_, done)| **done >= answered);
            self.applied.extend(done.map(|(mutation, _)| mutation.clone()));
        }
        let unapplied = mutations.keys().filter(|mutation| !self.applied.contains(*mutation)).count();
        Unapplied { mutations: unapplied, silent }
    }
}

async fn of_server(client: &Client, is_cluster: bool) -> Result<(ReplicaRow, Vec<MutationRow>)> {
    let sql = "SELECT concat(table, ' ', mutation_id) AS mutation, is_done FROM system.mutations \
               WHERE database = currentDatabase() AND (position(command, 'keys = []') > 0 OR table = 'erasures' \
               OR table = 'subject_keys' AND position(command, 'DELETE') > 0)";
    let mutations = client.query(sql).fetch_all::<MutationRow>().await?;
    if !is_cluster {
        return Ok((ReplicaRow { name: String::new(), registered: 1 }, mutations));
    }
    let sql = "SELECT replica_name AS name, toUInt64(total_replicas) AS registered FROM system.replicas \
               WHERE database = currentDatabase() AND table = 'leads'";
    Ok((client.query(sql).fetch_one::<ReplicaRow>().await?, mutations))
}
