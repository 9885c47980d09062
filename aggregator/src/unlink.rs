//! Sees to it that the keys of persons who were forgotten cease to lead to their events: the owner of a partition looks
//! now and then what its committed blocks have left to do.

use crate::{
    chain,
    position::{Commit, Horizon, Partition},
    store::{Store, StoreError},
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use whence_schemas::ids::EventId;

whence_metrics::declare! {
    /// Erasures whose keys lead to no event any more.
    counter ERASURES_UNLINKED: "whence_erasures_unlinked_total";
    /// Looks for keys of forgotten persons that failed; tried again.
    counter UNLINK_FAILURES: "whence_erasure_unlink_failures_total";
}

/// Looks after one partition.
pub(crate) struct Unlinking<'a, S> {
    pub partition: Partition,
    pub store: &'a S,
    pub stored: watch::Receiver<Option<Commit>>,
    pub every: Duration,
    /// For how long an erasure is known here to be committed before anything is done, and again before anything goes: a former owner
    /// that was cut off at its block, and does not know that it is none any more, makes the same rows of it only while the keys
    /// lead somewhere, and look-ups that follow the keys have to end.
    pub after: Duration,
}

impl<S: Store> Unlinking<'_, S> {
    /// Looks again and again, for ever.
    pub async fn run(self) {
        let mut known = HashMap::new();
        loop {
            tokio::time::sleep(self.every).await;
            let Some(Commit { incarnation, next, .. }) = *self.stored.borrow() else { continue };
            let before = Horizon { incarnation, partition: self.partition, before: next };
            if let Err(error) = self.look(&before, &mut known).await {
                self.failed(&error);
            }
        }
    }

    fn failed(&self, error: &StoreError) {
        metrics::counter!(UNLINK_FAILURES).increment(1);
        let (partition, error) = (self.partition, chain(error));
        tracing::warn!(%partition, error, "keys of forgotten persons still lead to events");
    }

    async fn look(&self, before: &Horizon, known: &mut HashMap<EventId, Known>) -> Result<(), StoreError> {
        let linked = self.store.linked(before).await?;
        known.retain(|id, _| linked.iter().any(|linked| linked.erasure == *id));
        if linked.is_empty() || !self.store.is_settled().await? {
            return Ok(());
        }
        for linked in linked {
            let now = Known { is_renamed: false, since: Instant::now() };
            let known = known.entry(linked.erasure).or_insert(now);
            if known.since.elapsed() < self.after {
                continue;
            }
            // One that fails holds up no other.
            let done = match known.is_renamed {
                false => self.store.rename_links(&linked).await,
                true => self.store.drop_links(&linked).await.map(|()| false),
            };
            match done {
                Ok(true) => *known = Known { is_renamed: true, ..now },
                Ok(false) if known.is_renamed => metrics::counter!(ERASURES_UNLINKED).increment(1),
                Ok(false) => {}
                Err(error) => self.failed(&error),
            }
        }
        Ok(())
    }
}

/// An erasure whose keys still lead to events, as this process knows it.
#[derive(Clone, Copy)]
struct Known {
    /// Whether what links them stands under other names as well.
    is_renamed: bool,
    /// Since when.
    since: Instant,
}
