//! How a supervisor asks its child whether the engine is alive: a channel of their own, an inherited pair
//! of sockets, on which a byte is answered with a byte once the engine has answered a statement.
//!
//! Not the port: whoever fills its places with idle connections would have a healthy engine killed.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, STACK_BYTES};

/// Number of the inherited descriptor, in the child's environment.
const PULSE_ENV: &str = "WHENCE_CLICKHOUSE_PULSE_FD";

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct Pulse {
    stream: UnixStream,
}

impl Pulse {
    /// A pair, one end of which the child of `command` inherits. The returned second end must be kept
    /// until the child is spawned, and dropped then.
    pub(crate) fn hand_over(command: &mut Command) -> io::Result<(Self, StdStream)> {
        let (own, childs) = StdStream::pair()?;
        own.set_nonblocking(true)?;
        let fd = childs.as_raw_fd();
        command.env(PULSE_ENV, fd.to_string());
        let keep = move || {
            // SAFETY: a plain system call, allowed between fork and exec.
            if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        };
        // SAFETY: the closure allocates nothing and takes no lock.
        unsafe { command.pre_exec(keep) };
        Ok((Self { stream: UnixStream::from_std(own)? }, childs))
    }

    /// Asks, and waits for an answer for at most `wait_max`. Late answers to earlier questions count: the
    /// engine has answered.
    pub(crate) async fn beats(&mut self, wait_max: Duration) -> bool {
        let mut answers = [0; 64];
        let asked = async {
            self.stream.write_all(b"?").await?;
            self.stream.read(&mut answers).await
        };
        matches!(timeout(wait_max, asked).await, Ok(Ok(1..)))
    }
}

/// The child's end, if a supervisor has handed one over. Call once.
pub(crate) fn inherited() -> Option<StdStream> {
    let fd: RawFd = std::env::var(PULSE_ENV).ok()?.parse().ok()?;
    // SAFETY: a plain system call that fails for a number that is not open.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return None;
    }
    // SAFETY: open, and handed over by the parent to be owned here.
    let stream = unsafe { StdStream::from_raw_fd(fd) };
    // What is not a socket has no peer.
    stream.peer_addr().ok()?;
    stream.set_nonblocking(false).ok()?;
    Some(stream)
}

/// How often the child's thread looks whether it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Answers the supervisor until it is gone. An exception is an answer, too: only silence means trouble. On a thread
/// of its own, so that it is the engine that is asked, whatever else this process is busy with.
pub(crate) fn answer(
    stream: StdStream,
    engine: Arc<Engine>,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    stream.set_read_timeout(Some(STOP_LOOK))?;
    thread::Builder::new().name("pulse".into()).stack_size(STACK_BYTES).spawn(move || {
        let mut stream = stream;
        let mut questions = [0; 64];
        while !stop.is_cancelled() {
            match stream.read(&mut questions) {
                Ok(1..) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    continue;
                }
                Ok(0) | Err(_) => return,
            }
            let asked = engine.keeper().and_then(|mut session| session.query(b"SELECT 1", "Null", &[]));
            if let Err(error) = asked {
                tracing::warn!(error = %error, "the engine refuses the supervisor's statement");
            }
            if stream.write_all(b"!").is_err() {
                return;
            }
        }
    })
}
