//! Kafka brokers of a scenario's own, by the script that runs them for development.

use super::FaultError;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Seconds that the script may wait for the broker to start or to end.
const WAIT_S: &str = "120";

/// Where a scenario's broker comes from.
#[derive(Clone, Debug)]
pub enum Brokers {
    /// They run already: `host:port`, separated by commas. Topics get a prefix of the scenario's own.
    Running(String),
    /// One is started by the script at this path.
    Script(PathBuf),
    /// Three are, with TLS, users and permissions.
    Secured(PathBuf),
}

/// How the broker goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Absence {
    /// The broker is stopped in order.
    Down,
    /// The broker is killed.
    Kill,
    /// The broker is frozen: connections stay open and nothing answers.
    Pause,
}

/// A broker, or several; killed when dropped.
#[derive(Debug)]
pub(super) struct Broker {
    script: PathBuf,
    data: PathBuf,
    /// Where clients connect, separated by commas; the same after each start.
    pub address: String,
    /// What clients need beside it, for brokers that are secured.
    pub properties: Option<PathBuf>,
}

impl Broker {
    /// Starts one with its data in `data`, on free ports.
    pub async fn start(script: &Path, data: &Path) -> Result<Broker, FaultError> {
        Broker::start_as(script, data, &[]).await
    }

    /// Starts three that are secured.
    pub async fn start_secured(script: &Path, data: &Path) -> Result<Broker, FaultError> {
        let mut broker = Broker::start_as(script, data, &["--brokers", "3", "--secure"]).await?;
        broker.properties = Some(data.join("client.properties"));
        Ok(broker)
    }

    async fn start_as(script: &Path, data: &Path, kind: &[&str]) -> Result<Broker, FaultError> {
        let (script, data) = (script.to_owned(), data.to_owned());
        let mut broker = Broker { script, data, address: String::new(), properties: None };
        let ports = ["--port", "0", "--controller-port", "0"];
        broker.address = broker.run("up", &[&ports[..], kind].concat()).await?.trim().to_owned();
        Ok(broker)
    }

    /// One of several is killed.
    pub async fn kill(&self, number: u32) -> Result<(), FaultError> {
        self.run("kill", &[&number.to_string()]).await.map(drop)
    }

    /// One of several is stopped in order.
    pub async fn stop(&self, number: u32) -> Result<(), FaultError> {
        self.run("down", &[&number.to_string()]).await.map(drop)
    }

    /// One of several is there again.
    pub async fn again(&self, number: u32) -> Result<(), FaultError> {
        self.run("start", &[&number.to_string()]).await.map(drop)
    }

    pub async fn leave(&self, how: Absence) -> Result<(), FaultError> {
        let command = match how {
            Absence::Down => "down",
            Absence::Kill => "kill",
            Absence::Pause => "pause",
        };
        self.run(command, &[]).await.map(drop)
    }

    pub async fn come_back(&self, how: Absence) -> Result<(), FaultError> {
        let command = if how == Absence::Pause { "resume" } else { "up" };
        self.run(command, &[]).await.map(drop)
    }

    async fn run(&self, command: &str, more: &[&str]) -> Result<String, FaultError> {
        let mut run = tokio::process::Command::from(self.command(command));
        let output = run
            .args(["--wait", WAIT_S])
            .args(more)
            .output()
            .await
            .map_err(|source| FaultError::File { path: self.script.clone(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(FaultError::Command { command: format!("{} {command}", self.script.display()), said })
    }

    fn command(&self, command: &str) -> Command {
        let mut run = Command::new(&self.script);
        run.args([OsStr::new(command), OsStr::new("--data"), self.data.as_os_str()]).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| super::fleet::is_foreign(name)) {
            run.env_remove(name);
        }
        run
    }
}

impl Drop for Broker {
    /// Its data go as well: there is nothing to be saved.
    fn drop(&mut self) {
        // It may not run; there is nobody left to tell.
        let _ended = self.command("kill").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
