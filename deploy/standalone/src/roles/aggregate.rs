//! `whence aggregate`: a member of the consumer group that writes to ClickHouse. As many as there are
//! partitions, at most.

use clap::{ArgMatches, Command};
use whence_runtime::settings;

use crate::failure::Failure;
use crate::process::{self, Process, Role};
use crate::settings::{AggregateSettings, load};

/// `whence aggregate`
pub fn command() -> Command {
    let about = "Runs an aggregator: from Kafka to ClickHouse";
    settings::command::<AggregateSettings>(Command::new("aggregate").about(about))
}

/// Runs it until it is told to stop.
///
/// # Errors
/// Settings are wrong, or a part can't be started.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let loaded = load::<AggregateSettings>(flags)?;
    let settings = loaded.settings;
    let role = Role { name: "aggregate", required: None };
    process::run(role, settings.process.clone(), &loaded.warnings, async |process| {
        serve(&settings, process).await
    })
}

async fn serve(_settings: &AggregateSettings, _process: Process) -> Result<(), Failure> {
    Err(Failure::Usage("not yet".into()))
}
