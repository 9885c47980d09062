//! Clicks into a core's journal, and what happens when the disk refuses: the visitor is answered all the
//! same, the loss is counted, logged and shown in readiness.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use whence_journal::{AppendError, JournalConfig, OpenError, Quota, Writer};
use whence_runtime::{health::Component, seldom};

use super::record::ClickRecord;

whence_metrics::declare! {
    /// Clicks that were answered but that the disk refused.
    counter CLICKS_LOST: "whence_clicks_lost_total" { reason: AppendError::TAGS };
}

/// One log line in this time for each core, however many clicks are lost.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// How long the disk counts as refusing for other reasons than the quota, which can be looked up. A core
/// that is not ready gets no clicks to try the disk with, so it has to be given the benefit of the doubt.
const DOUBT: Duration = Duration::from_secs(10);

/// The readiness of all cores' journals together.
#[derive(Clone, Debug)]
pub struct JournalHealth {
    component: Option<Component>,
    cores_refused: Arc<AtomicUsize>,
}

impl JournalHealth {
    /// Reports to `component`, if there is one.
    #[must_use]
    pub fn new(component: Option<Component>) -> JournalHealth {
        JournalHealth { component, cores_refused: Arc::default() }
    }

    /// All cores' journals are open.
    pub fn opened(&self) {
        self.show(None);
    }

    fn refused(&self, reason: &'static str) {
        self.cores_refused.fetch_add(1, Ordering::Relaxed);
        self.show(Some(reason));
    }

    fn accepted(&self) {
        if self.cores_refused.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.show(None);
        }
    }

    fn show(&self, reason: Option<&'static str>) {
        match (&self.component, reason) {
            (Some(component), None) => component.ready(),
            (Some(component), Some(reason)) => component.not_ready(format!("clicks are lost: {reason}")),
            (None, _) => {}
        }
    }
}

/// One core's journal.
#[derive(Debug)]
pub struct Recorder {
    writer: Writer,
    segment_bytes: u64,
    segment_age: Duration,
    quota: Quota,
    health: JournalHealth,
    trouble: Option<Trouble>,
}

/// The disk refuses.
#[derive(Debug)]
struct Trouble {
    reason: &'static str,
    last: Instant,
    logged: Instant,
    lost_since_log: u64,
}

impl Recorder {
    /// Opens the journal; a segment with records is closed `segment_age` after its first one.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        config: JournalConfig,
        segment_age: Duration,
        health: JournalHealth,
    ) -> Result<Recorder, OpenError> {
        let (segment_bytes, quota) = (config.segment_bytes, config.quota.clone());
        let writer = Writer::open(config)?;
        Ok(Recorder { writer, segment_bytes, segment_age, quota, health, trouble: None })
    }

    /// Puts a click into the journal; `false` if it is lost. When this returns `true` the click survives
    /// the death of the process.
    pub fn record(&mut self, click: &ClickRecord<'_>) -> bool {
        match self.writer.append_with(click.encoded_len(), |out| click.write(out)) {
            Ok(_) => {
                if self.trouble.is_some() {
                    self.recovered();
                }
                true
            }
            Err(error) => {
                self.lost(&error);
                false
            }
        }
    }

    #[cold]
    fn lost(&mut self, error: &AppendError) {
        let reason = error.tag();
        metrics::counter!(CLICKS_LOST, "reason" => reason).increment(1);
        let now = Instant::now();
        match &mut self.trouble {
            None => {
                tracing::error!(
                    reason,
                    error = error as &dyn std::error::Error,
                    "the journal refuses clicks"
                );
                self.health.refused(reason);
                self.trouble = Some(Trouble { reason, last: now, logged: now, lost_since_log: 0 });
            }
            Some(trouble) => {
                trouble.reason = reason;
                trouble.last = now;
                trouble.lost_since_log += 1;
                if now.duration_since(trouble.logged) >= LOG_EVERY {
                    let lost = std::mem::take(&mut trouble.lost_since_log);
                    tracing::error!(reason, lost, "the journal still refuses clicks");
                    trouble.logged = now;
                }
            }
        }
    }

    #[cold]
    fn recovered(&mut self) {
        if let Some(Trouble { lost_since_log, .. }) = self.trouble.take() {
            tracing::info!(lost = lost_since_log, "the journal takes clicks again");
            self.health.accepted();
        }
    }

    /// Closes a segment that is old enough, and has another look at a disk that refused; to be called once a
    /// second.
    pub fn tick(&mut self) {
        if let Err(error) = self.writer.roll_older_than(self.segment_age) {
            let error = &error as &dyn std::error::Error;
            seldom!(warn, error, "cannot close a journal's segment for its age");
        }
        let has_hope = match &self.trouble {
            None => return,
            Some(trouble) if trouble.reason == AppendError::QuotaReached.tag() => {
                self.quota.has_room(self.segment_bytes).unwrap_or(false)
            }
            Some(trouble) => trouble.last.elapsed() >= DOUBT,
        };
        if has_hope {
            self.recovered();
        }
    }
}
