//! Holds a supervised engine still for as long as a copy of its files is made: SIGSTOP, and SIGCONT when that is done.
//!
//! What such a copy holds is what a killed engine would leave; the engine opens both in the same way. An act of whoever
//! has the child, and no statement: no client can ask for it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::{Instant, sleep};

use crate::child::TiedChild;

/// How long a child may take to stand still: a thread in a write to a slow disk stops behind it.
const STILL_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(1);

type Alive = Arc<Mutex<Option<libc::pid_t>>>;

/// The newest child of a supervisor, to be held still.
#[derive(Debug, Clone, Default)]
pub struct Still {
    /// Whoever has it may start a child, or hold the one there is.
    turn: Arc<Turn<Option<Alive>>>,
}

impl Still {
    /// Starts a child by `start`, unless none may run now: then first waits.
    pub(crate) async fn started(
        &self,
        start: impl FnOnce() -> io::Result<TiedChild>,
    ) -> io::Result<TiedChild> {
        let mut turn = self.turn.lock().await;
        let child = start()?;
        *turn = Some(child.alive());
        Ok(child)
    }

    /// Returns when no thread of the child runs, or when there is none; none is started while the answer lives.
    /// Its supervisor takes a child that stands still for longer than a minute for one that does not answer.
    ///
    /// # Errors
    /// The child does not stand still; it goes on then.
    pub async fn hold(&self) -> io::Result<Held> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let held = Held { turn };
        held.signal(libc::SIGSTOP);
        let deadline = Instant::now() + STILL_MAX;
        while !held.is_still()? {
            if Instant::now() >= deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the engine does not stand still"));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(held)
    }
}

/// A child that stands still; dropped, it goes on.
#[derive(Debug)]
pub struct Held {
    turn: OwnedMutexGuard<Option<Alive>>,
}

impl Held {
    fn signal(&self, signal: libc::c_int) {
        if let Some(alive) = &*self.turn
            && let Some(id) = *alive.lock().unwrap_or_else(PoisonError::into_inner)
        {
            // SAFETY: a plain system call; the child is not reaped while the lock is held.
            unsafe { libc::kill(id, signal) };
        }
    }

    /// Whether no thread of it runs.
    fn is_still(&self) -> io::Result<bool> {
        let Some(alive) = &*self.turn else { return Ok(true) };
        let Some(id) = *alive.lock().unwrap_or_else(PoisonError::into_inner) else { return Ok(true) };
        let id = libc::id_t::try_from(id).expect("process ids are positive");
        let flags = libc::WSTOPPED | libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: an all-zero `siginfo_t` is valid, and the call only writes to it.
        let (waited, seen) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            (libc::waitid(libc::P_PID, id, &raw mut info, flags), info.si_pid())
        };
        if waited != 0 {
            let error = io::Error::last_os_error();
            // Somebody has reaped it.
            return if error.raw_os_error() == Some(libc::ECHILD) { Ok(true) } else { Err(error) };
        }
        Ok(seen != 0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.signal(libc::SIGCONT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[tokio::test]
    async fn a_held_child_does_nothing_and_goes_on_afterwards_and_none_is_started_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("beats");
        let still = Still::default();
        drop(still.hold().await.unwrap());
        let start = || {
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("while :; do echo beat >> {}; done", file.display()));
            TiedChild::spawn(command)
        };
        let child = still.started(start).await.unwrap();
        let beats = || std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
        let grows = async |from: u64| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while beats() <= from {
                assert!(Instant::now() < deadline, "it stands");
                sleep(LOOK_EVERY).await;
            }
        };
        grows(0).await;
        let held = still.hold().await.unwrap();
        let stood_at = beats();
        let other = tokio::time::timeout(Duration::from_millis(50), still.started(start));
        assert!(other.await.is_err(), "another one was started");
        assert_eq!(beats(), stood_at);
        drop(held);
        grows(stood_at).await;

        child.signal(libc::SIGKILL);
        child.ended().await;
        drop(still.hold().await.unwrap());
    }
}
