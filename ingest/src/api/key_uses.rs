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
    metrics::counter!("whence_api_key_use_failures_total", "reason" => reason).increment(days as u64);
}
