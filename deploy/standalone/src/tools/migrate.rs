//! `whence migrate`: brings a ClickHouse database to the tables this version needs. Forward only, and
//! harmless when there is nothing to do.

use clap::{Arg, ArgAction, ArgMatches, Command};
use whence_clickhouse_embedded::rights::{Databases, ReaderLimits, script};
use whence_runtime::settings;

use crate::data_dir::OWNER_PASSWORD;
use crate::failure::Failure;
use crate::parts::contact::{Need, contact};
use crate::parts::engine::SCRATCH;
use crate::parts::store;
use crate::settings::{MigrateSettings, load};

const GRANTS: &str = "grants";
/// What a reader may take of a server that others use, too.
const READER: ReaderLimits = ReaderLimits { memory_bytes_max: 2 << 30, seconds_max: 300, queries_max: 8 };

/// `whence migrate`
pub fn command() -> Command {
    let about = "Creates or updates whence's tables in ClickHouse";
    let grants = Arg::new(GRANTS)
        .long(GRANTS)
        .action(ArgAction::SetTrue)
        .help("Print the roles of whence and of its readers as SQL for an administrator, and change nothing");
    settings::command::<MigrateSettings>(Command::new("migrate").about(about)).arg(grants)
}

/// Runs the migrations that have not run.
///
/// # Errors
/// ClickHouse refuses, or the database is another version's.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<MigrateSettings>(flags)?.settings;
    if flags.get_flag(GRANTS) {
        return super::print(&grants(&settings));
    }
    let MigrateSettings { clickhouse, account, answer, data, retention, log: _ } = &settings;
    let servers = super::servers(clickhouse, account, answer, data, OWNER_PASSWORD)?;
    let database = &account.clickhouse_database;
    let prepared = async {
        if let Some(obstacle) =
            contact(&servers, &clickhouse.topology(), Need::Migrate).await.obstacle(&servers)
        {
            return Err(obstacle.into());
        }
        Ok(store::prepare(&servers, clickhouse, retention).await?)
    };
    let ran = super::ask(&settings.log, prepared)?;
    super::print(&match (ran.migrations.len(), ran.views.len()) {
        (0, 0) => format!("{database} is up to date\n"),
        (migrations, views) => {
            format!("{database} is up to date: {migrations} migrations ran, {views} views were made\n")
        }
    })
}

fn grants(settings: &MigrateSettings) -> String {
    let databases =
        Databases { owned: vec![settings.account.clickhouse_database.clone()], scratch: SCRATCH.to_owned() };
    script(&databases, settings.clickhouse.clickhouse_cluster.as_deref(), &READER)
}
