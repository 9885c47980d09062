//! What the topic tells, applied to the state, and how far that has come.
//!
//! The topic is read whole at every start: it is compacted, and reading it shows whether it is the one
//! that the snapshot was taken of. A topic that tells another history (it was deleted and recreated, or
//! has lost records) is not mixed with the snapshot's.

use std::sync::Arc;

use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use whence_schemas::event::{self, RegistryEntry};

use super::super::{EntryKey, Shared};
use super::recent::{Nonce, RecentTransactions};
use super::transaction::NONCE_HEADER;

whence_metrics::declare! {
    /// Registry records that are not entries.
    counter REGISTRY_UNDECODABLE_RECORDS: "whence_registry_undecodable_records_total";
    /// Registry records whose version is not a new one.
    counter REGISTRY_DISORDERS: "whence_registry_disorders_total";
}

/// The topic is not the one that the snapshot was taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Diverged;

/// Records read together, decoded.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Vec<Arc<RegistryEntry>>,
    nonces: Vec<Nonce>,
    records: usize,
}

impl Batch {
    /// Records in it, of whatever kind.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    /// Decodes a record into the batch.
    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) {
        self.records += 1;
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let nonce = headers.filter(|header| header.key == NONCE_HEADER).find_map(|header| header.value);
        let nonce = nonce.and_then(Nonce::from_bytes);
        self.nonces.extend(nonce.filter(|nonce| self.nonces.last() != Some(nonce)));
        // A writer's mark has no value; nothing else is ever deleted.
        let Some(payload) = message.payload() else { return };
        match event::decode::<RegistryEntry>(payload) {
            Ok(entry) => self.entries.push(Arc::new(entry)),
            Err(error) => {
                metrics::counter!(REGISTRY_UNDECODABLE_RECORDS).increment(1);
                tracing::error!(offset = message.offset(), %error, "registry record cannot be read");
            }
        }
    }
}

/// The state, and what reading has shown.
#[derive(Debug)]
pub(super) struct History {
    shared: Arc<Shared>,
    /// What the state had before anything was read.
    snapshot_version: u64,
    /// The newest version read from the topic.
    topic_version: watch::Sender<u64>,
    recent: RecentTransactions,
}

impl History {
    pub(super) fn new(shared: Arc<Shared>) -> History {
        let snapshot_version = shared.read().version();
        let recent = RecentTransactions::default();
        History { shared, snapshot_version, topic_version: watch::Sender::new(0), recent }
    }

    /// Whether this transaction was among those applied.
    pub(super) fn has_seen(&self, nonce: Nonce) -> bool {
        self.recent.has(nonce)
    }

    /// Waits until this transaction, and so everything before it, has been applied. `false` if that did
    /// not happen in time.
    pub(super) async fn sees(&self, nonce: Nonce, deadline: Instant) -> bool {
        let mut applied = self.topic_version.subscribe();
        timeout_at(deadline, applied.wait_for(|_| self.has_seen(nonce))).await.is_ok()
    }

    /// Applies records in the order of the topic.
    pub(super) fn apply(&self, batch: Batch) -> Result<(), Diverged> {
        if batch.entries.iter().any(|entry| self.contradicts(entry)) {
            return Err(Diverged);
        }
        let mut newest = *self.topic_version.borrow();
        for entry in &batch.entries {
            if entry.version <= newest {
                metrics::counter!(REGISTRY_DISORDERS).increment(1);
                tracing::error!(
                    version = entry.version,
                    after = newest,
                    "registry versions do not ascend, somebody else writes to the topic"
                );
            }
            newest = newest.max(entry.version);
        }
        if !batch.entries.is_empty() {
            // This process's own entries may be there already: they are passed over.
            self.shared.apply(batch.entries);
        }
        for nonce in batch.nonces {
            self.recent.note(nonce);
        }
        self.topic_version.send_replace(newest);
        Ok(())
    }

    /// Whether the topic has told all that the snapshot knows. At its end it must: an entry is in the
    /// topic before it is in any state, and compaction keeps the newest.
    pub(super) fn has_caught_up(&self) -> bool {
        *self.topic_version.borrow() >= self.snapshot_version
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistryState;
    use whence_schemas::event::{Program, registry_entry::Entry};

    fn entry(version: u64, id: &str) -> Arc<RegistryEntry> {
        let program = Program { id: id.into(), ..Program::default() };
        Arc::new(RegistryEntry { version, entry: Some(Entry::Program(program)), ..RegistryEntry::default() })
    }

    fn history(snapshot: &[Arc<RegistryEntry>]) -> History {
        let mut state = RegistryState::default();
        for entry in snapshot {
            state.apply(Arc::clone(entry)).unwrap();
        }
        History::new(Arc::new(Shared::starting_at(state)))
    }

    fn read(history: &History, entries: &[Arc<RegistryEntry>]) -> Result<bool, Diverged> {
        for entry in entries {
            history.apply(Batch { entries: vec![Arc::clone(entry)], ..Batch::default() })?;
        }
        Ok(history.has_caught_up())
    }

    #[test]
    fn a_topic_that_goes_on_behind_the_snapshot_is_taken_up() {
        let as_written = [entry(1, "a"), entry(2, "b"), entry(3, "a"), entry(4, "c")];
        let compacted = [entry(2, "b"), entry(3, "a"), entry(4, "c")];
        for topic in [as_written.as_slice(), &compacted] {
            let history = history(&[entry(2, "b"), entry(3, "a")]);
            assert_eq!(read(&history, topic), Ok(true));
            assert_eq!(history.shared.read().version(), 4);
        }
    }

    #[test]
    fn a_topic_that_ends_before_the_snapshot_has_not_caught_up() {
        let history = history(&[entry(1, "a"), entry(2, "b")]);
        assert_eq!(read(&history, &[]), Ok(false));
        assert_eq!(read(&history, &[entry(1, "a")]), Ok(false));
        assert_eq!(read(&history, &[entry(2, "b")]), Ok(true));
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
