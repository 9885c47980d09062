//! From a signal to an ordered stop under a deadline.
//!
//! The first SIGTERM or SIGINT cancels a token; the parts of the process that take in work watch it. Then
//! `main` runs the stages of a [`Shutdown`] in order (stop taking work, drain, flush, say goodbye). A stage
//! that takes too long is abandoned with a warning, because an orchestrator kills after its own grace
//! period anyway and the later stages deserve their turn. A second signal exits at once, if it comes a second or
//! more after the first.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

crate::settings! {
    /// Shutdown
    pub struct ShutdownSettings {
        /// How long a stop may take before what is left is abandoned.
        ///
        /// Keep it below the orchestrator's own grace period (30 s in Kubernetes, 90 s in systemd).
        pub shutdown_timeout: Duration = "25s" in Duration::from_secs(1)..=Duration::from_secs(3600),
    }
}

/// Signals within this time of the first are the same wish: a supervisor signals the process and then its whole
/// group, a person presses Ctrl-C in a terminal that also tells the parent.
const ONE_WISH: Duration = Duration::from_secs(1);

/// A token that the first SIGTERM or SIGINT cancels. The next one that comes more than a second later ends the
/// process with 128 + the signal's number.
///
/// # Errors
/// If the handlers cannot be installed.
///
/// # Panics
/// Outside a tokio runtime with I/O enabled.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let next = async move || {
        tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        }
    };
    // `exit` runs no destructors: what the second signal asks for.
    tokio::spawn(watch(next, token.clone(), |code| std::process::exit(code)));
    Ok(token)
}

async fn watch(mut next: impl AsyncFnMut() -> SignalKind, token: CancellationToken, exit: impl FnOnce(i32)) {
    let first = next().await.as_raw_value();
    tracing::info!(signal = first, "stopping; another signal, a second from now or later, exits at once");
    token.cancel();
    let since = Instant::now();
    let second = loop {
        let signal = next().await.as_raw_value();
        if since.elapsed() >= ONE_WISH {
            break signal;
        }
        tracing::info!(
            signal,
            "the same signal again; a signal that comes a second after the first exits at once"
        );
    };
    tracing::warn!(signal = second, "second signal, exiting without finishing the shutdown");
    exit(128 + second);
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Stage {
    name: &'static str,
    limit: Duration,
    work: Work,
}

/// How one stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It finished.
    Finished,
    /// Its own limit passed; it was dropped.
    Expired,
    /// The whole shutdown's limit passed before or during it; it was dropped.
    OutOfTime,
}

/// What a shutdown did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a shutdown that is not clean belongs in the exit code"]
pub struct Report(Vec<(&'static str, Ending)>);

impl Report {
    /// Whether every stage finished.
    pub fn is_clean(&self) -> bool {
        self.0.iter().all(|(_, ending)| *ending == Ending::Finished)
    }

    /// The stages with their endings.
    pub fn stages(&self) -> &[(&'static str, Ending)] {
        &self.0
    }
}

/// Named stages that run one after another.
pub struct Shutdown {
    limit: Duration,
    stages: Vec<Stage>,
}

impl Shutdown {
    /// A shutdown that takes at most `limit` in all, counted from [`Shutdown::run`].
    pub fn within(limit: Duration) -> Self {
        Self { limit, stages: Vec::new() }
    }

    /// Adds a stage. Its future does nothing until its turn, and is dropped when its `limit` passes: it
    /// must be safe to cancel at any await.
    #[must_use]
    pub fn stage(
        mut self,
        name: &'static str,
        limit: Duration,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.stages.push(Stage { name, limit, work: Box::pin(work) });
        self
    }

    /// Runs the stages in the order they were added.
    pub async fn run(self) -> Report {
        let deadline = Instant::now() + self.limit;
        let mut endings = Vec::with_capacity(self.stages.len());
        for Stage { name, limit, work } in self.stages {
            let started = Instant::now();
            let stage_deadline = started + limit;
            let ending = match timeout_at(stage_deadline.min(deadline), work).await {
                Ok(()) => Ending::Finished,
                Err(_) if stage_deadline <= deadline => Ending::Expired,
                Err(_) => Ending::OutOfTime,
            };
            let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            match ending {
                Ending::Finished => tracing::info!(stage = name, took_ms, "shutdown stage finished"),
                Ending::Expired => tracing::warn!(stage = name, took_ms, "shutdown stage expired"),
                Ending::OutOfTime => {
                    tracing::warn!(stage = name, took_ms, "shutdown is out of time, stage abandoned");
                }
            }
            endings.push((name, ending));
        }
        Report(endings)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::sync::{Arc, Mutex};

    use tokio::sync::mpsc;

    use super::*;

    type Journal = Arc<Mutex<Vec<&'static str>>>;

    fn note(journal: &Journal, word: &'static str) -> impl Future<Output = ()> + Send + use<> {
        let journal = Arc::clone(journal);
        async move { journal.lock().unwrap().push(word) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_hangs_is_abandoned_and_the_next_ones_still_run() {
        let journal = Journal::default();
        let report = Shutdown::within(Duration::from_secs(20))
            .stage("first", Duration::from_secs(1), note(&journal, "first"))
            .stage("hangs", Duration::from_secs(5), std::future::pending())
            .stage("last", Duration::from_secs(1), note(&journal, "last"))
            .run()
            .await;
        assert_eq!(*journal.lock().unwrap(), ["first", "last"]);
        let endings = [("first", Ending::Finished), ("hangs", Ending::Expired), ("last", Ending::Finished)];
        assert_eq!(report.stages(), endings);
        assert!(!report.is_clean());
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_takes_no_longer_than_its_limit() {
        let started = Instant::now();
        let report = Shutdown::within(Duration::from_secs(8))
            .stage("hangs", Duration::from_secs(5), std::future::pending())
            .stage("hangs too", Duration::from_secs(5), std::future::pending())
            .stage("too late", Duration::from_secs(5), std::future::pending())
            .run()
            .await;
        assert!(started.elapsed() < Duration::from_millis(8_100), "paused clock: {:?}", started.elapsed());
        let endings: Vec<Ending> = report.stages().iter().map(|(_, ending)| *ending).collect();
        assert_eq!(endings, [Ending::Expired, Ending::OutOfTime, Ending::OutOfTime]);
    }

    #[tokio::test]
    async fn stages_run_in_order_and_report_clean() {
        let journal = Journal::default();
        let report = Shutdown::within(Duration::from_secs(5))
            .stage("b", Duration::from_secs(5), note(&journal, "b"))
            .stage("a", Duration::from_secs(5), note(&journal, "a"))
            .run()
            .await;
        assert_eq!(*journal.lock().unwrap(), ["b", "a"]);
        assert!(report.is_clean());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_cancels_and_one_of_a_second_later_exits() {
        let (signals, mut received) = mpsc::channel(2);
        let token = CancellationToken::new();
        let code = Arc::new(AtomicI32::new(0));
        let exit_code = Arc::clone(&code);
        let next = async move || received.recv().await.expect("the sender lives as long as the test");
        let watching = tokio::spawn(watch(next, token.clone(), move |code| {
            exit_code.store(code, Ordering::SeqCst);
        }));

        signals.send(SignalKind::interrupt()).await.unwrap();
        token.cancelled().await;
        for _ in 0..5 {
            signals.send(SignalKind::terminate()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        assert!(!watching.is_finished() && code.load(Ordering::SeqCst) == 0, "one wish");

        tokio::time::sleep(Duration::from_millis(300)).await;
        signals.send(SignalKind::terminate()).await.unwrap();
        watching.await.unwrap();
        assert_eq!(code.load(Ordering::SeqCst), 128 + 15);
    }
}
