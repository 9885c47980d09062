//! The tools: commands that do one thing and end.

pub mod migrate;
pub mod report;
pub mod secrets;
pub mod settings;
mod table;
pub mod topics;
pub mod validate;
pub mod version;

use std::io::{self, Write};

use whence_runtime::telemetry::{LogSettings, start_logs};

use crate::addresses;
use crate::failure::Failure;
use crate::settings::{ClickHouseSettings, DataSettings};

/// Where the embedded ClickHouse is when nothing says otherwise.
const ENGINE_DEFAULT: &str = "http://127.0.0.1:8123";

/// Writes an answer to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `whence report … | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Failure::Output),
    }
}

/// Runs a tool's question on a small runtime, with logs.
fn ask<T>(log: &LogSettings, question: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    start_logs(log)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Process)?;
    runtime.block_on(question)
}

/// ClickHouse's address: the given one, or what the process of the data folder has noted.
fn clickhouse_url(clickhouse: &ClickHouseSettings, data: &DataSettings) -> String {
    let noted = || addresses::read(&data.data.join("addresses.json"))?.clickhouse;
    clickhouse.clickhouse_url.clone().or_else(noted).unwrap_or_else(|| ENGINE_DEFAULT.to_owned())
}
