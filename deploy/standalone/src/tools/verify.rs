//! `whence verify`: whether what is stored adds up, and where it does not.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Command};
use whence_aggregator::account::deep;
use whence_runtime::settings;
use whence_schemas::time;

use crate::data_dir::OWNER_PASSWORD;
use crate::failure::Failure;
use crate::parts::account::PositionSource;
use crate::parts::replicas::for_a_person;
use crate::settings::{VerifySettings, load};

/// `whence verify`
pub fn command() -> Command {
    let about =
        "Holds ClickHouse's tables against the account of what was stored; ends with 1 where they differ";
    let deep = Arg::new("deep")
        .long("deep")
        .action(ArgAction::SetTrue)
        .help("Read the positions of all rows, too, and name records that stand in no row or in several");
    let month = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("MONTH")
            .requires("deep")
            .value_parser(|text: &str| {
                let first = time::parse(&format!("{text}-01T00:00:00Z"));
                first.map(time::UnixMs::month).ok_or("expected a month such as 2026-01")
            })
            .help(help)
    };
    let from = month("from", "With --deep: the first month to read");
    let to = month("to", "With --deep: the last month to read");
    settings::command::<VerifySettings>(Command::new("verify").about(about)).args([deep, from, to])
}

/// Looks and says.
///
/// # Errors
/// ClickHouse does not answer, or something does not add up.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<VerifySettings>(flags)?.settings;
    let servers = super::servers(
        &settings.clickhouse,
        &settings.account,
        &settings.answer,
        &settings.data,
        OWNER_PASSWORD,
    )?;
    let replicas = for_a_person(&servers, &settings.clickhouse);
    let places = match settings.kafka.cluster() {
        Some(cluster) => PositionSource::Group(Box::new(settings.kafka.group(&cluster))),
        None => PositionSource::Journals(settings.data.data.join("journal")),
    };
    let month = |name: &str, default: u32| flags.get_one::<u32>(name).copied().unwrap_or(default);
    let months = (month("from", 0), month("to", u32::MAX));
    if months.0 > months.1 {
        return Err(Failure::Usage("--from is after --to: no month would be read".into()));
    }
    let (committed, found) = super::ask(&settings.log, async {
        let (committed, mut found) = places.compare(&replicas).await?;
        if flags.get_flag("deep") {
            found.extend(replicas.call(|client| async move { deep(&client, months).await }).await?);
            found.sort();
            found.dedup();
        }
        Ok((committed, found))
    })?;
    let mut text = String::new();
    for difference in &found {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{difference}");
    }
    let partitions: BTreeSet<_> = committed.iter().map(|place| (&place.stream, place.partition)).collect();
    let partitions = partitions.len();
    let _ = match found.len() {
        0 => writeln!(text, "what is stored adds up; the places of {partitions} partitions were compared"),
        count => writeln!(text, "{count} differences"),
    };
    super::print(&text)?;
    match found.len() {
        0 => Ok(()),
        count => Err(Failure::Differs(count)),
    }
}
