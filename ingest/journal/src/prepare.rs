//! The next segment, made ready by a thread of its own, and finished ones taken off the writer's
//! hands.
//!
//! Allocating waits for the file system's journal, faulting 16 MiB in takes some ten milliseconds and
//! unmapping them half of one: on an event loop these would be pauses that visitors feel. Knows nothing
//! of records.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::directory::disk_usage;
use crate::disk::{Disk, is_full};
use crate::segment::{Blank, Extent};

/// How long a refusal stands before the disk is asked again: long enough that a full disk costs a
/// busy writer nothing, short enough that nobody notices when there is room again.
const RETRY: Duration = Duration::from_millis(100);
/// One blank and a few finished segments; a finished one that finds no place is dropped in line.
const JOBS: usize = 4;

/// Why there is no next segment.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NoBlank {
    #[error("the journal has reached its quota")]
    Quota,
    #[error("the disk is full")]
    Full,
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
    pub(crate) quota_bytes: u64,
    /// Fault pages in ahead. It makes them dirty, so the first sync of a segment would write all of
    /// them: not for a journal that syncs.
    pub(crate) prefault: bool,
    pub(crate) disk: Arc<dyn Disk>,
}

impl Plan {
    fn blank(&self) -> Result<Blank, NoBlank> {
        if disk_usage(&self.dir)?.bytes + self.segment_bytes as u64 > self.quota_bytes {
            return Err(NoBlank::Quota);
        }
        Ok(Blank::create(&self.dir, self.segment_bytes, self.prefault, &*self.disk)?)
    }
}

enum Job {
    Prepare,
    Finish(Extent),
}

/// The writer's side of the thread.
#[derive(Debug)]
pub(crate) struct Preparer {
    jobs: Option<SyncSender<Job>>,
    blanks: Receiver<Result<Blank, NoBlank>>,
    thread: Option<JoinHandle<()>>,
    is_asked: bool,
    refused: Option<(NoBlank, Instant)>,
}

impl Preparer {
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS);
        let (ready, blanks) = sync_channel(1);
        let run = move || {
            for job in queue {
                match job {
                    // The writer asks for one at a time, so the answer always has its place.
                    Job::Prepare => drop(ready.try_send(plan.blank())),
                    Job::Finish(extent) => finish(&extent),
                }
            }
        };
        let thread = thread::Builder::new().name("journal-prepare".to_owned()).spawn(run)?;
        Ok(Preparer { jobs: Some(jobs), blanks, thread: Some(thread), is_asked: false, refused: None })
    }

    /// Has the next segment made while the writer goes on. Asking again changes nothing.
    pub(crate) fn ask(&mut self) {
        if !self.is_asked {
            let jobs = self.jobs.as_ref().expect("present until stopped");
            self.is_asked = jobs.try_send(Job::Prepare).is_ok();
        }
    }

    /// The next segment. Waits for it once; while segments are being refused it answers at once, and
    /// the disk is asked again in the background every 100 ms.
    pub(crate) fn take(&mut self) -> Result<Blank, NoBlank> {
        match &self.refused {
            Some((refusal, at)) if !self.is_asked && at.elapsed() < RETRY => return Err(refusal.clone()),
            _ => self.ask(),
        }
        let answer = match &self.refused {
            // A refused writer must not wait for a disk that is in trouble.
            Some((refusal, _)) => match self.blanks.try_recv() {
                Err(TryRecvError::Empty) => return Err(refusal.clone()),
                answer => answer.map_err(io::Error::other),
            },
            None => self.blanks.recv().map_err(io::Error::other),
        };
        self.is_asked = false;
        let blank = answer.map_err(NoBlank::from).flatten();
        self.refused = blank.as_ref().err().map(|refusal| (refusal.clone(), Instant::now()));
        blank
    }

    /// Has a sealed segment cut to its length and unmapped.
    pub(crate) fn finish(&self, extent: Extent) {
        let jobs = self.jobs.as_ref().expect("present until stopped");
        // No place: the extent comes back and is unmapped here, its unused tail stays allocated
        // until the segment is retired.
        drop(jobs.try_send(Job::Finish(extent)));
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

/// Cuts a sealed segment to its length; failing costs only disk space, so it is only logged.
pub(crate) fn finish(extent: &Extent) {
    if let Err(error) = extent.truncate() {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot trim a finished segment");
    }
}
