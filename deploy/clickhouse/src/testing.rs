//! A server for tests, as a child process: the engine allows one data folder per process.
//!
//! Start it with [`EngineProcess::start`]; it ends, and with it everything in it, when dropped. The
//! test needs the server binary (`cargo build -p whence-clickhouse-embedded --bins` puts it beside the
//! test's own folder, or name it in `WHENCE_CLICKHOUSE_BIN`) and the engine (`deploy/clickhouse/fetch-engine`).
//! Without them a test fails and says so; it is never skipped.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::child::TiedChild;
use crate::listener;

pub use crate::sql::{OUTPUT_WORDS, SHOWN as SHOWN_WORDS};

/// The server binary, where it is not where cargo puts it.
pub const BIN_ENV: &str = "WHENCE_CLICKHOUSE_BIN";

/// How long a server may take to open its engine or to end.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Why a test has no server.
#[derive(Debug, thiserror::Error)]
pub enum TestingError {
    /// The server binary is not built.
    #[error(
        "the engine server is not at {path}: run `cargo build -p whence-clickhouse-embedded --bins` (with the \
         test's profile) first, or set {BIN_ENV}",
        path = path.display()
    )]
    NoBinary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The engine library is not there.
    #[error(transparent)]
    NoEngine(#[from] crate::library::NoEngine),
    /// The operating system would not do it.
    #[error("cannot run the engine server")]
    Io(#[from] std::io::Error),
    /// It ended, or did not answer in time.
    #[error("the engine server did not start; it logged:\n{log}")]
    NotReady {
        /// What it wrote to standard error.
        log: String,
    },
}

/// A running server.
#[derive(Debug)]
pub struct EngineProcess {
    child: TiedChild,
    address: SocketAddr,
    log: PathBuf,
    passwords: [String; 2],
}

impl EngineProcess {
    /// Starts a server on a free loopback port, with its data in `data` and the databases `default` and
    /// `whence`, and waits until it answers.
    ///
    /// # Errors
    /// The binary or the engine is missing, or the server did not start.
    pub fn start(data: &Path) -> Result<Self, TestingError> {
        Self::start_with(data, &[] as &[&str])
    }

    /// The same with further arguments for the server.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_with(data: &Path, arguments: &[impl Into<OsString> + Clone]) -> Result<Self, TestingError> {
        Self::start_with_input(data, arguments, Stdio::null())
    }

    /// The same with a standard input, which is nobody's to read.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_with_input(
        data: &Path,
        arguments: &[impl Into<OsString> + Clone],
        input: impl Into<Stdio>,
    ) -> Result<Self, TestingError> {
        let binary = binary()?;
        let library = crate::library::find()?;
        std::fs::create_dir_all(data)?;
        let log = data.join("server.log");
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut command = Command::new(binary);
        command
            .arg("--data")
            .arg(data)
            .args(["--database", "default", "--database", "whence"])
            .args(arguments.iter().cloned().map(Into::into))
            .env(crate::library::ENGINE_ENV, library)
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?);
        listener::hand_over(&mut command, &listener);
        let child = TiedChild::spawn(command)?;
        // From here on the port is the child's alone: once it is gone, connections are refused.
        drop(listener);
        let mut process = Self { child, address, log, passwords: Default::default() };
        if process.wait_ready() {
            let password = |name: &str| std::fs::read_to_string(data.join(name)).unwrap_or_default();
            process.passwords =
                ["password", "reader-password"].map(|name| password(name).trim_end().to_owned());
            return Ok(process);
        }
        Err(TestingError::NotReady { log: process.log() })
    }

    /// Where it answers: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same as an address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The password of user `default`, whose data it is.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.passwords[0]
    }

    /// The password of user `reader`.
    #[must_use]
    pub fn reader_password(&self) -> &str {
        &self.passwords[1]
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    pub fn kill(self) {
        drop(self);
    }

    /// Ends it as `kill` does, and waits; the status tells whether it ended in order.
    ///
    /// # Errors
    /// It did not end within a minute.
    pub fn terminate(self) -> Result<ExitStatus, TestingError> {
        self.child.signal(libc::SIGTERM);
        self.wait_ended().ok_or_else(|| TestingError::NotReady { log: self.log() })
    }

    fn wait_ready(&self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline && self.child.status().is_none() {
            if ping(self.address).unwrap_or(false) {
                return true;
            }
            std::thread::sleep(POLL);
        }
        false
    }

    fn wait_ended(&self) -> Option<ExitStatus> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.status() {
                return Some(status);
            }
            std::thread::sleep(POLL);
        }
        None
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        self.child.signal(libc::SIGKILL);
        self.wait_ended();
    }
}

fn ping(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET /ping HTTP/1.1\r\nhost: whence\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// `target/PROFILE/whence-clickhouse-embedded`, seen from `target/PROFILE/deps/TEST`.
fn binary() -> Result<PathBuf, TestingError> {
    let path = match std::env::var_os(BIN_ENV).filter(|path| !path.is_empty()) {
        Some(path) => path.into(),
        None => {
            let test = std::env::current_exe()?;
            let folder = test.parent().filter(|folder| folder.ends_with("deps")).and_then(Path::parent);
            folder.or(test.parent()).unwrap_or(Path::new(".")).join("whence-clickhouse-embedded")
        }
    };
    if path.is_file() { Ok(path) } else { Err(TestingError::NoBinary { path }) }
}
