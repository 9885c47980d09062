//! The clap side: flags with the same names, help texts and defaults as the rows.
//!
//! Values are taken as text and parsed by [`load`](super::load), so that a wrong flag is reported together
//! with a wrong variable and a wrong key. The environment is not clap's to read either.

use clap::{Arg, ArgAction, Command};

use super::group::Group;
use super::row::{Fallback, Row};

/// `command` with the flags of a group, and `--config`.
pub fn command<G: Group>(command: Command) -> Command {
    command.args(args::<G>()).arg(config())
}

/// The flags of a group, under their groups' headings.
pub fn args<G: Group>() -> Vec<Arg> {
    G::rows().iter().map(arg).collect()
}

fn arg(row: &Row) -> Arg {
    // A secret's value never stands on a command line; a file's name does.
    let (name, placeholder) = match row.file_name() {
        Some(file_name) => (file_name, "PATH"),
        None => (row.name.clone(), row.placeholder),
    };
    let subject = if row.secret { "File with the secret: " } else { "" };
    let note = match row.fallback {
        Fallback::Text("") | Fallback::Unset => String::new(),
        Fallback::Text(text) => format!(" [default: {text}]"),
        Fallback::Required => " [required]".to_owned(),
    };
    let sources = if row.secret {
        format!("Variables: {} or {}_FILE", row.variable(), row.variable())
    } else {
        format!("Variable: {}", row.variable())
    };
    let arg = Arg::new(name.clone())
        .long(name)
        .value_name(placeholder)
        .help(format!("{subject}{}{note}", row.summary()))
        .long_help(format!("{subject}{}{note}\n\n{sources}", row.help))
        .help_heading(row.group.clone());
    match (row.list, row.switch) {
        (true, _) => arg.action(ArgAction::Append),
        (_, true) => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg,
    }
}

fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("PATH")
        .help("TOML file with any of these settings, `name = value` (flags and variables win over it)")
        .long_help(
            "TOML file with any of these settings, one `name = value` line each, without sections.\n\
             Flags win over variables, variables over the file.\n\nVariable: WHENCE_CONFIG",
        )
}
