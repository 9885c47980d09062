//! What is measured: latencies from the moment of being due, and counts of everything that can happen.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Latencies in microseconds, up to a minute, with three significant digits.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

const LATENCY_US_MAX: u64 = 60_000_000;

impl Default for Latency {
    fn default() -> Latency {
        Latency(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are valid"))
    }
}

/// Percentiles of a latency, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// The median.
    pub p50_us: u64,
    /// 90 in 100 were faster.
    pub p90_us: u64,
    /// 99 in 100 were faster.
    pub p99_us: u64,
    /// 999 in 1000 were faster.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl Latency {
    /// Adds one; more than a minute is a minute.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, LATENCY_US_MAX);
        self.0.saturating_record(us);
    }

    /// The percentiles.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Percentiles {
            count: self.0.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max(),
        }
    }

    fn add(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("the bounds are the same");
    }
}

/// What one worker, or all of them, measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Clicks on connections that were open already, from being due to being answered.
    pub kept: Latency,
    /// Clicks on connections of their own.
    pub fresh: Latency,
    /// Requests to the events API.
    pub events: Latency,
    /// Clicks that were sent.
    pub clicks: u64,
    /// Requests to the events API.
    pub event_requests: u64,
    /// Clicks without an answer.
    pub unanswered: u64,
    /// Clicks that started late although there was room: the generator itself was too slow, and
    /// latencies are worse than the server's.
    pub late_starts: u64,
    /// Clicks that had to wait for room: as many were open as may be, because answers were slow.
    pub held_back: u64,
    /// Stories given up because too much was due.
    pub stories_dropped: u64,
    /// From the start to the last click's answer.
    pub took: Duration,
}

impl Measured {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Measured) {
        self.kept.add(&other.kept);
        self.fresh.add(&other.fresh);
        self.events.add(&other.events);
        self.clicks += other.clicks;
        self.event_requests += other.event_requests;
        self.unanswered += other.unanswered;
        self.late_starts += other.late_starts;
        self.held_back += other.held_back;
        self.stories_dropped += other.stories_dropped;
        self.took = self.took.max(other.took);
    }

    /// All clicks, on whatever connection.
    #[must_use]
    pub fn all_clicks(&self) -> Percentiles {
        let mut all = self.kept.clone();
        all.add(&self.fresh);
        all.percentiles()
    }

    /// Clicks a second from the start to the last answer.
    #[must_use]
    pub fn clicks_per_second(&self) -> f64 {
        let seconds = self.took.as_secs_f64();
        if seconds > 0.0 { self.clicks as f64 / seconds } else { 0.0 }
    }
}

/// How far the load has come, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    clicks: AtomicU64,
    unanswered: AtomicU64,
    events: AtomicU64,
}

impl Progress {
    pub(super) fn clicked(&self, is_answered: bool) {
        self.clicks.fetch_add(1, Ordering::Relaxed);
        if !is_answered {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn accepted(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    /// Clicks sent.
    #[must_use]
    pub fn clicks(&self) -> u64 {
        self.clicks.load(Ordering::Relaxed)
    }

    /// Clicks without an answer.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Sendings of events that were accepted.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}
