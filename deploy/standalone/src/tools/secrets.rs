//! `whence secrets new FILE`

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::failure::Failure;
use crate::secrets;

/// `whence secrets`
pub fn command() -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf));
    let new = Command::new("new").about("Makes a file with new secrets, for its owner only").arg(file);
    Command::new("secrets")
        .about("Token keys and hashing secrets of a deployment")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(new)
}

/// Makes the file.
///
/// # Errors
/// The file is there already, or can't be written.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let (_, new) = flags.subcommand().expect("clap requires a command");
    let path = new.get_one::<PathBuf>("file").expect("required");
    secrets::create(path)?;
    super::print(&format!("{}\n", path.display()))
}
