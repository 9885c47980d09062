//! Programs, referrers and links into ClickHouse's dimension tables, so that reports can name things.
//!
//! Entries come in the order of their versions, and each table gets its own in that order: the newest
//! version in a table says that everything before is there. So nothing else is remembered, a restart goes
//! on where the tables end, and several processes doing the same do no harm (the tables keep the newest
//! row of a name).

use std::sync::Arc;
use std::time::Duration;

use clickhouse::error::Error;
use clickhouse::{Row, RowOwned, RowWrite};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::replicas::Replicas;
use whence_ingest::registry::{Registry, Shared};
use whence_runtime::health::{Component, Health};
use whence_schemas::event::{RegistryEntry, registry_entry::Entry};

use super::follow;
use crate::chain::chain;

whence_metrics::declare! {
    /// Rows put into the dimension tables, by table.
    counter DIMENSION_ROWS: "whence_dimension_rows_total" { table };
}

const INSERT_MAX: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// Changes of this time go together: an insert each would be a part each.
const GATHER: Duration = Duration::from_millis(500);

/// The name of the follower's component in readiness.
pub const COMPONENT: &str = "clickhouse.dimensions";

#[derive(Debug, Row, Serialize)]
struct ProgramRow {
    program: String,
    version: u64,
    changed_at: i64,
    name: String,
    disabled: bool,
}

#[derive(Debug, Row, Serialize)]
struct ReferrerRow {
    program: String,
    referrer: String,
    version: u64,
    changed_at: i64,
    name: String,
    disabled: bool,
}

#[derive(Debug, Row, Serialize)]
struct LinkRow {
    link: String,
    version: u64,
    changed_at: i64,
    program: String,
    referrer: String,
    channel: String,
    destination: String,
    disabled: bool,
}

/// The rows of a page that their tables do not have.
#[derive(Debug, Default)]
struct Page {
    programs: Vec<ProgramRow>,
    referrers: Vec<ReferrerRow>,
    links: Vec<LinkRow>,
}

/// The newest version in each table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watermarks {
    programs: u64,
    referrers: u64,
    links: u64,
}

impl Page {
    fn of(entries: &[Arc<RegistryEntry>], stored: Watermarks) -> Self {
        let mut page = Self::default();
        for entry in entries {
            let (version, changed_at) = (entry.version, entry.changed_at_ms);
            match &entry.entry {
                Some(Entry::Program(program)) if version > stored.programs => {
                    page.programs.push(ProgramRow {
                        program: program.id.clone(),
                        version,
                        changed_at,
                        name: program.name.clone(),
                        disabled: program.disabled,
                    })
                }
                Some(Entry::Referrer(referrer)) if version > stored.referrers => {
                    page.referrers.push(ReferrerRow {
                        program: referrer.program.clone(),
                        referrer: referrer.id.clone(),
                        version,
                        changed_at,
                        name: referrer.name.clone(),
                        disabled: referrer.disabled,
                    });
                }
                Some(Entry::Link(link)) if version > stored.links => page.links.push(LinkRow {
                    link: format!("{}/{}", link.host, link.code),
                    version,
                    changed_at,
                    program: link.program.clone(),
                    referrer: link.referrer.clone(),
                    channel: link.channel.clone(),
                    destination: link.destination.clone(),
                    disabled: link.disabled,
                }),
                _ => {}
            }
        }
        page
    }
}

/// Keeps the dimension tables up to the registry until `stop`.
pub fn start(replicas: &Replicas, registry: &Arc<dyn Registry>, health: &Health, stop: &CancellationToken) {
    let (replicas, registry, stop) = (replicas.clone(), Arc::clone(registry.shared()), stop.clone());
    let component = health.component(COMPONENT);
    tokio::spawn(async move {
        stop.run_until_cancelled(follow_registry(&replicas, &registry, &component)).await;
    });
}

async fn follow_registry(replicas: &Replicas, registry: &Shared, component: &Component) {
    let mut versions = registry.versions();
    let mut backoff = BACKOFF_MIN;
    let mut place = None;
    loop {
        versions.mark_unchanged();
        match catch_up(replicas, registry, &mut place).await {
            Ok(()) => {
                component.ready();
                backoff = BACKOFF_MIN;
                if versions.changed().await.is_err() {
                    return;
                }
                tokio::time::sleep(GATHER).await;
            }
            Err(error) => {
                // What the last insert became is asked of the tables.
                place = None;
                let error = chain(&error);
                tracing::warn!(error, ?backoff, "the dimension tables are behind the registry");
                component.not_ready(error);
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// Stores every entry after `place`, page by page; without a place, after what the tables have.
async fn catch_up(replicas: &Replicas, registry: &Shared, place: &mut Option<u64>) -> Result<(), Error> {
    let stored = match place {
        Some(_) => Watermarks::default(),
        None => watermarks(replicas).await?,
    };
    let mut version = place.unwrap_or(0);
    loop {
        let entries = follow::page(registry, version);
        let Some(newest) = entries.last() else { break };
        let page = Page::of(&entries, stored);
        insert(replicas, "programs", &page.programs).await?;
        insert(replicas, "referrers", &page.referrers).await?;
        insert(replicas, "links", &page.links).await?;
        version = newest.version;
        *place = Some(version);
    }
    *place = Some(version);
    Ok(())
}

/// Of the replica that is asked: where it lags, rows are stored once more, and the newest of a name counts.
async fn watermarks(replicas: &Replicas) -> Result<Watermarks, Error> {
    let newest = async |table: &str| {
        let sql = &format!("SELECT max(version) FROM {table}");
        replicas.call(|client| async move { client.query(sql).fetch_one::<u64>().await }).await
    };
    Ok(Watermarks {
        programs: newest("programs").await?,
        referrers: newest("referrers").await?,
        links: newest("links").await?,
    })
}

async fn insert<R>(replicas: &Replicas, table: &'static str, rows: &[R]) -> Result<(), Error>
where
    R: RowOwned + RowWrite,
{
    if rows.is_empty() {
        return Ok(());
    }
    let stored = replicas.insert(table, |client| {
        // The rows' types are the tables' by the tests; to ask each time would be one more question.
        let client = replicas.for_inserts(client).with_validation(false).with_setting("async_insert", "0");
        async move {
            let mut insert =
                client.insert::<R>(table).await?.with_timeouts(Some(INSERT_MAX), Some(INSERT_MAX));
            for row in rows {
                insert.write(row).await?;
            }
            insert.end().await
        }
    });
    stored.await?;
    metrics::counter!(DIMENSION_ROWS, "table" => table).increment(rows.len() as u64);
    Ok(())
}
