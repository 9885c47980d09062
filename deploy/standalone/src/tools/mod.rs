//! The tools: commands that do one thing and end.

pub mod backup;
pub mod deliveries;
pub mod edges;
mod endpoint_sender;
pub mod erase;
pub mod import;
pub mod lineage;
pub mod migrate;
mod parameters;
pub mod payouts;
pub mod replay;
pub mod report;
pub mod restore;
mod reward_ledger;
pub mod rewards;
pub mod secrets;
mod sending;
pub mod settings;
pub mod shell;
mod spreadsheet;
pub mod status;
mod table;
pub mod topics;
pub mod trial;
pub mod validate;
pub mod verify;
pub mod version;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use secrecy::{ExposeSecret, SecretString};
use whence_aggregator::servers::{AnswerTimeout, ServerUrl, Servers};
use whence_clickhouse_embedded::{Account, passwords};
use whence_ingest::api::admin_key;
use whence_runtime::telemetry::{LogSettings, start_logs};

use crate::addresses::{self, Addresses};
use crate::data_dir;
use crate::data_dir::READER_PASSWORD;
use crate::failure::Failure;
use crate::parts::accounts;
use crate::parts::store;
use crate::secrets::{Secrets, load};
use crate::settings::{
    AccountSettings, AnswerSettings, CallSettings, ClickHouseSettings, DataSettings, SecretsSettings,
};

/// Where the embedded ClickHouse is when nothing says otherwise.
const ENGINE_DEFAULT: &str = "http://127.0.0.1:8123";
/// How long a person waits for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(300);

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

/// ClickHouse's addresses: the given ones, or what the process of the data folder has noted.
fn clickhouse_urls(clickhouse: &ClickHouseSettings, data: &DataSettings) -> Vec<ServerUrl> {
    if !clickhouse.clickhouse_url.is_empty() {
        return clickhouse.clickhouse_url.clone();
    }
    let noted = addresses::read(&data.data.join("addresses.json")).and_then(|noted| noted.clickhouse);
    let noted = noted.unwrap_or_else(|| ENGINE_DEFAULT.to_owned());
    let urls: Result<Vec<ServerUrl>, _> = noted.split(',').map(str::parse).collect();
    urls.unwrap_or_else(|_| vec![ENGINE_DEFAULT.parse().expect("it is an address")])
}

/// A client for questions that change nothing.
fn reader(
    clickhouse: &ClickHouseSettings,
    account: &AccountSettings,
    answer: &AnswerSettings,
    data: &DataSettings,
) -> Result<Client, Failure> {
    let client = client(clickhouse, account, answer, data, READER_PASSWORD)?;
    Ok(whence_console::ask::reader(client, answer.answer_timeout))
}

/// A client with the given account, or with one of the folder's embedded engine: the owner's or the
/// reader's, by the file with its password.
fn client(
    clickhouse: &ClickHouseSettings,
    account: &AccountSettings,
    answer: &AnswerSettings,
    data: &DataSettings,
    password_file: &str,
) -> Result<Client, Failure> {
    Ok(servers(clickhouse, account, answer, data, password_file)?.any())
}

/// The servers of that client.
fn servers(
    clickhouse: &ClickHouseSettings,
    account: &AccountSettings,
    answer: &AnswerSettings,
    data: &DataSettings,
    password_file: &str,
) -> Result<Servers, Failure> {
    let mut login = accounts::given(account, &clickhouse.clickhouse_url);
    let kept = data.data.join(password_file);
    if clickhouse.clickhouse_url.is_empty() && login.password.is_none() && kept.exists() {
        login.password = Some(passwords::read(&kept)?);
        if password_file == READER_PASSWORD {
            Account::READER.clone_into(&mut login.user);
        }
    }
    let servers = store::servers(clickhouse_urls(clickhouse, data), login, clickhouse)?;
    let after = answer.answer_timeout;
    let tell = Arc::new(move |url: &ServerUrl, silent: Duration| {
        let (silent, after) = (silent.as_secs(), after.as_secs());
        eprintln!(
            "whence: waiting for ClickHouse at {url}: silent for {silent} s (--answer-timeout {after}s)"
        );
    });
    Ok(servers.with_timeout(AnswerTimeout { after, tell }))
}

/// Where a part answers: the given address, or what the process of the data folder has noted.
fn address(
    given: Option<&String>,
    flag: &str,
    data: &DataSettings,
    noted: fn(Addresses) -> Option<String>,
) -> Result<String, Failure> {
    let own = || addresses::read(&data.data.join("addresses.json")).and_then(noted);
    given.cloned().or_else(own).ok_or_else(|| {
        let folder = data.data.display();
        Failure::Failed(format!("no whence runs in {folder}: start `whence up`, or give --{flag}"))
    })
}

/// The given API key, or the folder's admin key.
fn api_key(call: &CallSettings, data: &DataSettings) -> Result<SecretString, Failure> {
    if let Some(key) = &call.api_key {
        return Ok(key.expose_secret().into());
    }
    Ok(admin_key::read_admin_key(&data.data)?)
}

/// The given secrets, or those of the data folder. None are made here: they would hash differently.
fn secrets(settings: &SecretsSettings, data: &DataSettings) -> Result<Secrets, Failure> {
    let own = || data.data.join(data_dir::SECRETS);
    Ok(load(&settings.secrets_file.clone().unwrap_or_else(own))?)
}
