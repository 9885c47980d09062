//! Waits until everything has arrived in ClickHouse, or nothing moves any more.

use super::store::{Counts, Store};
use crate::ledger::{Body, ClickOutcome, Ledger, Reply};
use crate::world::LinkState;
use std::{collections::HashMap, time::Duration};
use tokio::time::{Instant, sleep};

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitLimits {
    /// At most this long.
    pub deadline: Duration,
    /// Not longer than this without anything new.
    pub standstill: Duration,
    /// This long after all has arrived, for what should not arrive.
    pub settle: Duration,
}

impl Default for WaitLimits {
    fn default() -> WaitLimits {
        WaitLimits {
            deadline: Duration::from_secs(300),
            standstill: Duration::from_secs(20),
            settle: Duration::from_secs(1),
        }
    }
}

const POLL: Duration = Duration::from_millis(200);

/// How the wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// What there is.
    pub stored: Counts,
    /// What there should be at least.
    pub expected: Counts,
    /// Whether it is.
    pub is_complete: bool,
    /// How long it took until the last of it came.
    pub took: Duration,
}

/// What must be stored at least: everything that was answered.
#[must_use]
pub fn expected(ledger: &Ledger) -> Counts {
    let links = &ledger.header.world.links;
    let is_certain = |outcome, link: u32| match outcome {
        ClickOutcome::Redirected(_) => true,
        ClickOutcome::Answered => links[link as usize].state != LinkState::Missing,
        _ => false,
    };
    let clicks = ledger.clicks.iter().filter(|click| is_certain(click.outcome, click.link)).count();
    let mut accepted: HashMap<u64, i64> = HashMap::new();
    for send in ledger.sends.iter().filter(|send| matches!(send.reply, Reply::Accepted(_))) {
        *accepted.entry(send.number).or_default() += 1;
    }
    let mut counts = Counts { clicks: i64::try_from(clicks).unwrap_or(i64::MAX), ..Counts::default() };
    for event in &ledger.events {
        let Some(times) = accepted.get(&event.number) else { continue };
        match event.body {
            Body::Lead(_) => counts.leads += 1,
            Body::Qualification { .. } => counts.qualifications += 1,
            _ => counts.other_events += 1,
        }
        counts.duplicates += times - 1;
    }
    counts
}

/// Polls until all is there, or until a limit is reached. `watch` is told how far it is, every time.
///
/// # Errors
/// Of the client, if ClickHouse gave no answer at all until the end.
pub async fn wait(
    store: &Store,
    expected: Counts,
    limits: WaitLimits,
    mut watch: impl FnMut(&Counts, &Counts),
) -> clickhouse::error::Result<Waited> {
    let started = Instant::now();
    let mut moved_at = started;
    let mut last = None;
    loop {
        let answer = store.counts().await;
        let now = Instant::now();
        if let Ok(stored) = &answer {
            watch(stored, &expected);
            if last.replace(*stored) != Some(*stored) {
                moved_at = now;
            }
        }
        let stands_for = now - moved_at;
        let is_complete = last.is_some_and(|stored| stored.covers(&expected));
        let is_over = (is_complete && stands_for >= limits.settle)
            || stands_for >= limits.standstill
            || now - started >= limits.deadline;
        if is_over {
            return match (last, answer) {
                (Some(stored), _) => Ok(Waited { stored, expected, is_complete, took: moved_at - started }),
                (None, Err(error)) => Err(error),
                (None, Ok(_)) => unreachable!("an answer is kept"),
            };
        }
        sleep(POLL).await;
    }
}
