//! `whence payouts export` and `whence payouts mark`: what is to be paid as a file or as webhooks, and the same file as paid.

mod approved;
mod export;
mod file;
mod mark;
mod webhook;

use clap::{ArgMatches, Command};

use crate::failure::Failure;

/// `whence payouts`
pub fn command() -> Command {
    Command::new("payouts")
        .about("Exports approved rewards, and marks them as paid from the same file")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([export::command(), mark::command()])
}

/// Runs one of them.
///
/// # Errors
/// The command's.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    match flags.subcommand().expect("clap requires a command") {
        ("export", flags) => export::run(flags),
        (_, flags) => mark::run(flags),
    }
}
