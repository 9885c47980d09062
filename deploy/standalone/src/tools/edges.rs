//! `whence edges`: takes an edge out of what completeness waits for.

use clap::{Arg, ArgMatches, Command};
use whence_ingest::edges::EdgeTopic;
use whence_runtime::settings;

use crate::failure::Failure;
use crate::settings::{EdgesSettings, load};

/// `whence edges`
pub fn command() -> Command {
    let name = Arg::new("name")
        .value_name("NAME")
        .required(true)
        .num_args(1..=100)
        .help("The edge, as the view completeness names it and the file edge-name of its folder");
    let about = "Declares an edge gone for good, with whatever its journals still hold: nothing waits for it any more";
    let retire = settings::command::<EdgesSettings>(Command::new("retire").about(about)).arg(name);
    Command::new("edges")
        .about("Edges that completeness waits for")
        .subcommand_required(true)
        .subcommand(retire)
}

/// Says it to Kafka.
///
/// # Errors
/// Kafka does not take it.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let (_, flags) = flags.subcommand().expect("clap requires a command");
    let settings = load::<EdgesSettings>(flags)?.settings;
    let cluster = settings.kafka.cluster().expect("the settings were checked for brokers");
    let names: Vec<String> = flags.get_many::<String>("name").into_iter().flatten().cloned().collect();
    super::ask(&settings.log, async {
        let topic = EdgeTopic::new(&cluster)?;
        for name in &names {
            topic.retire(name).await?;
        }
        Ok(())
    })?;
    let told: Vec<String> = names.iter().map(|name| format!("{name} is retired\n")).collect();
    super::print(&told.concat())
}
