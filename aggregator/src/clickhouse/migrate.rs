//! Brings a ClickHouse database to the tables this version needs. Forward only.
//!
//! Every statement may run twice (a table or view that is there already is as it should be, since its
//! file's checksum is; rows that are there are not inserted again), so that two processes that start at once, or one that
//! died half-way, do no harm. What is as it should be is looked at and not sent: on a cluster each statement waits for
//! every replica, and for minutes for one that is away.
//!
//! On a cluster the list of migrations is written as facts are, by a quorum, and read from a replica that has caught up.

use super::{replicas::quorum, tables::WRITTEN};
use clickhouse::{Client, Row, error::Error};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use whence_schemas::sql::{BEFORE_BASELINE, MIGRATIONS, Topology, View, views};

/// ClickHouse's code for a table that exists already.
const TABLE_EXISTS: u32 = 57;

/// Why the database is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// ClickHouse failed.
    #[error("ClickHouse failed at {what}")]
    ClickHouse {
        /// Which step.
        what: String,
        /// Its error.
        #[source]
        source: Error,
    },
    /// A migration ran that this version has otherwise.
    #[error("migration {number} ({name}) ran here with other text: this is another version's database")]
    Changed {
        /// Its number.
        number: u32,
        /// Its name here.
        name: &'static str,
    },
    /// The database is of a version from before the baseline, and not of the last one.
    #[error(
        "the database has migration {found} of a development version: bring it to {before} with that version's `whence migrate`, or begin a new one"
    )]
    TooOld {
        /// The newest that ran.
        found: u32,
        /// The one that the baseline follows on.
        before: u32,
    },
    /// The database is newer than this version.
    #[error("the database has migration {found}, this version knows {known}: use the newer whence")]
    Newer {
        /// The newest that ran.
        found: u32,
        /// The newest known.
        known: u32,
    },
}

#[derive(Row, Deserialize)]
struct Applied {
    number: u32,
    checksum: String,
}

#[derive(Row, Deserialize)]
struct AppliedView {
    name: String,
    checksum: String,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Numbers of the migrations that ran.
    pub migrations: Vec<u32>,
    /// Names of the views that were made.
    pub views: Vec<&'static str>,
}

/// Creates the database where it is missing, runs what has not run yet, and makes the views whose text is another one.
pub async fn migrate(client: &Client, database: &str, topology: &Topology) -> Result<Migrated, MigrateError> {
    let on_cluster = on_cluster(topology);
    // The server refuses a query in a database that does not exist yet.
    let bare = client.clone().with_database("default");
    // Looked for first: an account that may not make databases is one less door.
    if !exists(&bare, "the database", "system.databases WHERE name = {name:String}", database).await? {
        run(&bare, "the database", &format!("CREATE DATABASE IF NOT EXISTS `{database}`{on_cluster}"))
            .await?;
    }
    let is_there = "system.tables WHERE database = currentDatabase() AND name = {name:String}";
    let lists = [
        (
            MIGRATIONS_LIST,
            "number UInt32, name String, checksum String, applied_at DateTime DEFAULT now()",
            "",
            "number",
        ),
        (
            VIEWS_LIST,
            "name String, checksum String, applied_at DateTime64(3) DEFAULT now64(3)",
            "applied_at",
            "name",
        ),
    ];
    for (list, columns, version, key) in lists {
        if exists(client, LIST, is_there, list).await? {
            continue;
        }
        let engine = match topology {
            Topology::Single => format!("ReplacingMergeTree({version})"),
            Topology::Cluster { .. } => {
                let version = if version.is_empty() { String::new() } else { format!(", {version}") };
                format!(
                    "ReplicatedReplacingMergeTree('/clickhouse/tables/{{uuid}}/{{shard}}', '{{replica}}'{version})"
                )
            }
        };
        let table = format!(
            "CREATE TABLE IF NOT EXISTS {list}{on_cluster} ({columns}) ENGINE = {engine} ORDER BY {key}"
        );
        run(client, LIST, &table).await?;
    }
    let writing = writing(client, topology).await?;
    let applied = applied(client).await?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.number);
    if let Some(newer) = applied.iter().map(|row| row.number).max().filter(|number| *number > known) {
        return Err(MigrateError::Newer { found: newer, known });
    }
    if let Some(found) = applied.iter().map(|row| row.number).max().filter(|number| *number < BEFORE_BASELINE)
    {
        return Err(MigrateError::TooOld { found, before: BEFORE_BASELINE });
    }

    let mut ran = Migrated::default();
    for migration in MIGRATIONS {
        let checksum = migration.checksum();
        match applied.iter().find(|row| row.number == migration.number) {
            Some(row) if row.checksum == checksum => continue,
            Some(_) => return Err(MigrateError::Changed { number: migration.number, name: migration.name }),
            None => {}
        }
        for statement in migration.statements(topology) {
            let what = format!("migration {} ({})", migration.number, migration.name);
            run(if statement.starts_with("INSERT ") { &writing } else { client }, &what, &statement).await?;
        }
        let done = format!(
            "INSERT INTO {MIGRATIONS_LIST} (number, name, checksum) VALUES ({}, '{}', '{checksum}')",
            migration.number, migration.name
        );
        run(&writing, LIST, &done).await?;
        ran.migrations.push(migration.number);
    }
    let failed = |source| MigrateError::ClickHouse { what: LIST.to_owned(), source };
    for view in views_that_differ(client).await.map_err(failed)? {
        let checksum = view.checksum();
        run(client, &format!("the view {}", view.name), &view.statement(topology)).await?;
        let done =
            format!("INSERT INTO {VIEWS_LIST} (name, checksum) VALUES ('{}', '{checksum}')", view.name);
        run(&writing, LIST, &done).await?;
        ran.views.push(view.name);
    }
    Ok(ran)
}

/// Views that are missing, or that another version has made; each behind those that it reads.
///
/// # Errors
/// ClickHouse's; also where there is no list of views yet.
pub async fn views_that_differ(client: &Client) -> Result<Vec<&'static View>, Error> {
    let sql = format!("SELECT ?fields FROM {VIEWS_LIST} FINAL");
    let made = client.query(&sql).fetch_all::<AppliedView>().await?;
    let is_as_made = |view: &&View| {
        let checksum = view.checksum();
        made.iter().any(|row| row.name == view.name && row.checksum == checksum)
    };
    Ok(views().into_iter().filter(|view| !is_as_made(view)).collect())
}

const MIGRATIONS_LIST: &str = "whence_migrations";
const VIEWS_LIST: &str = "whence_views";
/// In errors.
const LIST: &str = "the list of migrations";
/// How long a replica may take to have what the others know.
const CATCH_UP_MAX_S: &str = "60";

fn on_cluster(topology: &Topology) -> String {
    match topology {
        Topology::Single => String::new(),
        Topology::Cluster { name } => format!(" ON CLUSTER `{name}`"),
    }
}

async fn exists(client: &Client, what: &str, condition: &str, name: &str) -> Result<bool, MigrateError> {
    let found = client.query(&format!("SELECT count() FROM {condition}")).param("name", name);
    let failed = |source| MigrateError::ClickHouse { what: what.to_owned(), source };
    Ok(found.fetch_one::<u64>().await.map_err(failed)? > 0)
}

/// Waits until this replica has the list as it stands; returns a client that writes to a quorum of those there are.
async fn writing(client: &Client, topology: &Topology) -> Result<Client, MigrateError> {
    if *topology == Topology::Single {
        return Ok(client.clone());
    }
    let patient = client.clone().with_setting("receive_timeout", CATCH_UP_MAX_S);
    for list in [MIGRATIONS_LIST, VIEWS_LIST] {
        run(&patient, LIST, &format!("SYSTEM SYNC REPLICA {list} LIGHTWEIGHT")).await?;
    }
    let sql = "SELECT toUInt64(max(total_replicas)) FROM system.replicas \
               WHERE database = currentDatabase() AND table = 'whence_migrations'";
    let failed = |source| MigrateError::ClickHouse { what: LIST.into(), source };
    let registered = client.query(sql).fetch_one::<u64>().await.map_err(failed)?;
    Ok(quorum(client.clone(), registered))
}

/// What an operator decides about the tables of facts and rollups. Settings of the tables, not of the insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSettings {
    /// Every insert is synced to disk before it is acknowledged: on for a single node, where no replica has a
    /// copy.
    pub sync: bool,
    /// Blocks of all partitions that a table knows by their tokens. A block that stays written in part while as
    /// many others are written would be stored twice.
    pub blocks_remembered: u64,
    /// How long a cluster's table knows a token at most: for as long as the records of its block may come again. A
    /// single server has no such bound.
    pub remembered_for: Duration,
}

impl TableSettings {
    /// [`Self::blocks_remembered`] of a single server: nine hours of three partitions that write a block a second.
    pub const BLOCKS_REMEMBERED: u64 = 100_000;
    /// The same of a cluster, whose tokens are in Keeper.
    pub const BLOCKS_REMEMBERED_CLUSTER: u64 = 10_000;

    /// The settings that tables are to have, and their values.
    fn wanted(self, topology: &Topology) -> Vec<(&'static str, String)> {
        let sync = u8::from(self.sync).to_string();
        let blocks = self.blocks_remembered.to_string();
        let mut wanted = vec![("fsync_after_insert", sync.clone()), ("fsync_part_directory", sync)];
        match topology {
            Topology::Single => wanted.push(("non_replicated_deduplication_window", blocks)),
            Topology::Cluster { .. } => wanted.extend([
                ("replicated_deduplication_window", blocks),
                (WINDOW_SECONDS, self.remembered_for.as_secs().to_string()),
            ]),
        }
        wanted
    }
}

/// How long the tokens of a replicated table are remembered.
const WINDOW_SECONDS: &str = "replicated_deduplication_window_seconds";

/// Makes the tables as they are to be, of whatever replica is among these servers; says how many were not. Those that
/// are get no statement.
pub async fn set_tables(
    servers: &[Client],
    topology: &Topology,
    settings: TableSettings,
) -> Result<usize, MigrateError> {
    let wanted = settings.wanted(topology);
    let mut differ = BTreeSet::new();
    let mut answered = None;
    let mut last_error = None;
    for server in servers {
        match settings_of(server).await {
            Ok(tables) => {
                answered = answered.or(Some(server));
                let is_other = |table: &&str| {
                    let has = tables.get(*table);
                    wanted.iter().any(|(name, value)| has.and_then(|has| has.get(*name)) != Some(value))
                };
                differ.extend(WRITTEN.into_iter().filter(is_other));
            }
            // One that is away is looked at another time.
            Err(error) => last_error = Some(error),
        }
    }
    let failed = |source| MigrateError::ClickHouse { what: SETTINGS.into(), source };
    let Some(server) = answered else {
        return Err(failed(last_error.unwrap_or_else(|| Error::Custom("there is no server".into()))));
    };
    let all: Vec<_> = wanted.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let (on_cluster, all) = (on_cluster(topology), all.join(", "));
    for table in &differ {
        run(server, SETTINGS, &format!("ALTER TABLE {table}{on_cluster} MODIFY SETTING {all}")).await?;
    }
    Ok(differ.len())
}

/// In errors.
const SETTINGS: &str = "settings of the tables";

#[derive(Row, Deserialize)]
struct TableRow {
    name: String,
    engine_full: String,
}

/// Each table's own settings, as it tells them.
async fn settings_of(client: &Client) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
    let sql = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()";
    let tables = client.query(sql).fetch_all::<TableRow>().await?;
    Ok(tables.into_iter().map(|table| (table.name, settings_in(&table.engine_full))).collect())
}

/// `… SETTINGS a = 1, b = true` as pairs; switches are 1 and 0.
fn settings_in(engine: &str) -> BTreeMap<String, String> {
    let Some((_, settings)) = engine.rsplit_once(" SETTINGS ") else { return BTreeMap::new() };
    let pairs = settings.split(", ").filter_map(|pair| pair.split_once(" = "));
    let plain = |value: &str| match value {
        "true" => "1".to_owned(),
        "false" => "0".to_owned(),
        other => other.to_owned(),
    };
    pairs.map(|(name, value)| (name.to_owned(), plain(value))).collect()
}

/// The replicated table that forgets tokens first, and after how long; `None` where none does by time.
///
/// # Errors
/// The server's.
pub async fn first_to_forget(client: &Client) -> Result<Option<(String, Duration)>, Error> {
    let tables = settings_of(client).await?;
    let windows = tables.into_iter().filter(|(table, _)| WRITTEN.contains(&table.as_str()));
    let windows = windows.filter_map(|(table, settings)| {
        let seconds = settings.get(WINDOW_SECONDS)?.parse().ok()?;
        Some((table, Duration::from_secs(seconds)))
    });
    Ok(windows.min_by_key(|(_, window)| *window))
}

async fn applied(client: &Client) -> Result<Vec<Applied>, MigrateError> {
    let sql = "SELECT number, checksum FROM whence_migrations FINAL ORDER BY number";
    let failed = |source| MigrateError::ClickHouse { what: "the list of migrations".into(), source };
    client.query(sql).fetch_all::<Applied>().await.map_err(failed)
}

async fn run(client: &Client, what: &str, sql: &str) -> Result<(), MigrateError> {
    match client.query(sql).execute().await {
        Ok(()) => Ok(()),
        Err(Error::BadResponse(text)) if super::code(&text) == Some(TABLE_EXISTS) => Ok(()),
        Err(source) => Err(MigrateError::ClickHouse { what: what.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_out_of_what_a_table_tells() {
        let engine = "ReplicatedMergeTree('/t', '{replica}') ORDER BY a SETTINGS fsync_after_insert = true, \
                      index_granularity = 1024, replicated_deduplication_window_seconds = 604800";
        let settings = settings_in(engine);
        assert_eq!(settings["fsync_after_insert"], "1");
        assert_eq!(settings[WINDOW_SECONDS], "604800");
        assert_eq!(settings.len(), 3);
        assert!(settings_in("View").is_empty());
    }
}
