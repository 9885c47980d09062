//! The next segment, made ready by a thread of its own, and finished ones taken off the writer's
//! hands.
//!
//! Allocating waits for the file system's journal, faulting 16 MiB in takes some ten milliseconds and
//! unmapping them half of one: on an event loop these would be pauses that visitors feel. Knows nothing
//! of records.
//!
//! A segment never fails for lack of a descriptor: the next one's is there already, and those of the ones after
//! are held ([`Held`]) before they are needed. Where the process has none left, a finished segment's is exchanged.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::directory::HELD;
use crate::disk::{Disk, is_full};
use crate::quota::Quota;
use crate::segment::{Blank, Extent, Held};

/// How long a refusal stands before the disk is asked again: long enough that a full disk costs a
/// busy writer nothing, short enough that nobody notices when there is room again.
const RETRY: Duration = Duration::from_millis(100);
/// How long a writer waits for its next segment when that is not ready: longer than a busy disk takes, so
/// that a burst costs no record, and short enough that nobody takes an event loop for dead when a disk
/// does not answer at all.
pub(crate) const WAIT: Duration = Duration::from_millis(500);
/// Between looks whether the thread takes another job, while it has as many as it may.
const JOB_PAUSE: Duration = Duration::from_millis(1);
/// One blank and a few finished segments; a finished one that finds no place is dropped in line.
const JOBS: usize = 4;

/// Why there is no next segment.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NoBlank {
    #[error("the journal has reached its quota")]
    Quota,
    #[error("the disk is full")]
    Full,
    #[error("the disk does not answer")]
    Stalled,
    #[error("cannot create a segment")]
    Io(#[source] Arc<io::Error>),
}

impl From<io::Error> for NoBlank {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { NoBlank::Full } else { NoBlank::Io(Arc::new(error)) }
    }
}

/// Where and how large the segments are.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes: usize,
    pub(crate) quota: Quota,
    /// Fault pages in ahead. It makes them dirty, so the first sync of a segment would write all of
    /// them: not for a journal that syncs.
    pub(crate) prefault: bool,
    pub(crate) disk: Arc<dyn Disk>,
}

/// What the thread has.
#[derive(Debug)]
struct Workshop {
    plan: Plan,
    /// As many as there are names in [`HELD`], where there are descriptors for them.
    held: Vec<Held>,
}

impl Workshop {
    fn new(plan: Plan) -> io::Result<Self> {
        plan.quota.count(&plan.dir)?;
        let held = HELD.into_iter().map(|name| Held::open(&plan.dir, name)).collect::<Result<_, _>>()?;
        Ok(Self { plan, held })
    }

    fn blank(&mut self) -> Result<Blank, NoBlank> {
        let Plan { dir, segment_bytes, quota, prefault, disk } = &self.plan;
        let held = &mut self.held;
        let filled = quota.within(*segment_bytes as u64, || {
            let held = held.pop().map_or_else(|| Held::open(dir, HELD[0]), Ok)?;
            Ok::<_, io::Error>(held.fill(*segment_bytes, *prefault, &**disk))
        })?;
        match filled.ok_or(NoBlank::Quota)?? {
            Ok(blank) => {
                self.hold();
                Ok(blank)
            }
            Err((error, held)) => {
                self.held.extend(held);
                Err(error.into())
            }
        }
    }

    /// Cuts a sealed segment, and lets its descriptor go: for the one that is held, if none is.
    fn finish(&mut self, extent: Extent) {
        finish(&extent);
        self.hold();
        drop(extent);
        self.hold();
    }

    /// What does not succeed is tried again with every job.
    fn hold(&mut self) {
        let is_missing = |name: &&str| self.held.iter().all(|held| held.name() != *name);
        let missing: Vec<_> = HELD.into_iter().filter(is_missing).collect();
        self.held.extend(missing.into_iter().map_while(|name| Held::open(&self.plan.dir, name).ok()));
    }
}

enum Job {
    Prepare,
    Finish(Extent),
}

/// Whether a segment was asked for whose answer is still to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    No,
    /// Long before it is needed.
    Ahead,
    /// When it is needed.
    Now,
}

/// The writer's side of the thread.
#[derive(Debug)]
pub(crate) struct Preparer {
    jobs: Option<SyncSender<Job>>,
    blanks: Receiver<Result<Blank, NoBlank>>,
    thread: Option<JoinHandle<()>>,
    asked: Asked,
    refused: Option<(NoBlank, Instant)>,
}

impl Preparer {
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS);
        let (ready, blanks) = sync_channel(1);
        let mut workshop = Workshop::new(plan)?;
        let run = move || {
            for job in queue {
                match job {
                    // The writer asks for one at a time, so the answer always has its place.
                    Job::Prepare => drop(ready.try_send(workshop.blank())),
                    Job::Finish(extent) => workshop.finish(extent),
                }
            }
        };
        let thread = thread::Builder::new().name("journal-prepare".to_owned()).spawn(run)?;
        Ok(Preparer { jobs: Some(jobs), blanks, thread: Some(thread), asked: Asked::No, refused: None })
    }

    /// Has the next segment made while the writer goes on. Asking again changes nothing.
    pub(crate) fn ask(&mut self) {
        if self.asked == Asked::No && self.jobs().try_send(Job::Prepare).is_ok() {
            self.asked = Asked::Ahead;
        }
    }

    /// The next segment. Waits for it once, for `limit` at most; while segments are being refused it answers
    /// at once, and the disk is asked again in the background every 100 ms.
    pub(crate) fn take(&mut self, limit: Duration) -> Result<Blank, NoBlank> {
        let blank = match self.refused.take() {
            Some((refusal, since)) => self.retry(refusal, since)?,
            None => self.wait(limit),
        };
        self.refused = blank.as_ref().err().map(|refusal| (refusal.clone(), Instant::now()));
        blank
    }

    /// The next segment if it is ready; has it made if it is not. Never waits, and says nothing of refusals.
    pub(crate) fn take_ready(&mut self) -> Option<Blank> {
        self.ask();
        let answer = self.blanks.try_recv().ok()?;
        self.asked = Asked::No;
        let blank = answer.ok()?;
        self.refused = None;
        Some(blank)
    }

    fn wait(&mut self, limit: Duration) -> Result<Blank, NoBlank> {
        let until = Instant::now() + limit;
        loop {
            while self.asked == Asked::No {
                match self.jobs().try_send(Job::Prepare) {
                    Ok(()) => self.asked = Asked::Now,
                    Err(TrySendError::Full(_)) if Instant::now() < until => thread::sleep(JOB_PAUSE),
                    Err(TrySendError::Full(_)) => return Err(NoBlank::Stalled),
                    Err(TrySendError::Disconnected(_)) => return Err(thread_is_gone()),
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            let answer = match self.blanks.recv_timeout(left) {
                Ok(answer) => answer,
                // The answer is still to come, and is taken then.
                Err(RecvTimeoutError::Timeout) => return Err(NoBlank::Stalled),
                Err(RecvTimeoutError::Disconnected) => return Err(thread_is_gone()),
            };
            match std::mem::replace(&mut self.asked, Asked::No) {
                // A refusal of long ago: there may be room by now.
                Asked::Ahead if answer.is_err() => {}
                _ => return answer,
            }
        }
    }

    /// Asks again without waiting, since the disk may be in trouble. The outer error is that there is
    /// no answer yet: the refusal stands.
    fn retry(&mut self, refusal: NoBlank, since: Instant) -> Result<Result<Blank, NoBlank>, NoBlank> {
        if self.asked == Asked::No && since.elapsed() >= RETRY {
            self.ask();
        }
        match self.blanks.try_recv() {
            Ok(answer) => {
                self.asked = Asked::No;
                Ok(answer)
            }
            Err(_) => {
                self.refused = Some((refusal.clone(), since));
                Err(refusal)
            }
        }
    }

    fn jobs(&self) -> &SyncSender<Job> {
        self.jobs.as_ref().expect("present until stopped")
    }

    /// Has a sealed segment cut to its length and unmapped.
    pub(crate) fn finish(&self, extent: Extent) {
        // No place: the extent comes back and is unmapped here, its unused tail stays allocated
        // until the segment is retired.
        drop(self.jobs().try_send(Job::Finish(extent)));
    }

    /// Ends the thread after the jobs it has.
    pub(crate) fn stop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there is already on stderr, and nothing here depends on the thread any more.
            let _ = thread.join();
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn thread_is_gone() -> NoBlank {
    io::Error::other("the thread that prepares segments has died").into()
}

/// Cuts a sealed segment to its length; failing costs only disk space, so it is only logged.
pub(crate) fn finish(extent: &Extent) {
    if let Err(error) = extent.truncate() {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot trim a finished segment");
    }
}
