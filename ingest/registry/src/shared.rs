//! One state that a writer changes and many read and follow.
//!
//! To follow: wait on [`Shared::versions`], then take [`RegistryState::entries_after`] the newest version
//! you have, in pages, until none is left. Nothing is queued: a slow follower skips what was overwritten
//! meanwhile and holds up nobody.

use super::{RegistryState, state::ApplyError};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::watch;
use whence_schemas::event::RegistryEntry;

whence_metrics::declare! {
    /// Registry entries that could not be applied.
    counter REGISTRY_ENTRIES_PASSED_OVER: "whence_registry_entries_passed_over_total";
    /// Version of the registry's newest entry.
    gauge REGISTRY_VERSION: "whence_registry_version";
}

/// The state with its version as a signal.
#[derive(Debug)]
pub struct Shared {
    state: RwLock<RegistryState>,
    version: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self::starting_at(RegistryState::default())
    }
}

impl Shared {
    /// Starts with a state that was read from somewhere.
    #[must_use]
    pub fn starting_at(state: RegistryState) -> Shared {
        let version = watch::Sender::new(state.version());
        Shared { state: RwLock::new(state), version }
    }

    /// The state, unchanged for as long as the guard lives: keep it short, never across an await, and never
    /// in the statement that calls [`Shared::apply`], which would wait for it for ever.
    pub fn read(&self) -> RwLockReadGuard<'_, RegistryState> {
        // A panic under the write lock leaves at worst an entry that is in some indexes only.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest version, and a wake-up for each later one.
    #[must_use]
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Applies durable entries, in order. For implementations of [`super::Registry`] and for followers of
    /// the topic only.
    ///
    /// An entry that cannot be applied is counted, logged and passed over: it must not keep the ones after
    /// it from being seen. Returns how many were passed over.
    pub fn apply(&self, entries: impl IntoIterator<Item = Arc<RegistryEntry>>) -> usize {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut passed_over = 0;
        for entry in entries {
            let version = entry.version;
            match state.apply(entry) {
                Ok(()) | Err(ApplyError::Known { .. }) => {}
                Err(error) => {
                    passed_over += 1;
                    metrics::counter!(REGISTRY_ENTRIES_PASSED_OVER).increment(1);
                    tracing::warn!(version, %error, "registry entry passed over");
                }
            }
        }
        let version = state.version();
        metrics::gauge!(REGISTRY_VERSION).set(version as f64);
        // Before the state is unlocked, so that the signal never runs behind a later one.
        self.version.send_replace(version);
        passed_over
    }
}
