//! On which day each API key was used last: noted by requests, which never wait for it, and written to the registry
//! behind them, once a day and key at most.

use crate::registry::{CHANGES_MAX, Change, Registry, check::KEYS_MAX};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;
use whence_schemas::{event::ApiKey, time::UnixMs};

whence_metrics::declare! {
    /// Days of use of API keys that could not be written yet (registry) or were left out (full), by reason.
    counter API_KEY_USE_FAILURES: "whence_api_key_use_failures_total" { reason: ["full", "registry"] };
}

/// Days that are written together: after midnight every key is used for the first time.
const GATHER: Duration = Duration::from_millis(200);
/// After a write that failed. A day lasts longer than most outages.
const RETRY: Duration = Duration::from_secs(10);

/// Days that are not in the registry yet.
#[derive(Debug, Default)]
pub struct KeyUses {
    /// By key. As many as there can be keys.
    waiting: Mutex<BTreeMap<String, i32>>,
    changed: Notify,
}

impl KeyUses {
    /// A key is used now. What the registry has of it says whether that is news.
    pub fn note(&self, key: &ApiKey, now: UnixMs) {
        let day = now.day();
        if day <= key.last_used_day {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get(&key.id) {
            Some(noted) if *noted >= day => return,
            None if waiting.len() >= KEYS_MAX => return failed("full", 1),
            _ => drop(waiting.insert(key.id.clone(), day)),
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Writes what is noted, until `shutdown`. While the registry is away days wait, and are tried again.
    pub async fn write(&self, registry: &dyn Registry, shutdown: CancellationToken) {
        let writing = async {
            loop {
                self.changed.notified().await;
                sleep(GATHER).await;
                while !self.write_once(registry).await {
                    sleep(RETRY).await;
                }
            }
        };
        let _: Option<()> = shutdown.run_until_cancelled(writing).await;
    }

    /// Whether all is written that was noted before.
    async fn write_once(&self, registry: &dyn Registry) -> bool {
        let noted: Vec<(String, i32)> = {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.iter().map(|(id, day)| (id.clone(), *day)).collect()
        };
        for days in noted.chunks(CHANGES_MAX) {
            let changes =
                days.iter().map(|(id, day)| Change::KeyUsed { id: id.clone(), day: *day }).collect();
            // A key that is not there any more has no use.
            if let Err(error) = registry.write(changes).await {
                failed("registry", days.len());
                tracing::debug!(error = &error as &dyn std::error::Error, "days of use of keys wait");
                return false;
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, day) in days {
                if waiting.get(id) == Some(day) {
                    waiting.remove(id);
                }
            }
        }
        true
    }
}

fn failed(reason: &'static str, days: usize) {
    metrics::counter!(API_KEY_USE_FAILURES, "reason" => reason).increment(days as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Outcomes, RegistryError, Shared};
    use futures_util::future::BoxFuture;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };
    use whence_schemas::time::DAY_MS;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    /// A registry that is away or takes everything, and notes what.
    #[derive(Default)]
    struct Noted {
        is_away: AtomicBool,
        written: Mutex<Vec<Change>>,
        shared: Arc<Shared>,
    }

    impl Registry for Noted {
        fn write(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<Outcomes, RegistryError>> {
            let is_away = self.is_away.load(Ordering::Relaxed);
            if !is_away {
                self.written.lock().unwrap().extend(changes);
            }
            let answer = if is_away { Err(RegistryError::NotReady("away")) } else { Ok(Vec::new()) };
            Box::pin(std::future::ready(answer))
        }

        fn shared(&self) -> &Arc<Shared> {
            &self.shared
        }
    }

    fn key(id: usize, last_used_day: i32) -> ApiKey {
        ApiKey { id: id.to_string(), last_used_day, ..ApiKey::default() }
    }

    #[tokio::test]
    async fn days_wait_while_the_registry_is_away_and_are_written_once() {
        let (uses, registry) = (KeyUses::default(), Noted::default());
        registry.is_away.store(true, Ordering::Relaxed);
        for _ in 0..1000 {
            uses.note(&key(1, 0), NOW);
        }
        uses.note(&key(2, NOW.day()), NOW);
        uses.note(&key(1, 0), NOW.plus_ms(-DAY_MS));
        assert!(!uses.write_once(&registry).await);
        registry.is_away.store(false, Ordering::Relaxed);
        assert!(uses.write_once(&registry).await && uses.write_once(&registry).await);
        let once = [Change::KeyUsed { id: "1".into(), day: NOW.day() }];
        assert_eq!(*registry.written.lock().unwrap(), once);
    }

    #[test]
    fn no_more_keys_wait_than_there_can_be() {
        let uses = KeyUses::default();
        (0..KEYS_MAX + 10).for_each(|id| uses.note(&key(id, 0), NOW));
        assert_eq!(uses.waiting.lock().unwrap().len(), KEYS_MAX);
    }
}
