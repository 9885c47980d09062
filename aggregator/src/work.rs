//! Keeps a partition worked: runs its loop, starts it again after what can be cured, ends when told to.

use crate::{
    chain,
    clock::Clock,
    metrics::Watch,
    partition::{LoopError, LoopSettings, PartitionLoop, Progress},
    partition_status::Seat,
    pause::Pause,
    position::{Commit, Partition},
    source::{Chunk, Source, SourceError, Start},
    store::{Store, StoreError},
    sweep::{Outbox, Sweeper},
    unlink::Unlinking,
};
use futures_util::future::BoxFuture;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use whence_schemas::{ids::Incarnation, time::UnixMs, token::KeyRing};

whence_metrics::declare! {
    /// Partition loops started again after an error.
    counter PARTITION_RESTARTS: "whence_partition_restarts_total" { stream, kind };
}

/// First wait before a loop is started again; doubles while it makes no progress.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait: also what is fatal is tried again, since a person may fix it without a restart.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// The machine's clock.
pub struct MachineClock(Instant);

impl Default for MachineClock {
    fn default() -> Self {
        MachineClock(Instant::now())
    }
}

impl Clock for MachineClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// When to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Begin no further block; the one in flight is finished.
    pub after_block: CancellationToken,
    /// End at once: the block in flight is replayed by the next owner.
    pub at_once: CancellationToken,
    /// Begin no block while somebody holds it.
    pub pause: Pause,
}

impl Stop {
    /// Both are called together with these; the pause is the same.
    #[must_use]
    pub fn child(&self) -> Stop {
        Stop {
            after_block: self.after_block.child_token(),
            at_once: self.at_once.child_token(),
            pause: self.pause.clone(),
        }
    }
}

/// A partition of conversions, for what goes on beside its loop while it is owned.
#[derive(Debug)]
pub struct Owned {
    /// Its number.
    pub partition: u32,
    /// What is stored for good: rows caused before `next` of its incarnation, and by other incarnations. `None`
    /// until the loop has begun.
    pub stored: watch::Receiver<Option<Commit>>,
    /// Called when the partition is given up or the process stops: finish soon.
    pub stop: CancellationToken,
}

/// What goes on beside the loop of a partition of conversions: begun with it, awaited with it, dropped at
/// [`Stop::at_once`].
pub type Companion = Arc<dyn Fn(Owned) -> BoxFuture<'static, ()> + Send + Sync>;

/// Works one partition until told to stop, or until it is taken away.
pub async fn work<Src: Source, Sto: Store>(
    source: Src,
    store: &Sto,
    settings: LoopSettings,
    keys: Arc<KeyRing>,
    stop: Stop,
) {
    work_and_tell(source, store, settings, keys, stop, &watch::Sender::new(None)).await;
}

async fn work_and_tell<Src: Source, Sto: Store>(
    mut source: Src,
    store: &Sto,
    settings: LoopSettings,
    keys: Arc<KeyRing>,
    stop: Stop,
    stored: &watch::Sender<Option<Commit>>,
) {
    let partition = source.partition();
    let (clock, watch, seat) = (MachineClock::default(), Watch::new(partition), Seat::take(partition));
    let mut backoff = BACKOFF_FIRST;
    loop {
        let blocks_before = watch.blocks();
        let source = UntilStopped { source: &mut source, stop: &stop.after_block };
        let mut observe = watch.observer();
        let told = |progress| {
            tell(stored, progress);
            observe(progress);
            seat.progress(progress);
        };
        let worked = PartitionLoop::new(source, store, &clock, settings, keys.clone(), told)
            .pausing(stop.pause.clone());
        let error = tokio::select! {
            biased;
            () = stop.at_once.cancelled() => break,
            Err(error) = worked.run() => error,
        };
        if matches!(error, LoopError::Source(SourceError::Lost)) {
            break;
        }
        if watch.blocks() > blocks_before {
            backoff = BACKOFF_FIRST;
        }
        seat.failed(report(partition, &error, backoff), &chain(&error));
        tokio::select! {
            () = stop.after_block.cancelled() => break,
            () = tokio::time::sleep(backoff) => {}
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
    tracing::debug!(%partition, "partition released");
}

/// Says what is stored from here on.
fn tell(stored: &watch::Sender<Option<Commit>>, progress: Progress) {
    let commit = match progress {
        Progress::Restarted(commit) => commit,
        // The rows of a block in flight may be of another incarnation than the last ones.
        Progress::Intended(range) => {
            Commit { incarnation: range.incarnation, next: range.first, intent: None }
        }
        Progress::Committed { range, .. } => {
            Commit { incarnation: range.incarnation, next: range.end, intent: None }
        }
        _ => return,
    };
    stored.send_replace(Some(commit));
}

/// As [`work`], and meanwhile sends timers for what falls due in the partition, and runs its companion.
pub async fn work_and_sweep<Src: Source, Sto: Store, O: Outbox>(
    source: Src,
    store: &Sto,
    outbox: &O,
    companion: Option<&Companion>,
    settings: LoopSettings,
    keys: Arc<KeyRing>,
    stop: Stop,
) {
    let of = source.partition();
    let partition = of.number;
    let (stored, ended) = (watch::Sender::new(None), stop.after_block.child_token());
    let unlinking = Unlinking {
        partition: of,
        store,
        stored: stored.subscribe(),
        every: settings.sweep_every,
        after: settings.unlink_after,
    };
    let beside = companion
        .map(|companion| companion(Owned { partition, stored: stored.subscribe(), stop: ended.clone() }));
    let at_once = stop.at_once.clone();
    let work = async {
        let sweeper = Sweeper::new(partition, store, outbox);
        tokio::select! {
            () = work_and_tell(source, store, settings, keys, stop, &stored) => {}
            () = sweeper.run(settings.sweep_every, wall_clock) => {}
            () = Box::pin(unlinking.run()) => {}
        }
        ended.cancel();
    };
    let beside = async {
        if let Some(beside) = beside {
            at_once.run_until_cancelled(beside).await;
        }
    };
    tokio::join!(work, beside);
}

/// Now: it decides only which timers are sent.
fn wall_clock() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Logs the error, and whether a person has to fix something first.
fn report(partition: Partition, error: &LoopError, backoff: Duration) -> bool {
    let kind = match error {
        LoopError::Source(SourceError::Fatal(_))
        | LoopError::Store(StoreError::Fatal(_))
        | LoopError::Gap { .. }
        | LoopError::UnknownKey(_)
        | LoopError::StoredAlready { .. }
        | LoopError::Missing { .. } => "fatal",
        LoopError::Source(_) | LoopError::Store(_) => "retry",
    };
    metrics::counter!(PARTITION_RESTARTS, "stream" => partition.stream.word(), "kind" => kind).increment(1);
    let error = chain(error);
    match kind {
        "fatal" => {
            tracing::error!(%partition, error, ?backoff, "partition is stopped until this is fixed")
        }
        _ => tracing::warn!(%partition, error, ?backoff, "partition starts again from its last commit"),
    }
    kind == "fatal"
}

/// A source that gives no more records once told to stop; commits still go through.
struct UntilStopped<'a, Src> {
    source: &'a mut Src,
    stop: &'a CancellationToken,
}

impl<Src: Source> Source for UntilStopped<'_, Src> {
    fn partition(&self) -> Partition {
        self.source.partition()
    }

    async fn restart(&mut self) -> Result<Start, SourceError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SourceError::Lost),
            start = self.source.restart() => start,
        }
    }

    async fn read(&mut self, records_max: usize, wait: Duration) -> Result<Chunk, SourceError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SourceError::Lost),
            chunk = self.source.read(records_max, wait) => chunk,
        }
    }

    fn stored_before(&self) -> Option<(Incarnation, u64)> {
        self.source.stored_before()
    }

    async fn first_behind(&mut self, stored: &[(Incarnation, u64)]) -> Result<Commit, SourceError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SourceError::Lost),
            first = self.source.first_behind(stored) => first,
        }
    }

    fn time_of(&self, incarnation: Incarnation) -> UnixMs {
        self.source.time_of(incarnation)
    }

    async fn commit(&mut self, commit: &Commit) -> Result<(), SourceError> {
        self.source.commit(commit).await
    }
}
