//! A child process that ends when this one does.
//!
//! The kernel can do that (`PR_SET_PDEATHSIG`), but it ties the child to the *thread* that spawned it,
//! not to the process. So each child gets a thread of its own here, which spawns it, waits for it and
//! ends with it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::watch;

/// A running child; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct TiedChild {
    id: u32,
    /// `None` once reaped: its id may then be another process's.
    alive: Arc<Mutex<Option<libc::pid_t>>>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl TiedChild {
    /// Starts `command`. Blocks while it forks.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        end_with_parent(&mut command);
        let (spawned, started) = std::sync::mpsc::channel();
        let (end, ended) = watch::channel(None);
        let alive = Arc::new(Mutex::new(None));
        let watched = alive.clone();
        thread::Builder::new().name("engine-child".into()).spawn(move || match command.spawn() {
            Ok(child) => {
                let id = pid(&child);
                *lock(&watched) = Some(id);
                // The receiver waits for this.
                let _ = spawned.send(Ok(child.id()));
                end.send_replace(Some(reap(child, id, &watched)));
            }
            Err(error) => {
                let _ = spawned.send(Err(error));
            }
        })?;
        let id = started.recv().map_err(io::Error::other)??;
        Ok(Self { id, alive, ended })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// To stop it for a moment, whoever has it.
    pub fn alive(&self) -> Arc<Mutex<Option<libc::pid_t>>> {
        Arc::clone(&self.alive)
    }

    /// How the child ended, if it has.
    #[cfg(feature = "testing")]
    pub fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Waits until the child has ended. Cancel-safe.
    pub fn ended(&self) -> impl Future<Output = ExitStatus> + Send + 'static {
        let mut ended = self.ended.clone();
        async move {
            let status = ended.wait_for(Option::is_some).await.map(|status| *status);
            status.ok().flatten().expect("the child's thread reports its end before it ends itself")
        }
    }

    /// Sends `signal`, unless the child has ended.
    pub fn signal(&self, signal: libc::c_int) {
        if let Some(id) = *lock(&self.alive) {
            // SAFETY: a plain system call; the child is not reaped while the lock is held.
            unsafe { libc::kill(id, signal) };
        }
    }
}

impl Drop for TiedChild {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

/// Waits for the child without reaping it, then reaps it under the lock, so that no signal goes to
/// another process that got its id.
fn reap(mut child: Child, id: libc::pid_t, alive: &Mutex<Option<libc::pid_t>>) -> ExitStatus {
    let pid = libc::id_t::try_from(id).expect("process ids are positive");
    loop {
        // SAFETY: an all-zero `siginfo_t` is valid, and the call only writes to it.
        let waited = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid, &raw mut info, libc::WEXITED | libc::WNOWAIT)
        };
        if waited == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
    let mut alive = lock(alive);
    *alive = None;
    child.wait().expect("a child of this thread can be waited for")
}

fn pid(child: &Child) -> libc::pid_t {
    libc::pid_t::try_from(child.id()).expect("process ids are positive `int`s")
}

fn lock(alive: &Mutex<Option<libc::pid_t>>) -> std::sync::MutexGuard<'_, Option<libc::pid_t>> {
    alive.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let tie = move || {
        // SAFETY: two plain system calls, allowed between fork and exec.
        let orphaned = unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            u32::try_from(libc::getppid()) != Ok(parent)
        };
        // The parent may have ended before the tie was made.
        if orphaned { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(tie) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_an_error() {
        assert!(TiedChild::spawn(Command::new("/nonexistent/engine")).is_err());
    }

    #[tokio::test]
    async fn a_childs_end_is_seen_and_a_later_signal_goes_nowhere() {
        let child = TiedChild::spawn(shell("exit 3")).unwrap();
        assert_eq!(child.ended().await.code(), Some(3));
        assert_eq!(*lock(&child.alive), None);
        child.signal(libc::SIGKILL);
    }

    #[tokio::test]
    async fn a_signal_reaches_the_child() {
        use std::os::unix::process::ExitStatusExt;
        let child = TiedChild::spawn(shell("exec sleep 600")).unwrap();
        child.signal(libc::SIGKILL);
        assert_eq!(child.ended().await.signal(), Some(libc::SIGKILL));
    }
}
