//! Brings a ClickHouse database to the tables this version needs. Forward only.
//!
//! Every statement may run twice (a table or view that is there already is as it should be, since its
//! file's checksum is; rows that are there are not inserted again), so that two processes that start at once, or one that died half-way, do no harm.

use clickhouse::{Client, Row, error::Error};
use serde::Deserialize;
use whence_schemas::sql::{MIGRATIONS, Topology};

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

/// Creates the database where it is missing and runs what has not run yet; returns the numbers that ran.
pub async fn migrate(client: &Client, database: &str, topology: &Topology) -> Result<Vec<u32>, MigrateError> {
    let on_cluster = match topology {
        Topology::Single => String::new(),
        Topology::Cluster { name } => format!(" ON CLUSTER `{name}`"),
    };
    // The server refuses a query in a database that does not exist yet.
    let bare = client.clone().with_database("default");
    // Looked for first: an account that may not make databases is one less door.
    let there = bare.query("SELECT count() FROM system.databases WHERE name = {name:String}");
    let failed = |source| MigrateError::ClickHouse { what: "the database".into(), source };
    if there.param("name", database).fetch_one::<u64>().await.map_err(failed)? == 0 {
        run(&bare, "the database", &format!("CREATE DATABASE IF NOT EXISTS `{database}`{on_cluster}"))
            .await?;
    }
    let engine = match topology {
        Topology::Single => "ReplacingMergeTree".to_owned(),
        Topology::Cluster { .. } => {
            "ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')".to_owned()
        }
    };
    let table = format!(
        "CREATE TABLE IF NOT EXISTS whence_migrations{on_cluster} \
         (number UInt32, name String, checksum String, applied_at DateTime DEFAULT now()) \
         ENGINE = {engine} ORDER BY number"
    );
    run(client, "the list of migrations", &table).await?;
    let applied = applied(client).await?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.number);
    if let Some(newer) = applied.iter().map(|row| row.number).max().filter(|number| *number > known) {
        return Err(MigrateError::Newer { found: newer, known });
    }

    let mut ran = Vec::new();
    for migration in MIGRATIONS {
        let checksum = migration.checksum();
        match applied.iter().find(|row| row.number == migration.number) {
            Some(row) if row.checksum == checksum => continue,
            Some(_) => return Err(MigrateError::Changed { number: migration.number, name: migration.name }),
            None => {}
        }
        for statement in migration.statements(topology) {
            run(client, &format!("migration {} ({})", migration.number, migration.name), &statement).await?;
        }
        let done = format!(
            "INSERT INTO whence_migrations (number, name, checksum) VALUES ({}, '{}', '{checksum}')",
            migration.number, migration.name
        );
        run(client, "the list of migrations", &done).await?;
        ran.push(migration.number);
    }
    Ok(ran)
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
}

impl TableSettings {
    /// [`Self::blocks_remembered`] of a single server: nine hours of three partitions that write a block a second.
    pub const BLOCKS_REMEMBERED: u64 = 100_000;
    /// The same of a cluster, whose tokens are in Keeper.
    pub const BLOCKS_REMEMBERED_CLUSTER: u64 = 10_000;
    /// Seconds after which a cluster forgets a token in any case: a week.
    const CLUSTER_FORGETS_AFTER: u64 = 7 * 24 * 60 * 60;
}

/// Makes the tables as they are to be.
pub async fn set_tables(
    client: &Client,
    topology: &Topology,
    settings: TableSettings,
) -> Result<(), MigrateError> {
    const TABLES: [&str; 22] = [
        "blocks",
        "clicks",
        "leads",
        "qualifications",
        "disqualifications",
        "identifies",
        "participants",
        "shares",
        "erasures",
        "subject_keys",
        "click_evidence",
        "rejects",
        "funnel_hourly",
        "funnel_daily",
        "reward_terms",
        "rewards",
        "reward_events",
        "rewards_daily",
        "rewards_due",
        "outbound_messages",
        "deliveries",
        "delivery_checkpoints",
    ];
    let on_cluster = match topology {
        Topology::Single => String::new(),
        Topology::Cluster { name } => format!(" ON CLUSTER `{name}`"),
    };
    let (on, blocks) = (u8::from(settings.sync), settings.blocks_remembered);
    let window = match topology {
        Topology::Single => format!("non_replicated_deduplication_window = {blocks}"),
        Topology::Cluster { .. } => format!(
            "replicated_deduplication_window = {blocks}, replicated_deduplication_window_seconds = {}",
            TableSettings::CLUSTER_FORGETS_AFTER
        ),
    };
    for table in TABLES {
        let sql = format!(
            "ALTER TABLE {table}{on_cluster} MODIFY SETTING fsync_after_insert = {on}, fsync_part_directory = {on}, {window}"
        );
        run(client, "settings of the tables", &sql).await?;
    }
    Ok(())
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
