//! `whence validate`: loads the settings of a role and prints them as they apply, or all that is wrong.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use whence_runtime::settings::{self, Loaded};

use super::table::{Align, Table};
use crate::failure::Failure;
use crate::settings::{
    AggregateSettings, ClickHouseRoleSettings, ConsoleRoleSettings, IngestSettings, MigrateSettings,
    TopicsSettings, UpSettings, load,
};

const ROLES: [&str; 7] = ["up", "ingest", "aggregate", "clickhouse", "console", "migrate", "topics"];

whence_runtime::compose! {
    /// Every flag of every role.
    struct Every {
        up: UpSettings,
        ingest: IngestSettings,
        aggregate: AggregateSettings,
    }
}

/// `whence validate`
pub fn command() -> Command {
    let role = Arg::new("role")
        .value_name("ROLE")
        .default_value("up")
        .value_parser(PossibleValuesParser::new(ROLES))
        .help("The command whose settings are checked");
    let about = "Checks settings and prints them as they apply, secrets masked";
    settings::command::<Every>(Command::new("validate").about(about)).arg(role)
}

/// Checks and prints.
///
/// # Errors
/// Every mistake there is.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let role = flags.get_one::<String>("role").expect("has a default");
    let text = match role.as_str() {
        "up" => shown(&load::<UpSettings>(flags)?),
        "ingest" => shown(&load::<IngestSettings>(flags)?),
        "aggregate" => shown(&load::<AggregateSettings>(flags)?),
        "clickhouse" => shown(&load::<ClickHouseRoleSettings>(flags)?),
        "console" => shown(&load::<ConsoleRoleSettings>(flags)?),
        "migrate" => shown(&load::<MigrateSettings>(flags)?),
        _ => shown(&load::<TopicsSettings>(flags)?),
    };
    super::print(&text)
}

fn shown<G>(loaded: &Loaded<G>) -> String {
    let mut table = Table::new(&[("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)]);
    for setting in &loaded.effective {
        table.row(vec![setting.name.clone(), setting.value.clone(), setting.origin.to_string()]);
    }
    let warnings: String = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    format!("{table}{warnings}")
}

#[cfg(test)]
mod tests {
    use whence_runtime::settings::{Catalogue, Group};

    use super::*;

    #[test]
    fn every_flag_of_every_role_can_be_validated() {
        let known = Catalogue::default().with::<Every>();
        let roles = Catalogue::default()
            .with::<ClickHouseRoleSettings>()
            .with::<MigrateSettings>()
            .with::<TopicsSettings>();
        for row in roles.rows() {
            assert!(known.rows().contains(row), "{}", row.name);
        }
        assert_eq!(Every::rows().len(), known.rows().len());
    }
}
