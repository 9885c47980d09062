//! How the partitions of this process do, for whoever shows it: which works, which does not and why, and how far
//! it is behind. Like the metrics, one for the process.

use crate::{partition::Progress, position::Partition};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A loop that began again and has nothing to do is well after this.
const WELL_AFTER: Duration = Duration::from_secs(2);
/// A block that takes longer than this is a partition that stands.
const BLOCK_MAX: Duration = Duration::from_secs(90);

/// Bounded by what a process owns: a partition leaves with its [`Seat`].
static PARTITIONS: Mutex<BTreeMap<Partition, Entry>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Default)]
struct Entry {
    /// Of two owners in one process, while one follows the other, the later counts.
    owner: u64,
    failure: Option<Failure>,
    restarted: Option<Instant>,
    in_flight: Option<Instant>,
    /// When all that there was had been read, of a block when it was begun.
    had_all: Option<Instant>,
}

#[derive(Debug)]
struct Failure {
    last: Instant,
    is_fatal: bool,
    text: String,
}

/// How a partition does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Which.
    pub partition: Partition,
    /// Why it does not work; `None`: it does.
    pub trouble: Option<String>,
    /// How long ago all records that there were had been stored, or there were none; `None`: not since it was taken.
    pub behind: Option<Duration>,
}

/// A partition on the board, until dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    partition: Partition,
    owner: u64,
}

impl Seat {
    pub(crate) fn take(partition: Partition) -> Seat {
        let mut partitions = lock();
        let entry = partitions.entry(partition).or_default();
        *entry = Entry { owner: entry.owner + 1, ..Entry::default() };
        Seat { partition, owner: entry.owner }
    }

    /// The loop failed, and will start again; or can't before a person has fixed what the error says.
    pub(crate) fn failed(&self, is_fatal: bool, text: &str) {
        self.note(|entry, now| {
            let text = text.to_owned();
            entry.in_flight = None;
            entry.failure = Some(Failure { last: now, is_fatal, text });
        });
    }

    pub(crate) fn progress(&self, progress: Progress) {
        self.note(|entry, now| match progress {
            Progress::Restarted(_) => entry.restarted = Some(now),
            Progress::Replaying(_) | Progress::Intended(_) => entry.in_flight = Some(now),
            Progress::Inserted { .. } | Progress::InsertRetried { .. } => {}
            Progress::Committed { had_all, .. } => {
                entry.failure = None;
                let begun = entry.in_flight.take();
                entry.had_all = if had_all { begun } else { entry.had_all };
            }
            Progress::Idle => entry.had_all = Some(now),
        });
    }

    fn note(&self, change: impl FnOnce(&mut Entry, Instant)) {
        let mut partitions = lock();
        if let Some(entry) = partitions.get_mut(&self.partition).filter(|entry| entry.owner == self.owner) {
            change(entry, Instant::now());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut partitions = lock();
        if partitions.get(&self.partition).is_some_and(|entry| entry.owner == self.owner) {
            partitions.remove(&self.partition);
        }
    }
}

/// Every partition that this process works, in their order.
#[must_use]
pub fn partitions() -> Vec<PartitionStatus> {
    let now = Instant::now();
    let status = |(partition, entry): (&Partition, &Entry)| PartitionStatus {
        partition: *partition,
        trouble: entry.trouble(now),
        behind: entry.had_all.map(|then| now.duration_since(then)),
    };
    lock().iter().map(status).collect()
}

impl Entry {
    fn trouble(&self, now: Instant) -> Option<String> {
        if let Some(failure) = &self.failure {
            // It began again since, and there was nothing to store: then nothing shows whether it would be.
            let is_well = self.in_flight.is_none()
                && self.restarted.is_some_and(|at| at > failure.last && now.duration_since(at) >= WELL_AFTER);
            let text = &failure.text;
            return (!is_well).then(|| match failure.is_fatal {
                true => format!("is stopped until this is fixed: {text}"),
                false => format!("begins again from its last commit: {text}"),
            });
        }
        let is_long = now.duration_since(self.in_flight?) >= BLOCK_MAX;
        is_long.then(|| format!("a block has been under way for more than {} s", BLOCK_MAX.as_secs()))
    }
}

fn lock() -> MutexGuard<'static, BTreeMap<Partition, Entry>> {
    PARTITIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Commit;
    use whence_schemas::{ids::Incarnation, topics::Stream};

    fn at(entry: &Entry, after: Duration) -> Option<String> {
        entry.trouble(Instant::now() + after)
    }

    #[test]
    fn a_partition_is_in_trouble_from_its_failure_until_something_is_stored_or_nothing_is_to_be() {
        let partition = Partition { stream: Stream::Clicks, number: 4_000_000 };
        let seat = Seat::take(partition);
        let look = |after: u64| at(&lock()[&partition], Duration::from_secs(after));
        let restarted = Progress::Restarted(Commit {
            incarnation: Incarnation(uuid::Uuid::nil()),
            next: 0,
            intent: None,
        });
        assert_eq!(look(1000), None);
        seat.failed(false, "code 210");
        assert!(look(0).unwrap().contains("begins again from its last commit: code 210"));
        seat.progress(restarted);
        assert!(look(0).is_some(), "it may fail again at once");
        assert_eq!(look(3), None, "it waits for records");
        seat.failed(true, "no table");
        assert!(look(60).unwrap().contains("is stopped until this is fixed: no table"));
        let range = crate::position::BlockRange {
            incarnation: Incarnation(uuid::Uuid::nil()),
            partition,
            first: 0,
            end: 1,
        };
        seat.progress(restarted);
        seat.progress(Progress::Intended(range));
        assert!(look(3).is_some(), "what is under way is not stored");
        let committed = |had_all| Progress::Committed { range, dedup: Default::default(), had_all };
        seat.progress(committed(false));
        let behind = || partitions().into_iter().find(|found| found.partition == partition).unwrap().behind;
        assert_eq!((look(1000), behind()), (None, None), "there is more");
        seat.progress(Progress::Intended(range));
        seat.progress(committed(true));
        assert!(behind().is_some());
        seat.progress(Progress::Intended(range));
        assert!(look(100).unwrap().contains("under way for more than 90 s"));
        let next = Seat::take(partition);
        seat.failed(true, "of the one before");
        assert_eq!(look(0), None);
        drop(seat);
        assert_eq!(look(0), None);
        drop(next);
        assert!(!lock().contains_key(&partition));
    }
}
