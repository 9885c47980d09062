//! Follows the registry page by page: the same for the edge's links and for ClickHouse's dimensions.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use whence_ingest::edge::LinkTable;
use whence_ingest::registry::Shared;
use whence_runtime::health::Component;
use whence_schemas::event::RegistryEntry;

/// Entries of a page: bounds the memory of a follower and how long it holds the registry's lock.
pub const PAGE: usize = 10_000;

/// Entries after `version`, at most a page. Empty: nothing is newer.
pub fn page(registry: &Shared, version: u64) -> Vec<Arc<RegistryEntry>> {
    registry.read().entries_after(version, PAGE)
}

/// Takes all there is into the table, then goes on with what comes, until `stop`. Returns once the table
/// has what the registry has; `component` is ready from then on, or once `is_known`: without its links an
/// edge would call every one of them unknown.
pub fn links(
    registry: &Arc<Shared>,
    mut is_known: watch::Receiver<bool>,
    table: &Arc<LinkTable>,
    component: Component,
    stop: CancellationToken,
) {
    let mut versions = registry.versions();
    let mut version = take_in(registry, table, 0);
    let (registry, table) = (Arc::clone(registry), Arc::clone(table));
    let following = async move {
        if is_known.wait_for(|is_known| *is_known).await.is_err() {
            return;
        }
        loop {
            version = take_in(&registry, &table, version);
            component.ready();
            if versions.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(async move { stop.run_until_cancelled(following).await });
}

fn take_in(registry: &Shared, table: &LinkTable, mut version: u64) -> u64 {
    loop {
        let entries = page(registry, version);
        let Some(newest) = entries.last() else { return version };
        version = newest.version;
        entries.iter().for_each(|entry| table.apply(entry));
    }
}
