//! What the topic tells, applied to the state, by whoever reads it: the task that follows, and a writer
//! that must know the end.
//!
//! The topic is read whole at every start: it is compacted, and reading it shows whether it is the one
//! that the snapshot was taken of. A topic that tells another history (it was deleted and made anew, or
//! has lost records) is not mixed with the snapshot's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::Offset;
use whence_schemas::event::{self, RegistryEntry};

use super::super::{EntryKey, Shared};
use super::recent::{Nonce, RecentTransactions};
use super::transaction::NONCE_HEADER;

/// How far somebody has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Offset of the next record; `None` before the first.
    next: Option<i64>,
    /// The newest version read from the topic.
    pub(super) version: u64,
}

impl Progress {
    pub(super) fn offset(self) -> Offset {
        self.next.map_or(Offset::Beginning, Offset::Offset)
    }
}

/// The topic is not the one that the snapshot was taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Diverged;

/// Records read together, decoded.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Vec<Arc<RegistryEntry>>,
    next: Option<i64>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The state, and what reading has shown.
#[derive(Debug)]
pub(super) struct History {
    shared: Arc<Shared>,
    /// What the state had before anything was read.
    snapshot_version: u64,
    /// How far the following task is: everything before is in the state.
    followed: Mutex<Progress>,
    recent: RecentTransactions,
}

impl History {
    pub(super) fn new(shared: Arc<Shared>) -> History {
        let snapshot_version = shared.read().version();
        History {
            shared,
            snapshot_version,
            followed: Mutex::new(Progress { next: None, version: 0 }),
            recent: RecentTransactions::default(),
        }
    }

    /// Where others may start to read: nothing before is missing in the state.
    pub(super) fn followed(&self) -> Progress {
        *self.lock()
    }

    pub(super) fn set_followed(&self, progress: Progress) {
        *self.lock() = progress;
    }

    /// Whether this transaction was among those read.
    pub(super) fn has_seen(&self, nonce: Nonce) -> bool {
        self.recent.has(nonce)
    }

    /// Decodes a record into the batch.
    pub(super) fn take(&self, message: &BorrowedMessage<'_>, batch: &mut Batch) {
        batch.next = Some(message.offset() + 1);
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let nonce = headers.filter(|header| header.key == NONCE_HEADER).find_map(|header| header.value);
        if let Some(nonce) = nonce.and_then(Nonce::from_bytes) {
            self.recent.note(nonce);
        }
        // Nothing is ever deleted, so a record without a value is somebody else's.
        match event::decode::<RegistryEntry>(message.payload().unwrap_or_default()) {
            Ok(entry) => batch.entries.push(Arc::new(entry)),
            Err(error) => {
                metrics::counter!("whence_registry_undecodable_records_total").increment(1);
                tracing::error!(offset = message.offset(), %error, "registry record cannot be read");
            }
        }
    }

    /// Applies records in the order of the topic.
    pub(super) fn apply(&self, batch: Batch, progress: &mut Progress) -> Result<(), Diverged> {
        if batch.entries.iter().any(|entry| self.contradicts(entry)) {
            return Err(Diverged);
        }
        for entry in &batch.entries {
            if entry.version <= progress.version {
                metrics::counter!("whence_registry_disorders_total").increment(1);
                tracing::error!(
                    version = entry.version,
                    after = progress.version,
                    "registry versions do not ascend, somebody else writes to the topic"
                );
            }
            progress.version = progress.version.max(entry.version);
        }
        progress.next = batch.next.or(progress.next);
        if !batch.entries.is_empty() {
            // Entries that somebody else has applied meanwhile are passed over.
            self.shared.apply(batch.entries);
        }
        Ok(())
    }

    /// The end of the topic has been reached. It cannot be older than the snapshot: an entry is in the
    /// topic before it is in any state, and compaction keeps the newest.
    pub(super) fn check_end(&self, progress: Progress) -> Result<(), Diverged> {
        if progress.version < self.snapshot_version { Err(Diverged) } else { Ok(()) }
    }

    /// Whether an entry that the snapshot must know is not part of its history.
    fn contradicts(&self, entry: &RegistryEntry) -> bool {
        if entry.version > self.snapshot_version {
            return false;
        }
        let Some(key) = EntryKey::of(entry) else { return false };
        let state = self.shared.read();
        // The state has this entry, or a later one of the same record.
        state.entry(&key).is_none_or(|known| {
            known.version < entry.version || known.version == entry.version && known.as_ref() != entry
        })
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::RegistryState;
    use whence_schemas::event::{Program, registry_entry::Entry};

    fn entry(version: u64, id: &str) -> Arc<RegistryEntry> {
        let program = Program { id: id.into(), ..Program::default() };
        Arc::new(RegistryEntry { version, changed_at_ms: 5, entry: Some(Entry::Program(program)) })
    }

    fn history(snapshot: &[Arc<RegistryEntry>]) -> History {
        let mut state = RegistryState::default();
        for entry in snapshot {
            state.apply(Arc::clone(entry)).unwrap();
        }
        History::new(Arc::new(Shared::starting_at(state)))
    }

    fn read(history: &History, entries: &[Arc<RegistryEntry>]) -> Result<Progress, Diverged> {
        let mut progress = history.followed();
        for (offset, entry) in entries.iter().enumerate() {
            let batch = Batch { entries: vec![Arc::clone(entry)], next: Some(offset as i64 + 1) };
            history.apply(batch, &mut progress)?;
        }
        history.check_end(progress)?;
        Ok(progress)
    }

    #[test]
    fn a_topic_that_goes_on_behind_the_snapshot_is_taken_up() {
        let snapshot = [entry(2, "b"), entry(3, "a")];
        let history = history(&snapshot);
        // As before and after compaction of entry 1.
        for topic in [
            vec![entry(1, "a"), entry(2, "b"), entry(3, "a"), entry(4, "c")],
            vec![entry(2, "b"), entry(3, "a"), entry(4, "c")],
        ] {
            let progress = read(&history, &topic).unwrap();
            assert_eq!(progress, Progress { next: Some(topic.len() as i64), version: 4 });
            assert_eq!(history.shared.read().version(), 4);
        }
    }

    #[test]
    fn a_topic_that_ends_before_the_snapshot_is_another() {
        let history = history(&[entry(1, "a"), entry(2, "b")]);
        assert_eq!(read(&history, &[entry(1, "a")]), Err(Diverged));
        assert_eq!(read(&history, &[]), Err(Diverged));
    }

    #[test]
    fn a_topic_with_other_entries_is_another_however_long_it_is() {
        for other in [entry(1, "z"), entry(2, "a")] {
            let history = history(&[entry(1, "a"), entry(2, "b")]);
            let topic = [other, entry(3, "c"), entry(4, "d")];
            assert_eq!(read(&history, &topic), Err(Diverged));
            assert_eq!(history.shared.read().version(), 2, "nothing was mixed in");
        }
    }

    #[test]
    fn an_entry_of_the_same_version_must_be_the_same() {
        let history = history(&[entry(1, "a")]);
        let mut other = entry(1, "a").as_ref().clone();
        other.changed_at_ms += 1;
        assert_eq!(read(&history, &[Arc::new(other)]), Err(Diverged));
    }
}
