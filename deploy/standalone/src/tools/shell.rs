//! `whence completions` and `whence manual`: what shells and `man` know of the commands, made of their declarations.

use std::fs;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::failure::Failure;

/// `whence completions`
pub fn completions_command() -> Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell));
    Command::new("completions")
        .about("Prints what a shell completes commands and flags with")
        .arg(shell.help("Your shell"))
        .after_help("bash: whence completions bash > ~/.local/share/bash-completion/completions/whence")
}

/// Prints them.
///
/// # Errors
/// Standard output is gone.
pub fn completions(flags: &ArgMatches) -> Result<(), Failure> {
    let shell = *flags.get_one::<Shell>("shell").expect("required");
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(), "whence", &mut text);
    super::print(&String::from_utf8(text).expect("clap writes text"))
}

/// `whence manual`
pub fn manual_command() -> Command {
    let folder = Arg::new("folder").value_name("FOLDER").required(true).value_parser(value_parser!(PathBuf));
    Command::new("manual")
        .about("Writes a man page of whence and one of each command into a folder, such as .../man/man1")
        .arg(folder.help("Where; it is made if it is not there"))
}

/// Writes them.
///
/// # Errors
/// The folder can't be written.
pub fn manual(flags: &ArgMatches) -> Result<(), Failure> {
    let folder = flags.get_one::<PathBuf>("folder").expect("required");
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |source| Failure::File { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    clap_mangen::generate_to(crate::cli::command(), folder).map_err(failed(folder))
}
