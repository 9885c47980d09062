//! A line on standard error while something takes longer than a second.

use crate::drive::Progress;
use std::{
    cell::Cell,
    time::{Duration, Instant},
};

const EVERY: Duration = Duration::from_secs(1);

/// What is under way.
pub(super) struct Bar {
    what: &'static str,
    started: Instant,
    said: Cell<Instant>,
}

impl Bar {
    pub fn start(what: &'static str) -> Bar {
        let now = Instant::now();
        Bar { what, started: now, said: Cell::new(now) }
    }

    /// How far it is; shown once a second.
    pub fn say(&self, how_far: &str) {
        if self.said.get().elapsed() >= EVERY {
            self.said.set(Instant::now());
            eprintln!("{}: {how_far} ({} s)", self.what, self.started.elapsed().as_secs());
        }
    }

    /// The step is done; shown if it took longer than a second.
    pub fn finish(&self, result: &str) {
        let took = self.started.elapsed();
        if took >= EVERY {
            eprintln!("{}: {result} ({:.1} s)", self.what, took.as_secs_f64());
        }
    }
}

/// Shows how far the load is, once a second, for ever.
pub(super) async fn watch_load(progress: &Progress, clicks: u64) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.tick().await;
    let mut before = 0;
    loop {
        ticks.tick().await;
        let sent = progress.clicks();
        eprintln!(
            "load: {sent}/{clicks} clicks, {} in the last second, {} unanswered, {} events accepted",
            sent - before,
            progress.unanswered(),
            progress.events()
        );
        before = sent;
    }
}
