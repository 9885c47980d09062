//! The ids that this process took lately, and what each said: another event under one of them is refused at once.
//!
//! Bounded: an id that was taken longer ago, by another process, or before what the journal still holds is told by whoever
//! stores the events (`conflicting_body`).

use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use whence_journal::{GroupCommit, Payload, ReadError};
use whence_schemas::{
    digest,
    event::{self, Event},
    ids::EventId,
};

/// Ids that are remembered: some 8 MB.
const IDS_MAX: usize = 100_000;
/// Of the journal, at a start.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What was taken lately.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    digests: HashMap<EventId, u64>,
    /// The oldest first.
    order: VecDeque<EventId>,
}

impl Recent {
    /// With what the journal holds from before. Reads files.
    ///
    /// # Errors
    /// The journal can't be read.
    pub fn of(journal: &GroupCommit) -> Result<Recent, ReadError> {
        let recent = Recent::default();
        journal.recent(JOURNAL_BYTES_MAX, |record| {
            if let Payload::Intact(bytes) = &record.payload {
                recent.learn(bytes);
            }
        })?;
        Ok(recent)
    }

    fn learn(&self, record: &Bytes) {
        let read: Result<Event, _> = event::decode(record);
        if let Ok(event) = read
            && let Some(id) = EventId::from_bytes(&event.id)
        {
            self.took(id, event.digest);
        }
    }

    /// Whether an event of this id was taken that said something else.
    #[must_use]
    pub fn is_another(&self, id: EventId, digest: u64) -> bool {
        self.lock().digests.get(&id).is_some_and(|first| digest::tell_apart(*first, digest))
    }

    /// An event was taken. Of several under one id the first counts.
    pub fn took(&self, id: EventId, digest: u64) {
        // 0: nothing is known to compare it with.
        if digest == 0 {
            return;
        }
        let mut taken = self.lock();
        let Taken { digests, order } = &mut *taken;
        if digests.contains_key(&id) {
            return;
        }
        if order.len() == IDS_MAX
            && let Some(oldest) = order.pop_front()
        {
            digests.remove(&oldest);
        }
        order.push_back(id);
        digests.insert(id, digest);
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Two inserts at most are half done after a panic: an id less is known.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_first_counts_and_the_oldest_goes() {
        let recent = Recent::default();
        let id = |number: usize| EventId(Uuid::from_u128(number as u128));
        recent.took(id(0), 7);
        recent.took(id(0), 8);
        assert!(recent.is_another(id(0), 8) && !recent.is_another(id(0), 7));
        assert!(!recent.is_another(id(1), 8), "nothing is known of it");
        recent.took(id(1), 0);
        assert!(!recent.is_another(id(1), 8), "nothing to compare with");
        (2..=IDS_MAX + 1).for_each(|number| recent.took(id(number), 7));
        assert!(!recent.is_another(id(0), 8), "too long ago");
        assert!(recent.is_another(id(2), 8));
        assert_eq!(recent.lock().digests.len(), IDS_MAX);
    }
}
