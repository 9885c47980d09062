//! The last bound on the time of the reader's statements. The engine looks at its clock, and at whether a statement
//! was killed, between blocks; inside of one call of a function it does not, and a call can take hours. There is no
//! list of such functions: `position` is one. So what goes on long after its kill takes the process with it, which
//! its supervisor starts again: that costs the others a repeated statement, and not their server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The status that a process ends with because of a statement that would not.
pub(crate) const STUCK_STATUS: i32 = 70;
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The statements that could be killed.
#[derive(Debug)]
pub struct Watchdog {
    timeout: Duration,
    /// By mark; when each was killed, if it was.
    running: Mutex<HashMap<String, Option<Instant>>>,
}

impl Watchdog {
    /// One that waits for `timeout` after a kill.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, running: Mutex::default() }
    }

    /// Watches the statement with this mark, until what is returned is dropped: by its own thread, at its end.
    pub fn watch(self: &Arc<Self>, marker: &str) -> Watched {
        self.running().insert(marker.to_owned(), None);
        Watched { watchdog: Arc::clone(self), marker: marker.to_owned() }
    }

    /// A statement is being killed.
    pub fn killed(&self, marker: &str) {
        if let Some(killed) = self.running().get_mut(marker) {
            killed.get_or_insert_with(Instant::now);
        }
    }

    /// Whether one goes on for too long after its kill.
    fn is_stuck(&self) -> bool {
        self.running().values().flatten().any(|killed| killed.elapsed() > self.timeout)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Option<Instant>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks now and then, until `stop`, on a thread of its own: what it is there for can take up all others.
    pub fn keep(self: Arc<Self>, stop: CancellationToken) {
        let looking = move || {
            while !stop.is_cancelled() {
                if self.is_stuck() {
                    tracing::error!(
                        timeout_seconds = self.timeout.as_secs(),
                        "a statement of the reader does not end though it was killed: this process ends, to be started again"
                    );
                    // SAFETY: ends the process; nothing of it can be waited for. What was acknowledged is on the disk.
                    unsafe { libc::_exit(STUCK_STATUS) }
                }
                thread::sleep(LOOK_EVERY);
            }
        };
        if let Err(error) = thread::Builder::new().name("watchdog".into()).spawn(looking) {
            tracing::error!(%error, "the search for statements that do not end has stopped");
        }
    }
}

/// A statement that runs.
#[derive(Debug)]
pub struct Watched {
    watchdog: Arc<Watchdog>,
    marker: String,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watchdog.running().remove(&self.marker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_killed_and_goes_on_is_stuck() {
        let watchdog = Arc::new(Watchdog::new(Duration::ZERO));
        let [one, other] = ["one", "other"].map(|marker| watchdog.watch(marker));
        watchdog.killed("unknown");
        assert!(!watchdog.is_stuck());
        watchdog.killed("one");
        thread::sleep(Duration::from_millis(1));
        assert!(watchdog.is_stuck());
        drop(one);
        assert!(!watchdog.is_stuck());
        drop(other);
        assert!(watchdog.running().is_empty());
    }
}
