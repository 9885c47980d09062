//! `whence ingest`: edge, events API, registry and shipper over Kafka. As many as the traffic needs.

use clap::{ArgMatches, Command};
use whence_runtime::settings;

use crate::failure::Failure;
use crate::parts::ingest;
use crate::process::{self, Process, Role};
use crate::settings::{IngestSettings, load};

/// `whence ingest`
pub fn command() -> Command {
    let about = "Runs edge, events API, registry and shipper over Kafka";
    settings::command::<IngestSettings>(Command::new("ingest").about(about))
}

/// Runs it until it is told to stop.
///
/// # Errors
/// Settings are wrong, or a part can't be started.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let loaded = load::<IngestSettings>(flags)?;
    let settings = loaded.settings;
    let role = Role { name: "ingest", required: Some(ingest::REQUIRED) };
    process::run(role, settings.process.clone(), &loaded.warnings, async |process| {
        serve(&settings, process).await
    })
}

async fn serve(_settings: &IngestSettings, _process: Process) -> Result<(), Failure> {
    Err(Failure::Usage("not yet".into()))
}
