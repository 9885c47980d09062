//! Which registry a process has: the embedded file, or the topic in Kafka.

use std::sync::Arc;

use whence_ingest::registry::embedded::EmbeddedRegistry;
use whence_ingest::registry::{Registry, wall_clock};

use crate::failure::Failure;
use crate::process::Process;

/// Opens the registry of one machine.
///
/// # Errors
/// The file can't be used.
pub async fn embedded(process: &Process) -> Result<Arc<dyn Registry>, Failure> {
    let path = process.data.registry();
    let opened = tokio::task::spawn_blocking(move || EmbeddedRegistry::open(&path, wall_clock())).await;
    let registry = opened.expect("opening the registry does not panic")?;
    let counts = registry.shared().read().counts();
    tracing::info!(
        programs = counts.programs,
        referrers = counts.referrers,
        links = counts.links,
        "registry opened"
    );
    process.health.component("registry").ready();
    Ok(Arc::new(registry))
}
