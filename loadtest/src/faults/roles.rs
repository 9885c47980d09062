//! The binary `whence` as members of a fleet: one folder and one log each, and what they note about
//! themselves (`addresses.json`, `/metrics`).

use super::{FaultError, Fleet, FleetError, Member};
use crate::wire::{Connection, Failure, Target};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header::HOST};
use serde::Deserialize;
use std::{
    ffi::OsString,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long a role may take to start or to notice something, on a machine with much else to do.
pub(super) const DEADLINE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);
const ASK_TIMEOUT: Duration = Duration::from_secs(20);
/// What a role is told to log: where in a block it stands.
const LOG: [&str; 4] = ["--log", "info,whence_aggregator=debug", "--log-format", "json"];

/// Finds the binary beside the executable that runs, as cargo puts them.
///
/// # Errors
/// The binary is not there.
pub fn find_whence() -> Result<PathBuf, FaultError> {
    let own = Path::new("/proc/self/exe");
    let own = own.read_link().map_err(|source| FaultError::File { path: own.to_owned(), source })?;
    let dir = own.parent().unwrap_or(Path::new("."));
    // Tests run in a folder of their own below the binaries.
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    let path = dir.join("whence");
    if path.is_file() { Ok(path) } else { Err(FaultError::NoBinary(path)) }
}

/// A loopback address that is free now, from below the range that the kernel gives to outgoing
/// connections and those that test brokers and replicas choose from: while whoever listens there is dead, nobody gets
/// it by accident.
pub(super) fn free_address() -> String {
    loop {
        let address = format!("127.0.0.1:{}", rand::random_range(16_000..20_000));
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// What a role notes about itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Noted {
    pid: u32,
    ready: bool,
    pub edge: Option<String>,
    pub api: Option<String>,
    pub clickhouse: Option<String>,
    pub admin: Option<String>,
}

/// Until when a start is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Links are answered.
    Edge,
    /// Everything works.
    Ready,
}

/// Processes of `whence`.
#[derive(Debug)]
pub(super) struct Roles {
    whence: PathBuf,
    dir: PathBuf,
    fleet: Fleet,
}

impl Roles {
    pub fn new(whence: &Path, dir: &Path) -> Result<Roles, FaultError> {
        if !whence.is_file() {
            return Err(FaultError::NoBinary(whence.to_owned()));
        }
        Ok(Roles { whence: whence.to_owned(), dir: dir.to_owned(), fleet: Fleet::new(dir) })
    }

    /// The folder of a role.
    pub fn data(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn log_path(&self, name: &str) -> PathBuf {
        self.fleet.log_path(name)
    }

    /// See [`Fleet::waits`].
    pub fn waits(&self) -> std::collections::BTreeMap<String, u64> {
        self.fleet.waits()
    }

    /// Starts a role; not waited for.
    pub fn add(&mut self, name: &str, role: &str, arguments: &[&str]) -> Result<(), FaultError> {
        let data = self.data(name).into_os_string();
        let own = [role.into(), "--data".into(), data].into_iter();
        let own = own.chain(["--admin-listen", "127.0.0.1:0"].iter().chain(&LOG).map(Into::into));
        let member = Member {
            name: name.to_owned(),
            program: self.whence.clone(),
            arguments: own.chain(arguments.iter().map(Into::into)).collect(),
            environment: Vec::new(),
            ready: None,
        };
        Ok(self.fleet.add(member)?)
    }

    /// The same, with a socket handed over that listens at this address, as others' may.
    pub fn add_handed(
        &mut self,
        name: &str,
        role: &str,
        address: &str,
        arguments: &[&str],
    ) -> Result<(), FaultError> {
        const HAND_OVER: &str = include_str!("../../../deploy/dev/hand-over");
        let parent = ["-e", HAND_OVER, "--", address].map(OsString::from).into_iter();
        let command = [self.whence.clone().into_os_string(), role.into(), "--data".into()];
        let own = parent.chain(command).chain([self.data(name).into_os_string()]);
        let own = own.chain(["--admin-listen", "127.0.0.1:0"].iter().chain(&LOG).map(Into::into));
        let member = Member {
            name: name.to_owned(),
            program: "perl".into(),
            arguments: own.chain(arguments.iter().map(Into::into)).collect(),
            environment: Vec::new(),
            ready: None,
        };
        Ok(self.fleet.add(member)?)
    }

    /// Starts another program, with its data in a folder of its name; it is ready when this `http://host:port` answers
    /// `/ping`.
    pub fn add_program(
        &mut self,
        name: &str,
        program: &Path,
        arguments: &[&str],
        answers: Option<&str>,
    ) -> Result<(), FaultError> {
        let member = Member {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: arguments.iter().map(Into::into).collect(),
            environment: Vec::new(),
            ready: answers.map(|url| (url.to_owned(), "/ping".to_owned())),
        };
        Ok(self.fleet.add(member)?)
    }

    /// Waits until such a program answers.
    pub async fn answers(&mut self, name: &str) -> Result<(), FaultError> {
        Ok(self.fleet.wait_ready(name, DEADLINE).await?)
    }

    /// The process id of a member that runs.
    pub fn id(&self, name: &str) -> Option<libc::pid_t> {
        libc::pid_t::try_from(self.fleet.id(name)?).ok()
    }

    /// The same, with so many file descriptors (soft and hard).
    pub fn add_limited(
        &mut self,
        name: &str,
        role: &str,
        descriptors: u64,
        arguments: &[&str],
    ) -> Result<(), FaultError> {
        let data = self.data(name).into_os_string();
        let limit = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        let shell = ["-c".into(), limit.into(), self.whence.clone().into_os_string()].into_iter();
        let own = shell.chain([role.into(), "--data".into(), data]);
        let own = own.chain(["--admin-listen", "127.0.0.1:0"].iter().map(Into::into));
        let member = Member {
            name: name.to_owned(),
            program: "/bin/sh".into(),
            arguments: own.chain(arguments.iter().map(Into::into)).collect(),
            environment: Vec::new(),
            ready: None,
        };
        Ok(self.fleet.add(member)?)
    }

    /// Runs a command to its end.
    pub async fn tool(&self, arguments: &[&str]) -> Result<(), FaultError> {
        let mut command = tokio::process::Command::new(&self.whence);
        for (name, _) in std::env::vars_os().filter(|(name, _)| super::fleet::is_foreign(name)) {
            command.env_remove(name);
        }
        let run = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = run.map_err(|source| FaultError::File { path: self.whence.clone(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(FaultError::Command { command: format!("whence {}", arguments.join(" ")), said })
    }

    pub async fn wait(&mut self, name: &str, until: Until) -> Result<Noted, FaultError> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.fleet.ended(name)? {
                let log = self.fleet.log_end(name);
                return Err(FleetError::Ended { name: name.to_owned(), status, log }.into());
            }
            let noted = self.noted(name).filter(|noted| match until {
                Until::Edge => noted.edge.is_some() && noted.api.is_some(),
                Until::Ready => noted.ready,
            });
            if let Some(noted) = noted {
                return Ok(noted);
            }
            if Instant::now() >= deadline {
                let (name, log) = (name.to_owned(), self.fleet.log_end(name));
                return Err(FleetError::Late { name, what: "become ready", within: DEADLINE, log }.into());
            }
            sleep(POLL).await;
        }
    }

    /// What the process that runs has noted; a file of its predecessor does not count.
    fn noted(&self, name: &str) -> Option<Noted> {
        let text = std::fs::read(self.data(name).join("addresses.json")).ok()?;
        let noted: Noted = serde_json::from_slice(&text).ok()?;
        (Some(noted.pid) == self.fleet.id(name)).then_some(noted)
    }

    pub async fn kill(&mut self, name: &str) -> Result<(), FaultError> {
        Ok(self.fleet.kill(name).await?)
    }

    pub fn start(&mut self, name: &str) -> Result<(), FaultError> {
        Ok(self.fleet.start(name)?)
    }

    /// The sum of a counter over all its labels; 0 where the process does not answer yet.
    pub async fn counter(&self, name: &str, counter: &str) -> Result<u64, FaultError> {
        Ok(sum_of(counter, &self.metrics(name).await?))
    }

    /// What the process tells of its metrics; nothing where it does not answer yet.
    pub async fn metrics(&self, name: &str) -> Result<String, FaultError> {
        let Some(admin) = self.noted(name).and_then(|noted| noted.admin) else { return Ok(String::new()) };
        let target = Target::resolve(&admin).await?;
        let failed = |source| FaultError::Metrics { name: name.to_owned(), source };
        metrics(&target).await.map_err(failed)
    }
}

async fn metrics(target: &Target) -> Result<String, Failure> {
    let deadline = Instant::now() + ASK_TIMEOUT;
    let request = Request::builder()
        .uri("/metrics")
        .header(HOST, &target.host)
        .body(Full::new(Bytes::new()))
        .expect("the path is a path");
    let answer = Connection::open(target, deadline).await?.exchange(request, deadline).await?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// Prometheus' text format: `name{labels} value`.
pub(super) fn sum_of(counter: &str, text: &str) -> u64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(counter)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<u64>().ok())?
    };
    text.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_its_labels_and_no_other() {
        let text = "# TYPE a_total counter\na_total{stream=\"clicks\"} 3\na_total{stream=\"x y\"} 4\n\
                    a_total_more 100\nb_total 7\n";
        assert_eq!((sum_of("a_total", text), sum_of("b_total", text), sum_of("c", text)), (7, 7, 0));
    }
}
