//! The one binary: `whence up` runs everything on one machine, other commands run one role each, and a
//! few tools look after what they need.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | the commands, and from an error to an exit code |
//! | [`settings`] | every setting, in groups |
//! | [`process`] | what every role has: folder, signals, health, operator's port, an end in stages |
//! | [`roles`] | `up`, `ingest`, `aggregate`, `clickhouse`, `console`: which parts run together |
//! | [`parts`] | one part each: glue between a crate and its surroundings |
//! | [`tools`] | `migrate`, `topics`, `import`, `report`, `lineage`, `status`, `verify`, `backup`, `restore`, `replay`, `try`, `secrets`, `validate`, … |
//! | [`backup`] | a copy of a data folder, while its process works or not, and back |
//! | [`data_dir`], [`secrets`], [`addresses`] | files of a process |
//!
//! Architecture invariant: no logic of whence is here. What a click, a lead or a block is, is decided in
//! the crates below; here they are given settings and started and stopped in the right order.

mod addresses;
mod backup;
mod call;
mod chain;
mod cli;
mod data_dir;
mod descriptors;
mod failure;
#[cfg(test)]
mod page_of_metrics;
mod parts;
mod process;
mod roles;
mod secrets;
mod settings;
mod tools;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A file that may not grow (RLIMIT_FSIZE) is an error to answer, like a full disk, and no death.
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    cli::main(std::env::args_os())
}
