//! The delivery log's lines on their way to ClickHouse: many together, and again under the same token until they are
//! stored.

use crate::{
    chain,
    tables::{DeliveryRow, Tables},
};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use whence_runtime::seldom;

whence_metrics::declare! {
    /// Inserts into the delivery log that failed; deliveries pause until one succeeds.
    counter DELIVERY_LOG_FAILURES: "whence_delivery_log_failures_total";
}

/// Lines that are not stored, at most: with more, nothing is sent.
const LINES_MAX: usize = 1000;
/// How long lines gather.
const GATHER: Duration = Duration::from_millis(300);
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// Lines that are not known to be stored.
pub(super) struct Log {
    gathered: Vec<DeliveryRow>,
    /// What was sent and is sent again as it was.
    sent: Option<(Uuid, Vec<DeliveryRow>)>,
    due: Option<Instant>,
    backoff: Duration,
    /// Why the last try failed.
    trouble: Option<String>,
}

impl Log {
    pub fn new() -> Log {
        Log { gathered: Vec::new(), sent: None, due: None, backoff: BACKOFF_FIRST, trouble: None }
    }

    /// Why lines are not stored; `None`: they are, or are on their way.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether more may be sent to endpoints.
    pub fn has_room(&self, flying: usize) -> bool {
        let sent = self.sent.as_ref().map_or(0, |(_, rows)| rows.len());
        self.gathered.len() + sent + flying < LINES_MAX
    }

    pub fn add(&mut self, row: DeliveryRow) {
        self.gathered.push(row);
        self.due.get_or_insert(Instant::now() + GATHER);
    }

    /// When to flush next.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Stores what there is, if it is time.
    pub async fn flush_if_due(&mut self, tables: &Tables) {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.flush(tables).await;
        }
    }

    /// Stores what there is; says whether all of it is stored.
    pub async fn flush(&mut self, tables: &Tables) -> bool {
        loop {
            if self.sent.is_none() && !self.gathered.is_empty() {
                self.sent = Some((Uuid::from_u128(rand::random()), std::mem::take(&mut self.gathered)));
            }
            let Some((token, rows)) = &self.sent else {
                self.due = None;
                return true;
            };
            if let Err(error) = tables.log(*token, rows).await {
                metrics::counter!(DELIVERY_LOG_FAILURES).increment(1);
                let error = chain(&error);
                seldom!(warn, error, backoff = ?self.backoff, "the delivery log is behind");
                self.trouble = Some(error);
                self.due = Some(Instant::now() + self.backoff);
                self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
                return false;
            }
            self.sent = None;
            self.backoff = BACKOFF_FIRST;
            self.trouble = None;
        }
    }
}
