//! Runs a server as a child process, and starts it again when it ends by itself or stops answering.
//!
//! A query that exhausts the engine's memory, or a defect in it, then costs a restart of the child and
//! not the edge. Inserts that were not acknowledged are repeated by their owners.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use whence_runtime::listeners;

use crate::child::TiedChild;
use crate::listener;
use crate::metrics::{RESTARTS, STUCK, UP};
use crate::pulse::Pulse;
use crate::still::Still;
use crate::watchdog::STUCK_STATUS;

/// How patient a supervisor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorLimits {
    /// How long a child may take to answer after its start; opening many tables takes time.
    pub ready_max: Duration,
    /// How often a running child is asked.
    pub ping_every: Duration,
    /// How long an answer may take.
    pub ping_max: Duration,
    /// After how many questions without an answer a running child is killed.
    pub unanswered_max: u32,
    /// Pause before the first restart; doubled with each one until the child was up for a minute.
    pub backoff_min: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// How long a child may take to end after SIGTERM before it gets SIGKILL.
    pub stop_max: Duration,
}

impl Default for SupervisorLimits {
    fn default() -> Self {
        Self {
            ready_max: Duration::from_secs(300),
            ping_every: Duration::from_secs(5),
            ping_max: Duration::from_secs(10),
            unanswered_max: 6,
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            stop_max: Duration::from_secs(45),
        }
    }
}

/// A child that was up for this long has recovered: the next pause is short again.
const RECOVERED: Duration = Duration::from_secs(60);
/// Pause between questions to a child that is starting.
const STARTING_EVERY: Duration = Duration::from_millis(50);

/// What the child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// Not answering yet.
    Starting,
    /// Answering.
    Up,
    /// Ended by itself, or killed because it stopped answering; it will be started again.
    Down,
    /// Ended because it was asked to.
    Stopped,
}

/// Why a supervisor did not start.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The child cannot be started.
    #[error("cannot start the engine process")]
    Spawn(#[source] io::Error),
    /// The child ended before it answered even once; its own log says why.
    #[error("the engine process ended while it was starting: {0}")]
    Ended(ExitStatus),
    /// The child did not answer in time.
    #[error("the engine process did not answer within {0:?}")]
    NotReady(Duration),
}

/// A supervised server.
#[derive(Debug)]
pub struct Supervisor {
    address: SocketAddr,
    state: watch::Receiver<ChildState>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    still: Still,
}

impl Supervisor {
    /// Listens on `listen` (port 0 takes a free port, and keeps it), starts `command` and waits until
    /// the child answers. `command` builds the command for every start; the child must serve on
    /// the socket it inherits ([`listener::take`]).
    ///
    /// # Errors
    /// The first start fails. Later failures are repeated with growing pauses and counted.
    pub async fn start(
        listen: SocketAddr,
        command: impl Fn() -> Command + Send + Sync + 'static,
        limits: SupervisorLimits,
    ) -> Result<Self, SuperviseError> {
        let bind = || {
            let listener = listeners::listen("clickhouse", listen)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) =
            bind().map_err(|source| SuperviseError::Listen { address: listen, source })?;
        let (state, states) = watch::channel(ChildState::Starting);
        let stop = CancellationToken::new();
        let still = Still::default();
        let run = Run {
            address,
            listener,
            command: Box::new(command),
            limits,
            state,
            stop: stop.clone(),
            still: still.clone(),
        };
        let launched = run.launch().await?;
        let task = tokio::spawn(run.keep_up(launched));
        Ok(Self { address, state: states, stop, task, still })
    }

    /// Where the server answers; the same over restarts.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as `http://ADDRESS:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the child is doing, now and later.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ChildState> {
        self.state.clone()
    }

    /// Holds the child still, for a copy of its files.
    #[must_use]
    pub fn still(&self) -> Still {
        self.still.clone()
    }

    /// Ends the child in order, or after `stop_max` at once, and waits until it is gone.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "supervisor failed");
        }
    }
}

/// Why a child ended by itself.
fn told(status: ExitStatus) -> String {
    if status.code() != Some(STUCK_STATUS) {
        return status.to_string();
    }
    counter!(STUCK).increment(1);
    "a statement of the reader did not end though it was killed".to_owned()
}

/// What a child may have of this process's environment: where its library and its time zone are, and how it logs.
const INHERITED: [&str; 8] =
    ["HOME", "LANG", "LD_LIBRARY_PATH", "RUST_BACKTRACE", "RUST_LOG", "TZ", "WHENCE_CACHE", "XDG_CACHE_HOME"];

/// Leaves the child what its command says and what it needs: the rest may hold secrets of other parts.
fn only_what_it_needs(command: &mut Command) {
    let said: Vec<(OsString, Option<OsString>)> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command.env_clear();
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (name, value) in said {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// A child that has answered.
struct Launched {
    child: TiedChild,
    pulse: Pulse,
}

struct Run {
    address: SocketAddr,
    listener: TcpListener,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    limits: SupervisorLimits,
    state: watch::Sender<ChildState>,
    stop: CancellationToken,
    still: Still,
}

impl Run {
    /// Starts a child and waits for its first answer.
    async fn launch(&self) -> Result<Launched, SuperviseError> {
        self.state.send_replace(ChildState::Starting);
        let mut command = (self.command)();
        only_what_it_needs(&mut command);
        listener::hand_over(&mut command, &self.listener);
        let (mut pulse, childs_end) = Pulse::hand_over(&mut command).map_err(SuperviseError::Spawn)?;
        let child = self.still.started(|| TiedChild::spawn(command)).await.map_err(SuperviseError::Spawn)?;
        drop(childs_end);
        tracing::info!(pid = child.id(), address = %self.address, "engine process started");
        let ready = async {
            while !pulse.beats(self.limits.ready_max).await {
                sleep(STARTING_EVERY).await;
            }
        };
        tokio::select! {
            biased;
            status = child.ended() => Err(SuperviseError::Ended(status)),
            answered = timeout(self.limits.ready_max, ready) => match answered {
                Ok(()) => {
                    gauge!(UP).set(1.0);
                    self.state.send_replace(ChildState::Up);
                    Ok(Launched { child, pulse })
                }
                Err(_) => {
                    self.end(&child, libc::SIGKILL).await;
                    Err(SuperviseError::NotReady(self.limits.ready_max))
                }
            },
            () = self.stop.cancelled() => {
                self.end(&child, libc::SIGTERM).await;
                Err(SuperviseError::NotReady(Duration::ZERO))
            }
        }
    }

    async fn keep_up(self, launched: Launched) {
        let mut child = Some(launched);
        let mut backoff = self.limits.backoff_min;
        loop {
            let since = Instant::now();
            if let Some(Launched { child, mut pulse }) = child.take() {
                tokio::select! {
                    reason = self.failure(&child, &mut pulse) => tracing::error!(reason, "engine process is down"),
                    () = self.stop.cancelled() => return self.stopped(&child).await,
                }
                self.end(&child, libc::SIGKILL).await;
            }
            gauge!(UP).set(0.0);
            self.state.send_replace(ChildState::Down);
            if since.elapsed() >= RECOVERED {
                backoff = self.limits.backoff_min;
            }
            tokio::select! {
                () = sleep(backoff) => {}
                () = self.stop.cancelled() => {
                    self.state.send_replace(ChildState::Stopped);
                    return;
                }
            }
            backoff = (backoff * 2).min(self.limits.backoff_max);
            counter!(RESTARTS).increment(1);
            match self.launch().await {
                Ok(launched) => child = Some(launched),
                Err(error) => tracing::error!(error = %error, "engine process did not start again"),
            }
        }
    }

    /// Returns when the child has ended by itself, or no longer answers.
    async fn failure(&self, child: &TiedChild, pulse: &mut Pulse) -> String {
        let mut unanswered = 0;
        loop {
            tokio::select! {
                status = child.ended() => return told(status),
                () = sleep(self.limits.ping_every) => {}
            }
            unanswered = if pulse.beats(self.limits.ping_max).await { 0 } else { unanswered + 1 };
            if unanswered >= self.limits.unanswered_max {
                return format!("no answer to {unanswered} questions");
            }
        }
    }

    async fn stopped(&self, child: &TiedChild) {
        self.end(child, libc::SIGTERM).await;
        gauge!(UP).set(0.0);
        self.state.send_replace(ChildState::Stopped);
    }

    /// Ends the child by `signal`, and by SIGKILL if that takes too long.
    async fn end(&self, child: &TiedChild, signal: libc::c_int) {
        child.signal(signal);
        if timeout(self.limits.stop_max, child.ended()).await.is_err() {
            tracing::warn!(pid = child.id(), "engine process did not end in time and is killed");
            child.signal(libc::SIGKILL);
            child.ended().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_ended_for_a_statement_says_so() {
        use std::os::unix::process::ExitStatusExt;
        let told = |status: i32| told(ExitStatus::from_raw(status << 8));
        assert!(told(STUCK_STATUS).contains("did not end"));
        assert!(told(1).contains("exit status: 1"));
    }

    #[test]
    fn a_child_has_no_environment_but_what_is_said_and_needed() {
        let mut command = Command::new("env");
        command.env("SAID", "1").env_remove("HOME");
        only_what_it_needs(&mut command);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let names: Vec<&str> =
            text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert!(names.contains(&"SAID") && !names.contains(&"HOME"), "{names:?}");
        // Cargo sets some for every test.
        assert!(std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("CARGO")));
        assert!(names.iter().all(|name| *name == "SAID" || INHERITED.contains(name)), "{names:?}");
    }
}
