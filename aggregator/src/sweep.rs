//! Time enters as events: the owner of a partition finds the rewards whose day has come and sends a timer for
//! each into the stream. Only the timer's consumption writes anything, so that it does no harm to send one
//! twice, or from two owners.

use crate::{
    chain,
    reward::APPROVE,
    store::{DueReward, RewardStore, StoreError},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    future::Future,
    time::{Duration, Instant},
};
use whence_schemas::{
    event::{self, Event, Mode, Timer, event::Body},
    ids::{EventId, ProgramId},
    time::UnixMs,
};

whence_metrics::declare! {
    /// Timers sent for rewards that are due.
    counter TIMERS_SENT: "whence_timers_sent_total";
    /// Looks for due rewards that failed.
    counter TIMER_FAILURES: "whence_timer_failures_total";
}

/// Timers of one look, at most. More are due when these are done.
const TIMERS_MAX: usize = 1000;
/// A timer that has not come back after this is sent again.
const AGAIN_AFTER: Duration = Duration::from_secs(300);
/// `source` of the events.
const SOURCE: &str = "timer";

/// Takes events that the aggregator makes into the stream of conversions.
pub trait Outbox: Send + Sync {
    /// Returns when the records, each with its program, are where a crash does not lose them. Some may be
    /// there after an error, too.
    fn send(&self, records: Vec<(String, Bytes)>) -> impl Future<Output = Result<(), OutboxError>> + Send;
}

/// Why records were not taken; they can be sent again.
#[derive(Debug, thiserror::Error)]
#[error("the stream of conversions accepted no timers")]
pub struct OutboxError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Why a look was in vain.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// What is due can't be found out.
    #[error("cannot look for rewards that are due")]
    Store(#[from] StoreError),
    /// Timers can't be sent.
    #[error("cannot send timers")]
    Outbox(#[from] OutboxError),
}

/// Looks after one partition of conversions.
pub struct Sweeper<'a, S, O> {
    partition: u32,
    store: &'a S,
    outbox: &'a O,
    /// What was sent and is due still, by the timer's id.
    sent: HashMap<EventId, Instant>,
}

impl<'a, S: RewardStore, O: Outbox> Sweeper<'a, S, O> {
    /// Nothing was sent yet.
    pub fn new(partition: u32, store: &'a S, outbox: &'a O) -> Self {
        Sweeper { partition, store, outbox, sent: HashMap::new() }
    }

    /// Looks again and again, for ever.
    pub async fn run(mut self, every: Duration, now: impl Fn() -> UnixMs) {
        loop {
            match self.look(now()).await {
                Ok(sent) => metrics::counter!(TIMERS_SENT).increment(sent as u64),
                Err(error) => {
                    metrics::counter!(TIMER_FAILURES).increment(1);
                    tracing::warn!(partition = self.partition, error = chain(&error), "no timers sent");
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Sends timers for what is due at this moment; says how many.
    pub async fn look(&mut self, now: UnixMs) -> Result<usize, SweepError> {
        let due = self.store.rewards_due(self.partition, now, TIMERS_MAX).await?;
        let timers: Vec<_> = due.iter().filter_map(|due| timer(due, now)).collect();
        // What is due no more came back; what is left is what was sent before, at most one look's timers.
        self.sent
            .retain(|id, at| at.elapsed() < AGAIN_AFTER && timers.iter().any(|(_, timer, _)| timer == id));
        let new: Vec<_> = timers.into_iter().filter(|(_, id, _)| !self.sent.contains_key(id)).collect();
        if new.is_empty() {
            return Ok(0);
        }
        let ids: Vec<_> = new.iter().map(|(_, id, _)| *id).collect();
        self.outbox.send(new.into_iter().map(|(program, _, record)| (program, record)).collect()).await?;
        self.sent.extend(ids.iter().map(|id| (*id, Instant::now())));
        Ok(ids.len())
    }
}

/// Program, id and record of the timer. The same reward in the same state has the same id.
fn timer(due: &DueReward, now: UnixMs) -> Option<(String, EventId, Bytes)> {
    let program: ProgramId = due.program.parse().ok()?;
    let id = EventId::of(&program, SOURCE, &format!("{APPROVE} {} {}", due.reward_id, due.revision));
    let event = Event {
        id: Bytes::copy_from_slice(id.0.as_bytes()),
        mode: Mode::Live.into(),
        program: due.program.clone(),
        source: SOURCE.into(),
        occurred_at_ms: due.due_at.0,
        received_at_ms: now.0,
        body: Some(Body::Timer(Timer {
            purpose: APPROVE.into(),
            about_id: Bytes::copy_from_slice(due.reward_id.as_bytes()),
            due_at_ms: due.due_at.0,
        })),
        ..Event::default()
    };
    Some((due.program.clone(), id, event::encode(&event)))
}
