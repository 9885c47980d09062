//! `whence-loadtest`: see `whence-loadtest --help`.

use clap::Parser as _;
use std::process::ExitCode;
use whence_loadtest::cli::{Cli, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => failed(error.as_ref()),
    }
}

/// The error and everything behind it.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("whence-loadtest: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprintln!("  because: {error}");
        source = error.source();
    }
    ExitCode::from(2)
}
