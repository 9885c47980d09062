//! `whence settings`: the table of all settings, as it stands in the README.

use clap::{ArgMatches, Command};
use whence_runtime::settings::markdown;

use crate::failure::Failure;
use crate::settings::catalogue;

/// `whence settings`
pub fn command() -> Command {
    Command::new("settings").about("Prints every setting with its default, as Markdown")
}

/// Prints the table.
///
/// # Errors
/// Standard output is gone.
pub fn run(_flags: &ArgMatches) -> Result<(), Failure> {
    super::print(&markdown(catalogue().rows()))
}
