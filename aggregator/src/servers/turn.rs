//! Who is asked first: the server that answered last. One that does not answer costs its time once, not every request.

use metrics::counter;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use whence_runtime::seldom;

whence_metrics::declare! {
    /// Requests that one of several ClickHouse servers did not take, by server and reason.
    counter CLICKHOUSE_SERVER_FAILURES: "whence_clickhouse_server_failures_total" { server, reason };
    /// Requests that none of several ClickHouse servers took.
    counter CLICKHOUSE_EXHAUSTED: "whence_clickhouse_exhausted_total";
}

/// A request that is given up without an answer sooner than this says nothing about its server.
const SILENCE_MIN: Duration = Duration::from_secs(2);

/// The order of several servers.
#[derive(Debug)]
pub(super) struct Turn {
    /// Who they are, for metrics: as many as the settings name.
    names: Vec<String>,
    first: AtomicUsize,
}

impl Turn {
    pub(super) fn new(names: Vec<String>) -> Turn {
        Turn { names, first: AtomicUsize::new(0) }
    }

    /// Every server once.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.first.load(Ordering::Relaxed), self.names.len());
        (0..count).map(move |offset| (first + offset) % count)
    }

    /// The server has taken a request.
    fn answered(&self, server: usize) {
        self.first.store(server, Ordering::Relaxed);
    }

    /// The server has not taken it.
    fn failed(&self, server: usize, reason: &'static str, text: &str) {
        let name = self.names[server].clone();
        seldom!(
            warn,
            server = name,
            reason,
            error = text,
            "a clickhouse server does not answer, the next one is asked"
        );
        counter!(CLICKHOUSE_SERVER_FAILURES, "server" => name, "reason" => reason).increment(1);
        // Whoever has found out first moves it on; the next one that answers is then first.
        let next = (server + 1) % self.names.len();
        let _ = self.first.compare_exchange(server, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Begins to ask a server.
    pub(super) fn ask(self: &Arc<Self>, server: usize) -> Asked {
        Asked { turn: Arc::clone(self), server, since: Instant::now(), is_told: false }
    }

    /// Nobody has taken it.
    pub(super) fn exhausted(&self) {
        counter!(CLICKHOUSE_EXHAUSTED).increment(1);
    }
}

/// A request that a server has. Dropped without a word it was given up by whoever waits for it: the server was too
/// slow for them.
#[derive(Debug)]
pub(super) struct Asked {
    turn: Arc<Turn>,
    server: usize,
    since: Instant,
    is_told: bool,
}

impl Asked {
    pub(super) fn answered(mut self) {
        self.is_told = true;
        self.turn.answered(self.server);
    }

    pub(super) fn failed(mut self, reason: &'static str, text: &str) {
        self.is_told = true;
        self.turn.failed(self.server, reason, text);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_told && self.since.elapsed() >= SILENCE_MIN {
            self.turn.failed(self.server, "silent", "it was given up without an answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(turn: &Turn) -> Vec<usize> {
        turn.order().collect()
    }

    #[test]
    fn the_one_that_answered_last_is_first_and_one_that_failed_is_last() {
        let turn = Arc::new(Turn::new(["a", "b", "c"].map(str::to_owned).into()));
        assert_eq!(order(&turn), [0, 1, 2]);
        turn.ask(0).failed("refused", "");
        assert_eq!(order(&turn), [1, 2, 0]);
        turn.ask(2).answered();
        assert_eq!(order(&turn), [2, 0, 1]);
        // A request that began before, and another that only now finds out.
        turn.ask(0).failed("refused", "");
        turn.ask(1).failed("refused", "");
        assert_eq!(order(&turn), [2, 0, 1]);
        turn.ask(2).failed("refused", "");
        assert_eq!(order(&turn), [0, 1, 2]);
    }

    #[test]
    fn one_that_lets_wait_in_vain_is_last_and_one_that_was_not_waited_for_is_not() {
        let turn = Arc::new(Turn::new(["a", "b"].map(str::to_owned).into()));
        drop(turn.ask(0));
        assert_eq!(order(&turn), [0, 1]);
        let mut asked = turn.ask(0);
        asked.since -= SILENCE_MIN;
        drop(asked);
        assert_eq!(order(&turn), [1, 0]);
    }
}
