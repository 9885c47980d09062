//! `whence version`

use clap::{ArgMatches, Command};

use crate::failure::Failure;
use crate::process::{REVISION, VERSION};

/// `whence version`
pub fn command() -> Command {
    Command::new("version").about("Prints version and commit")
}

/// Prints it.
///
/// # Errors
/// Standard output is gone.
pub fn run(_flags: &ArgMatches) -> Result<(), Failure> {
    super::print(&format!("whence {VERSION} ({REVISION})\n"))
}
