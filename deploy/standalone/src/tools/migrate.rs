//! `whence migrate`: brings a ClickHouse database to the tables this version needs. Forward only, and
//! harmless when there is nothing to do.

use clap::{ArgMatches, Command};
use whence_runtime::settings;

use crate::failure::Failure;
use crate::parts::store;
use crate::settings::{MigrateSettings, load};

/// `whence migrate`
pub fn command() -> Command {
    let about = "Creates or updates whence's tables in ClickHouse";
    settings::command::<MigrateSettings>(Command::new("migrate").about(about))
}

/// Runs the migrations that have not run.
///
/// # Errors
/// ClickHouse refuses, or the database is another version's.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<MigrateSettings>(flags)?.settings;
    let url = super::clickhouse_url(&settings.clickhouse, &settings.data);
    let client = store::client(&url, &settings.clickhouse, &settings.account);
    let ran = super::ask(&settings.log, async { Ok(store::prepare(&client, &settings.clickhouse).await?) })?;
    let database = &settings.clickhouse.clickhouse_database;
    super::print(&match ran.len() {
        0 => format!("{database} is up to date\n"),
        count => format!("{database} is up to date, {count} migrations ran\n"),
    })
}
