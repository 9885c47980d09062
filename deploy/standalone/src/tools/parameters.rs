//! Parameters of tools that ask, each read here alone: what can't be is refused by its name, and what is not known is told
//! instead of answered with nothing.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, value_parser};
use clickhouse::Client;
use whence_console::known;
use whence_console::reports;
use whence_schemas::ids::ProgramId;
use whence_schemas::time::UnixMs;

use crate::failure::Failure;

/// A text that says something.
pub fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).value_parser(NonEmptyStringValueParser::new()).help(help)
}

/// `--referrer`
pub fn referrer(help: &'static str) -> Arg {
    text("referrer", "ID", help)
}

/// A bound: a day that there is.
pub fn day(name: &'static str, help: &'static str) -> Arg {
    let read = |text: &str| reports::day(text).ok_or("expected a day that there is, such as 2026-01-31");
    Arg::new(name).long(name).value_name("DAY").value_parser(read).help(help)
}

/// `--as-of`
pub fn as_of(help: &'static str) -> Arg {
    let read =
        |text: &str| reports::as_of(text).ok_or("expected a time such as 2026-01-31T12:00:00Z, or a day");
    Arg::new("as-of").long("as-of").value_name("TIME").value_parser(read).help(help)
}

/// `--limit`
pub fn limit(default: &'static str, max: u32, help: &'static str) -> Arg {
    let range = value_parser!(u32).range(1..=i64::from(max));
    Arg::new("limit").long("limit").value_name("NUMBER").default_value(default).value_parser(range).help(help)
}

/// The days from and to, in order.
///
/// # Errors
/// The span ends before it begins.
pub fn span(flags: &clap::ArgMatches) -> Result<(Option<UnixMs>, Option<UnixMs>), Failure> {
    let day = |name: &str| flags.get_one::<UnixMs>(name).copied();
    match (day("from"), day("to")) {
        (Some(from), Some(to)) if from > to => {
            Err(Failure::Failed("--from must be no later than --to".to_owned()))
        }
        span => Ok(span),
    }
}

/// The program of this name, which need not exist.
///
/// # Errors
/// No program has such a name.
pub fn program(name: &str) -> Result<ProgramId, Failure> {
    name.parse().map_err(|error| Failure::Failed(format!("the program {error}")))
}

/// Refuses a program that nothing is stored about, and a referrer that nothing of the program's is about.
///
/// # Errors
/// They are not known, or ClickHouse does not answer.
pub async fn known(client: &Client, program: &str, referrer: Option<&str>) -> Result<(), Failure> {
    if !known::program(client, program).await? {
        let text = format!(
            "there is no program {program:?}, and no fact of one: look at its name, and at --data or --clickhouse-url"
        );
        return Err(Failure::Failed(text));
    }
    match referrer {
        Some(referrer) if !known::referrer(client, program, referrer).await? => Err(Failure::Failed(
            format!("the program {program:?} has no referrer {referrer:?}, and no fact of one"),
        )),
        _ => Ok(()),
    }
}

/// Says on standard error that an answer was cut, and how to go on.
pub fn tell_rest(rest: u64, after: impl std::fmt::Display) {
    tell(&format!("{rest} more: --after {after}"));
}

/// Says something on standard error. If it is gone there is nobody to tell.
pub fn tell(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
