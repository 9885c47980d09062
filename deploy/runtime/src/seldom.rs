//! Log lines that an outsider can cause at will: each at most once in ten seconds, with how often it happened
//! since the last one. What is left out is in no line; a counter beside it has all of them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two lines of a kind, at least.
pub const EVERY: Duration = Duration::from_secs(10);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// When a line of one kind is due. Make it a `static` beside the line, or use [`seldom!`](crate::seldom!).
#[derive(Debug)]
pub struct Seldom {
    every_ms: u64,
    /// Milliseconds since the process's first look; nothing is said before.
    due_ms: AtomicU64,
    /// Since the last line.
    times: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
    }
}

impl Seldom {
    /// A line that is due at once, and then once in ten seconds.
    #[must_use]
    pub const fn new() -> Self {
        Self::every(EVERY)
    }

    /// A line that is due at once, and then once in `every`.
    #[must_use]
    pub const fn every(every: Duration) -> Self {
        Self { every_ms: every.as_millis() as u64, due_ms: AtomicU64::new(0), times: AtomicU64::new(0) }
    }

    /// It happened. `Some` is how often since the last line, this time included: say it now.
    pub fn times(&self) -> Option<u64> {
        self.times_at(START.elapsed())
    }

    fn times_at(&self, since_start: Duration) -> Option<u64> {
        self.times.fetch_add(1, Ordering::Relaxed);
        let now_ms = u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX);
        let due_ms = self.due_ms.load(Ordering::Relaxed);
        let next_ms = now_ms.saturating_add(self.every_ms);
        // Of those who find it due at once, one says it.
        let is_mine = now_ms >= due_ms
            && self.due_ms.compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_mine.then(|| self.times.swap(0, Ordering::Relaxed).max(1))
    }
}

/// Logs a line at most once in ten seconds, with the field `times`: `seldom!(warn, %error, "accept failed")`.
/// Each place in the program is a line of its own.
#[macro_export]
macro_rules! seldom {
    ($level:ident, $($line:tt)+) => {{
        static SELDOM: $crate::seldom::Seldom = $crate::seldom::Seldom::new();
        if let Some(times) = SELDOM.times() {
            ::tracing::$level!(times, $($line)+);
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_once_in_its_time_and_says_how_often_it_happened() {
        let seldom = Seldom::new();
        let at = |ms| seldom.times_at(Duration::from_millis(ms));
        assert_eq!(at(0), Some(1), "the first time is said at once");
        assert!((1..=500).all(|ms| at(ms).is_none()));
        assert_eq!(at(9_999), None);
        assert_eq!(at(10_000), Some(502), "those that were left out, and this one");
        assert_eq!(at(19_999), None);
        assert_eq!(at(60_000), Some(2));
    }

    #[test]
    fn of_many_threads_at_once_one_says_it_and_no_time_is_lost() {
        let seldom = Seldom::new();
        let said: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter_map(|_| seldom.times_at(Duration::ZERO)).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap() as u64).sum()
        });
        assert_eq!(said, 1);
        assert_eq!(seldom.times_at(EVERY).map(|times| times >= 3997), Some(true));
    }
}
