//! Processes of a test: started with their logs in files, killed without warning, started again.
//!
//! Only processes that were started here are ever signalled, each by the handle it was started with.

use crate::wire::{Connection, Failure, Target, TargetError};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header::HOST};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// Environment that a child may have of ours; other variables of whence would change what is tested.
const KEPT: [&str; 3] = ["WHENCE_CLICKHOUSE_ENGINE", "WHENCE_CACHE", "WHENCE_KAFKA_HEAP"];

const POLL: Duration = Duration::from_millis(20);
/// How long one question after readiness may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a fleet does not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// There is no member of this name.
    #[error("there is no member {0:?}")]
    Unknown(String),
    /// It runs already.
    #[error("{0} is already running")]
    Running(String),
    /// The system would not start or signal it.
    #[error("cannot start or signal {name}")]
    Process {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It ended by itself.
    #[error("{name} ended with {status} before it was ready; its log ends:\n{log}")]
    Ended {
        /// Which.
        name: String,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It did not become ready, or did not end, in time.
    #[error("{name} did not {what} within {} s; its log ends:\n{log}", .within.as_secs())]
    Late {
        /// Which.
        name: String,
        /// What it should have done.
        what: &'static str,
        /// How long it had.
        within: Duration,
        /// The end of its log.
        log: String,
    },
    /// Its readiness address is not valid.
    #[error("cannot ask whether a member is ready")]
    Target(#[from] TargetError),
}

/// How a process is started.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name in the fleet and of its log.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its environment, beside the fleet's own without what is whence's.
    pub environment: Vec<(OsString, OsString)>,
    /// The member is ready when a GET of this path at this `http://host:port` is answered with 200.
    pub ready: Option<(String, String)>,
}

#[derive(Debug)]
struct MemberSlot {
    member: Member,
    child: Option<Child>,
}

/// Processes by name. All that still run are killed when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    logs: PathBuf,
    places: BTreeMap<String, MemberSlot>,
}

impl Fleet {
    /// A fleet without members; logs go to `NAME.log` in `logs`, which must exist.
    #[must_use]
    pub fn new(logs: impl Into<PathBuf>) -> Fleet {
        Fleet { logs: logs.into(), places: BTreeMap::new() }
    }

    /// Adds a member and starts it.
    ///
    /// # Errors
    /// If it cannot be started, or one of this name runs.
    pub fn add(&mut self, member: Member) -> Result<(), FleetError> {
        let name = member.name.clone();
        if self.places.get(&name).is_some_and(|place| place.child.is_some()) {
            return Err(FleetError::Running(name));
        }
        self.places.insert(name.clone(), MemberSlot { member, child: None });
        self.start(&name)
    }

    /// Starts a member that does not run, as it was started before; its log is continued.
    ///
    /// # Errors
    /// If it runs or cannot be started.
    pub fn start(&mut self, name: &str) -> Result<(), FleetError> {
        let log = self.log_path(name);
        let place = self.place(name)?;
        if place.child.is_some() {
            return Err(FleetError::Running(name.to_owned()));
        }
        let failed = |source| FleetError::Process { name: name.to_owned(), source };
        let log = File::options().create(true).append(true).open(log).map_err(failed)?;
        let mut command = Command::new(&place.member.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_foreign(name)) {
            command.env_remove(name);
        }
        let child = command
            .args(&place.member.arguments)
            .envs(place.member.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        place.child = Some(child);
        Ok(())
    }

    /// Waits until a member says that it is ready.
    ///
    /// # Errors
    /// If it ends first, or does not within this time.
    pub async fn wait_ready(&mut self, name: &str, within: Duration) -> Result<(), FleetError> {
        let deadline = Instant::now() + within;
        let Some((url, path)) = self.place(name)?.member.ready.clone() else { return Ok(()) };
        let target = Target::resolve(&url).await?;
        loop {
            if let Some(status) = self.ended(name)? {
                let log = self.log_end(name);
                return Err(FleetError::Ended { name: name.to_owned(), status, log });
            }
            if is_ready(&target, &path).await.unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.late(name, "become ready", within));
            }
            sleep(POLL).await;
        }
    }

    /// How often threads of members that run have given up their core to wait, each member's since it began.
    #[must_use]
    pub fn waits(&self) -> BTreeMap<String, u64> {
        let running =
            self.places.iter().filter_map(|(name, place)| Some((name, place.child.as_ref()?.id()?)));
        running.map(|(name, id)| (name.clone(), waits(id))).collect()
    }

    /// Kills a member as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// If there is none, or the system would not.
    pub async fn kill(&mut self, name: &str) -> Result<(), FleetError> {
        let failed = |source| FleetError::Process { name: name.to_owned(), source };
        match self.place(name)?.child.take() {
            Some(mut child) => child.kill().await.map_err(failed),
            None => Ok(()),
        }
    }

    /// Asks a member to end, and waits until it has.
    ///
    /// # Errors
    /// If it does not within this time; it is killed then.
    pub async fn terminate(
        &mut self,
        name: &str,
        within: Duration,
    ) -> Result<Option<ExitStatus>, FleetError> {
        let Some(mut child) = self.place(name)?.child.take() else { return Ok(None) };
        let failed = |source| FleetError::Process { name: name.to_owned(), source };
        if let Some(id) = child.id().and_then(|id| libc::pid_t::try_from(id).ok()) {
            // SAFETY: the call takes no pointers. The id is still this child's: it has not been waited for.
            if unsafe { libc::kill(id, libc::SIGTERM) } < 0 {
                return Err(failed(io::Error::last_os_error()));
            }
        }
        match timeout(within, child.wait()).await {
            Ok(status) => status.map(Some).map_err(failed),
            Err(_elapsed) => {
                child.kill().await.map_err(failed)?;
                Err(self.late(name, "end", within))
            }
        }
    }

    /// How a member ended by itself, if it has.
    ///
    /// # Errors
    /// If there is none, or the system does not tell.
    pub fn ended(&mut self, name: &str) -> Result<Option<ExitStatus>, FleetError> {
        let failed = |source| FleetError::Process { name: name.to_owned(), source };
        match &mut self.place(name)?.child {
            Some(child) => child.try_wait().map_err(failed),
            None => Ok(None),
        }
    }

    /// The process id of a member that runs.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<u32> {
        self.places.get(name)?.child.as_ref()?.id()
    }

    /// Where a member's log is.
    #[must_use]
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// The last lines of a member's log.
    #[must_use]
    pub fn log_end(&self, name: &str) -> String {
        end_of(&self.log_path(name)).unwrap_or_default()
    }

    fn place(&mut self, name: &str) -> Result<&mut MemberSlot, FleetError> {
        self.places.get_mut(name).ok_or_else(|| FleetError::Unknown(name.to_owned()))
    }

    fn late(&self, name: &str, what: &'static str, within: Duration) -> FleetError {
        FleetError::Late { name: name.to_owned(), what, within, log: self.log_end(name) }
    }
}

/// Whether a variable of this process would change what is tested.
pub(super) fn is_foreign(name: &std::ffi::OsStr) -> bool {
    let is_of_whence = name.to_str().is_some_and(|name| name.starts_with("WHENCE_"));
    is_of_whence && !KEPT.iter().any(|kept| *kept == name)
}

fn end_of(path: &Path) -> io::Result<String> {
    const LINES: usize = 30;
    let text = std::fs::read_to_string(path)?;
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(LINES)..].join("\n"))
}

async fn is_ready(target: &Target, path: &str) -> Result<bool, Failure> {
    let deadline = Instant::now() + ASK_TIMEOUT;
    let request = Request::builder()
        .uri(path)
        .header(HOST, &target.host)
        .body(Full::new(Bytes::new()))
        .expect("a readiness path is a path");
    Ok(Connection::open(target, deadline).await?.exchange(request, deadline).await?.status == 200)
}

/// The voluntary context switches of a process, of all its threads (proc(5)); 0 where it has ended.
fn waits(id: u32) -> u64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{id}/task")) else { return 0 };
    let of_thread = |thread: std::fs::DirEntry| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        count.trim().parse::<u64>().ok()
    };
    threads.flatten().filter_map(of_thread).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    fn shell(name: &str, script: &str, ready: Option<(String, String)>) -> Member {
        Member {
            name: name.into(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("WORD".into(), "hello".into())],
            ready,
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    async fn until_logged(fleet: &Fleet, name: &str, lines: usize) {
        let deadline = Instant::now() + LONG;
        while fleet.log_end(name).lines().count() < lines {
            assert!(Instant::now() < deadline, "{:?}", fleet.log_end(name));
            sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn a_member_that_is_killed_can_be_started_again_and_goes_on_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::new(dir.path());
        fleet.add(shell("a", "echo $WORD; exec sleep 1000", None)).unwrap();
        assert!(matches!(fleet.start("a"), Err(FleetError::Running(_))));
        until_logged(&fleet, "a", 1).await;
        let first = fleet.id("a").unwrap();
        fleet.kill("a").await.unwrap();
        assert_eq!(fleet.id("a"), None);
        fleet.start("a").unwrap();
        until_logged(&fleet, "a", 2).await;
        assert_ne!(fleet.id("a").unwrap(), first);
        assert_eq!(fleet.log_end("a"), "hello\nhello");
        let status = fleet.terminate("a", LONG).await.unwrap().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGTERM));
    }

    #[tokio::test]
    async fn a_member_that_ends_before_it_is_ready_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::new(dir.path());
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ready = (format!("http://{}", nobody.local_addr().unwrap()), "/ready".to_owned());
        drop(nobody);
        fleet.add(shell("b", "echo no disk >&2; exit 3", Some(ready.clone()))).unwrap();
        let error = fleet.wait_ready("b", LONG).await.unwrap_err();
        assert!(matches!(&error, FleetError::Ended { status, .. } if status.code() == Some(3)), "{error}");
        assert!(error.to_string().ends_with("no disk"), "{error}");
        fleet.add(shell("c", "exec sleep 1000", Some(ready))).unwrap();
        let error = fleet.wait_ready("c", Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, FleetError::Late { .. }), "{error}");
    }

    #[tokio::test]
    async fn nobody_else_is_touched() {
        let mut fleet = Fleet::new("nowhere");
        assert!(matches!(fleet.kill("a").await, Err(FleetError::Unknown(_))));
        assert!(matches!(fleet.add(shell("a", "true", None)), Err(FleetError::Process { .. })));
    }
}
