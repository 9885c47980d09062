//! The embedded ClickHouse as a child process: this same binary as `whence clickhouse`.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use whence_clickhouse_embedded::library::{self, NoEngine};
use whence_clickhouse_embedded::supervise::{SuperviseError, Supervisor, SupervisorLimits};
use whence_runtime::health::Component;
use whence_runtime::settings::{Effective, Group};
use whence_runtime::site::SiteSettings;
use whence_runtime::telemetry::LogSettings;

use crate::chain::chain;
use crate::failure::Failure;
use crate::settings::{AccountSettings, EngineSettings};

use super::accounts::Embedded;

/// The child's hidden flag: it runs under a supervisor that has the folder's lock and the operator's port.
pub const SUPERVISED: &str = "supervised";

/// The hidden flag of a child that loads the library, says what is wrong with it, and ends.
pub const PROBE: &str = "probe";

/// The database in which the reader may make tables.
pub const SCRATCH: &str = "scratch";

/// The very file that runs, also after an upgrade has put another one in its place.
const THIS_PROGRAM: &str = "/proc/self/exe";
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How long the address may be taken: the engine of a predecessor that was killed holds it until the
/// system has taken its memory back.
const ADDRESS_TRIES: u32 = 8;

/// Where the engine library is.
///
/// # Errors
/// [`NoEngine`]: the library is not there.
pub fn library(settings: &EngineSettings) -> Result<PathBuf, NoEngine> {
    match &settings.clickhouse_engine {
        Some(path) if path.is_file() => Ok(path.clone()),
        Some(path) => Err(NoEngine { path: path.clone() }),
        None => library::find(),
    }
}

/// Whether the library is an engine, tried in a process of its own.
///
/// # Errors
/// It can't be loaded.
pub async fn probe(library: &Path) -> Result<(), Failure> {
    let mut command = Command::new(THIS_PROGRAM);
    without_settings(&mut command);
    command.arg0("whence").args(["clickhouse", "--probe", "--clickhouse-engine"]).arg(library);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let ended = tokio::process::Command::from(command).output().await.map_err(Failure::Process)?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().last().unwrap_or("it ended without a word");
    let why = said.trim_start_matches("whence clickhouse: ").to_owned();
    Err(Failure::BadEngine { path: library.to_owned(), why })
}

/// The child's settings are its flags, all of them; what else is set is this process's.
fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
}

/// How the child is called.
#[derive(Debug)]
pub struct Call {
    library: PathBuf,
    arguments: Vec<OsString>,
    accounts: Embedded,
}

impl Call {
    /// A child with this process's settings, whatever they came from.
    ///
    /// # Errors
    /// The library is not there.
    pub fn new(
        data: PathBuf,
        settings: &EngineSettings,
        accounts: Embedded,
        effective: &[Effective],
    ) -> Result<Self, NoEngine> {
        let supervised = format!("--{SUPERVISED}");
        let mut arguments: Vec<OsString> = vec!["clickhouse".into(), supervised.into(), "--data".into()];
        arguments.push(data.into());
        arguments.push("--clickhouse-engine".into());
        let library = library(settings)?;
        arguments.push(library.clone().into());
        arguments.extend(flags(effective).into_iter().map(OsString::from));
        Ok(Self { library, arguments, accounts })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(THIS_PROGRAM);
        command.arg0("whence");
        without_settings(&mut command);
        let Embedded { owner, reader } = &self.accounts;
        command.env("WHENCE_CLICKHOUSE_PASSWORD", owner.password.expose_secret());
        command.env("WHENCE_CLICKHOUSE_READER_PASSWORD", reader.password.expose_secret());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        // Ctrl-C in a terminal goes to a process group: the engine is to be stopped last, by its parent.
        command.process_group(0);
        command
    }
}

fn is_setting(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("WHENCE_"))
}

/// The settings that the child has, as flags. Secrets and what has no value stay away.
fn flags(effective: &[Effective]) -> Vec<String> {
    let groups =
        [EngineSettings::rows(), AccountSettings::rows(), SiteSettings::rows(), LogSettings::rows()].concat();
    let rows = groups.iter().filter(|row| !row.secret && row.name != "clickhouse-engine");
    rows.filter_map(|row| effective.iter().find(|setting| setting.name == row.name))
        .map(|setting| format!("--{}={}", setting.name, setting.value))
        .collect()
}

/// Starts the engine and waits until it answers. A start that fails is repeated, for the rest of the
/// process goes on without it; `component` says why.
///
/// # Errors
/// The address is taken, and stays so, or the library is not an engine.
pub async fn start(
    call: Arc<Call>,
    settings: &EngineSettings,
    stop_max: Duration,
    component: &Component,
) -> Result<Supervisor, Failure> {
    let mut backoff = BACKOFF_MIN;
    let mut refusals = 0;
    loop {
        let limits = SupervisorLimits { stop_max, ..SupervisorLimits::default() };
        let child = Arc::clone(&call);
        match Supervisor::start(settings.clickhouse_listen, move || child.command(), limits).await {
            Ok(supervisor) => return Ok(supervisor),
            Err(error @ SuperviseError::Listen { .. }) => {
                refusals += 1;
                if refusals == ADDRESS_TRIES {
                    return Err(error.into());
                }
                tokio::time::sleep(BACKOFF_MIN).await;
                continue;
            }
            Err(error) => {
                if matches!(error, SuperviseError::Ended(_)) {
                    probe(&call.library).await?;
                }
                let error = chain(&error);
                tracing::error!(error, ?backoff, "the engine does not start");
                component.not_ready(error);
            }
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

#[cfg(test)]
mod tests {
    use whence_runtime::settings::Origin;

    use super::*;

    #[test]
    fn the_child_is_given_the_engines_settings_and_no_secret() {
        let setting = |name: &str, value: &str| Effective {
            name: name.to_owned(),
            value: value.to_owned(),
            origin: Origin::Default,
        };
        let effective = [
            setting("clickhouse-memory-max", "1GiB"),
            setting("clickhouse-password", "(secret)"),
            setting("clickhouse-engine", "/other"),
            setting("clickhouse-user", "ann"),
            setting("edge-listen", "127.0.0.1:1"),
            setting("log", "warn"),
        ];
        assert_eq!(
            flags(&effective),
            ["--clickhouse-memory-max=1GiB", "--clickhouse-user=ann", "--log=warn"]
        );
    }
}
