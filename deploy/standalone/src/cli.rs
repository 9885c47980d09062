//! The commands, and from an error to an exit code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};
use whence_runtime::private::make_only_private_files;

use crate::chain::chain;
use crate::failure::Failure;
use crate::{process, roles, tools};

/// One command: how it is called and what it does.
pub struct Entry {
    /// Builds its part of the command line.
    pub command: fn() -> Command,
    /// Runs it.
    pub run: fn(&ArgMatches) -> Result<(), Failure>,
}

const ENTRIES: [Entry; 27] = [
    Entry { command: roles::up::command, run: roles::up::run },
    Entry { command: roles::ingest::command, run: roles::ingest::run },
    Entry { command: roles::aggregate::command, run: roles::aggregate::run },
    Entry { command: roles::clickhouse::command, run: roles::clickhouse::run },
    Entry { command: roles::console::command, run: roles::console::run },
    Entry { command: tools::migrate::command, run: tools::migrate::run },
    Entry { command: tools::topics::command, run: tools::topics::run },
    Entry { command: tools::edges::command, run: tools::edges::run },
    Entry { command: tools::import::command, run: tools::import::run },
    Entry { command: tools::report::command, run: tools::report::run },
    Entry { command: tools::verify::command, run: tools::verify::run },
    Entry { command: tools::backup::command, run: tools::backup::run },
    Entry { command: tools::restore::command, run: tools::restore::run },
    Entry { command: tools::lineage::command, run: tools::lineage::run },
    Entry { command: tools::status::command, run: tools::status::run },
    Entry { command: tools::erase::command, run: tools::erase::run },
    Entry { command: tools::replay::command, run: tools::replay::run },
    Entry { command: tools::rewards::command, run: tools::rewards::run },
    Entry { command: tools::payouts::command, run: tools::payouts::run },
    Entry { command: tools::deliveries::command, run: tools::deliveries::run },
    Entry { command: tools::trial::command, run: tools::trial::run },
    Entry { command: tools::secrets::command, run: tools::secrets::run },
    Entry { command: tools::validate::command, run: tools::validate::run },
    Entry { command: tools::settings::command, run: tools::settings::run },
    Entry { command: tools::shell::completions_command, run: tools::shell::completions },
    Entry { command: tools::shell::manual_command, run: tools::shell::manual },
    Entry { command: tools::version::command, run: tools::version::run },
];

/// Parses and runs. Exit codes: 0; 1 for a failure, which is told on standard error; 2 for a wrong call: what is not a command
/// or flag or one of a flag's few words, or lacks one. Another value that can't be, and a flag that is given twice, are failures.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    make_only_private_files();
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if is_of_value(&error) => {
            // If standard error is gone there is nobody to tell.
            let _ = error.print();
            return ExitCode::FAILURE;
        }
        Err(error) => error.exit(),
    };
    let (name, flags) = matches.subcommand().expect("clap requires a command");
    let entry = ENTRIES.iter().find(|entry| (entry.command)().get_name() == name);
    match (entry.expect("clap knows these commands only").run)(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If standard error is gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "whence {name}: {}", chain(&failure));
            match failure {
                Failure::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Whether the call is one that could be, with another value or each flag once.
fn is_of_value(error: &clap::Error) -> bool {
    match error.kind() {
        ErrorKind::ValueValidation => true,
        // One of a flag's few words is as much of the call as its name; what is asked for by its name, such as a report, is not.
        ErrorKind::InvalidValue => {
            let text = |context| match error.get(context) {
                Some(ContextValue::String(text)) => text.as_str(),
                _ => "",
            };
            let has_words = matches!(error.get(ContextKind::ValidValue), Some(ContextValue::Strings(words)) if !words.is_empty());
            !(has_words && text(ContextKind::InvalidArg).starts_with('-'))
        }
        ErrorKind::ArgumentConflict => {
            let flag = error.get(ContextKind::InvalidArg);
            flag.is_some() && flag == error.get(ContextKind::PriorArg)
        }
        _ => false,
    }
}

/// The whole command line.
pub fn command() -> Command {
    Command::new("whence")
        .about(
            "From what place, from whom: referral links, leads and qualifications, proven to the last click",
        )
        .version(process::VERSION)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(ENTRIES.iter().map(|entry| (entry.command)()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_no_setting_is_declared_twice() {
        command().debug_assert();
        assert!(!crate::settings::catalogue().rows().is_empty());
    }
}
