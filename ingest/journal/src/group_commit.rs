//! Appending from many tasks with one sync for all that wait.
//!
//! One thread syncs; while it does, appends gather for its next round. It never waits to gather: a
//! lone append is synced at once, and under load the disk's own pace makes the groups.
//!
//! **A failed sync is the end of an incarnation.** Linux marks the pages it could not write as clean,
//! so the next sync would succeed without them. Everything that waits is refused, whether the failing
//! sync covered it or not, and the journal goes on as a new incarnation. Refused records may still be
//! on the disk: callers retry, and ids make the second time harmless.

use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::directory;
use crate::disk::{Disk, OsDisk};
use crate::error::{CommitError, OpenError};
use crate::frame::frame_bytes;
use crate::metrics;
use crate::position::Position;
use crate::reader::{ReadError, Reader};
use crate::record::Record;
use crate::segment::Extent;
use crate::writer::{JournalConfig, SyncTask, Visibility, Writer};

/// Between tries to reopen a journal that failed.
const REOPEN_RETRY: Duration = Duration::from_millis(100);
/// Of so many tries one is logged: one in ten seconds.
const REOPEN_TRIES_A_LINE: u32 = 100;
/// Between looks at a segment's age while nothing is appended, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A journal, and how much may wait for it.
#[derive(Debug, Clone)]
pub struct GroupCommitConfig {
    /// The journal.
    pub journal: JournalConfig,
    /// The most that may be appended and not yet on the disk, in bytes with framing. Also the limit
    /// of one call's records together.
    pub waiting_bytes_max: usize,
    /// A segment with records is closed this long after its first one, within a second: see
    /// [`Writer::roll_older_than`].
    pub segment_age: Duration,
}

/// A journal whose records are answered for only when they are on the disk, and are visible to
/// readers only then.
#[derive(Debug)]
pub struct GroupCommit {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl GroupCommit {
    /// Opens the journal and starts the thread that syncs it.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub fn open(config: GroupCommitConfig) -> Result<Self, OpenError> {
        Self::open_with(config, Arc::new(OsDisk))
    }

    /// As [`Self::open`], on a given disk.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub fn open_with(config: GroupCommitConfig, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let writer = Writer::open_with(config.journal.clone(), Visibility::Synced, Arc::clone(&disk))?;
        let state =
            CommitQueue { writer: Some(writer), waiting: Vec::new(), waiting_bytes: 0, is_closed: false };
        let shared = Arc::new(Shared { config, disk, state: Mutex::new(state), wake: Condvar::new() });
        let syncer = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("journal-sync".to_owned())
            .spawn(move || syncer.sync_until_closed())?;
        Ok(GroupCommit { shared, thread: Some(thread) })
    }

    /// Appends records and resolves, once they are on the disk, to the position of the first. They
    /// stand one behind the other in one incarnation.
    ///
    /// They are appended when this is called; the future only waits, and dropping it takes nothing
    /// back.
    ///
    /// # Errors
    /// [`CommitError`]. Some of the records may be in the journal all the same.
    pub fn append(
        &self,
        payloads: &[&[u8]],
    ) -> impl Future<Output = Result<Position, CommitError>> + Send + use<> {
        let appended = self.shared.append(payloads).inspect_err(|error| metrics::refused_commit(error.tag()));
        // A sender gone without an answer means that the thread has died.
        async move { appended?.await.unwrap_or(Err(CommitError::Closed)) }
    }
}

impl GroupCommit {
    /// Hands out what the journal holds of the newest segments, whole ones that together have at most so many bytes, or the
    /// newest two; the oldest record first. Blocks while it reads.
    ///
    /// # Errors
    /// The disk's.
    pub fn recent(&self, bytes_max: u64, mut take: impl FnMut(&Record)) -> Result<(), ReadError> {
        const RECORDS: usize = 4096;
        const BYTES: usize = 1024 * 1024;
        let dir = &self.shared.config.journal.dir;
        let Some(from) = directory::newest(dir, bytes_max)? else { return Ok(()) };
        let mut reader = Reader::open(dir, Some(from));
        let mut records = Vec::new();
        loop {
            let caught_up = match reader.read(RECORDS, BYTES, &mut records) {
                Ok(outcome) => outcome.caught_up,
                // A segment that was given up meanwhile takes what comes before it along.
                Err(ReadError::Io(error)) => return Err(error.into()),
                Err(_) => return Ok(()),
            };
            records.drain(..).for_each(|record| take(&record));
            if caught_up {
                return Ok(());
            }
        }
    }
}

impl Drop for GroupCommit {
    /// Commits what waits, seals the journal and ends the thread. Waits for the disk.
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there is already on stderr, and its waiters got their refusal.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Shared {
    config: GroupCommitConfig,
    disk: Arc<dyn Disk>,
    state: Mutex<CommitQueue>,
    wake: Condvar,
}

#[derive(Debug)]
struct CommitQueue {
    /// `None` while the journal is reopened after a failure.
    writer: Option<Writer>,
    waiting: Vec<Waiter>,
    /// Of `waiting` and of what is being synced.
    waiting_bytes: usize,
    is_closed: bool,
}

#[derive(Debug)]
struct Waiter {
    first: Position,
    bytes: usize,
    answer: oneshot::Sender<Result<Position, CommitError>>,
}

impl Waiter {
    fn answer(self, outcome: Result<(), CommitError>) {
        // A caller that has gone away needs no answer.
        let _ = self.answer.send(outcome.map(|()| self.first));
    }
}

/// One sync and those it is for.
struct Round {
    waiters: Vec<Waiter>,
    task: SyncTask,
    through: Position,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, CommitQueue> {
        // Nothing under the lock leaves the state half changed, so a panic elsewhere costs nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(
        &self,
        payloads: &[&[u8]],
    ) -> Result<oneshot::Receiver<Result<Position, CommitError>>, CommitError> {
        let bytes = payloads.iter().map(|payload| frame_bytes(payload.len())).sum::<usize>();
        let mut state = self.lock();
        let state = &mut *state;
        let writer = match &mut state.writer {
            _ if state.is_closed => return Err(CommitError::Closed),
            _ if bytes > self.config.waiting_bytes_max => return Err(CommitError::TooLarge),
            _ if state.waiting_bytes + bytes > self.config.waiting_bytes_max => {
                return Err(CommitError::Busy);
            }
            None => return Err(CommitError::Reopening),
            Some(writer) => writer,
        };
        let first = writer.next_position();
        for payload in payloads {
            writer.append(payload)?;
        }
        let (answer, answered) = oneshot::channel();
        state.waiting_bytes += bytes;
        state.waiting.push(Waiter { first, bytes, answer });
        self.wake.notify_one();
        Ok(answered)
    }

    fn sync_until_closed(&self) {
        while let Some(Round { waiters, task, through }) = self.next_round() {
            let started = Instant::now();
            let outcome = task.run();
            metrics::synced_in(started.elapsed());
            match outcome {
                Ok(full) => self.succeed(waiters, through, full),
                Err(error) => self.fail(waiters, error),
            }
        }
        // Seals the journal, on this thread, before whoever closes it goes on.
        drop(self.lock().writer.take());
    }

    /// Waits for something to sync: records, or a segment closed for its age. `None` once closed and
    /// nothing waits.
    fn next_round(&self) -> Option<Round> {
        let idle = |state: &mut CommitQueue| state.waiting.is_empty() && !state.is_closed;
        let look_every = LOOK_EVERY.min(self.config.segment_age).max(Duration::from_millis(1));
        let mut state = self.lock();
        loop {
            let waited = self.wake.wait_timeout_while(state, look_every, idle);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let is_rolled = state.writer.as_mut().is_some_and(|writer| self.roll(writer));
            if is_rolled || !state.waiting.is_empty() {
                break;
            }
            if state.is_closed {
                return None;
            }
        }
        let waiters = mem::take(&mut state.waiting);
        let writer = state.writer.as_mut().expect("nothing waits while there is no writer");
        let (task, through) = (writer.sync_task(), writer.next_position());
        Some(Round { waiters, task, through })
    }

    fn roll(&self, writer: &mut Writer) -> bool {
        writer.roll_older_than(self.config.segment_age).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot close a segment for its age");
            false
        })
    }

    fn succeed(&self, waiters: Vec<Waiter>, through: Position, full: Vec<Extent>) {
        {
            let mut state = self.lock();
            state.waiting_bytes -= waiters.iter().map(|waiter| waiter.bytes).sum::<usize>();
            let writer = state.writer.as_mut().expect("only a failure takes the writer away");
            writer.settle(through.offset, full);
        }
        waiters.into_iter().for_each(|waiter| waiter.answer(Ok(())));
    }

    /// Refuses everything that waits and puts a new incarnation in the failed one's place.
    fn fail(&self, waiters: Vec<Waiter>, error: io::Error) {
        metrics::sync_failure();
        tracing::error!(error = &error as &dyn std::error::Error, "journal failed to sync, reopening it");
        let (failed, gathered) = {
            let mut state = self.lock();
            state.waiting_bytes = 0;
            (state.writer.take(), mem::take(&mut state.waiting))
        };
        // Releases the lock on the journal; appends are refused until there is a new writer.
        drop(failed);
        let error = Arc::new(error);
        let refuse = |waiter: Waiter| waiter.answer(Err(CommitError::Io(Arc::clone(&error))));
        waiters.into_iter().chain(gathered).for_each(refuse);
        self.reopen();
    }

    fn reopen(&self) {
        for tries in 0_u32.. {
            let config = self.config.journal.clone();
            match Writer::open_with(config, Visibility::Synced, Arc::clone(&self.disk)) {
                Ok(writer) => {
                    tracing::info!(incarnation = %writer.incarnation(), "journal reopened");
                    self.lock().writer = Some(writer);
                    return;
                }
                Err(error) if tries % REOPEN_TRIES_A_LINE == 0 => {
                    tracing::error!(
                        tries,
                        error = &error as &dyn std::error::Error,
                        "cannot reopen the journal"
                    );
                }
                Err(_) => {}
            }
            let open = |state: &mut CommitQueue| !state.is_closed;
            let waited = self.wake.wait_timeout_while(self.lock(), REOPEN_RETRY, open);
            if waited.unwrap_or_else(PoisonError::into_inner).0.is_closed {
                return;
            }
        }
    }
}
