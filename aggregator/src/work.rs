//! Keeps a partition worked: runs its loop, starts it again after what can be cured, ends when told to.

use crate::{
    clock::Clock,
    metrics::Watch,
    partition::{LoopError, LoopSettings, PartitionLoop},
    position::{Commit, Partition},
    reward::sweep::{Outbox, Sweeper},
    source::{Chunk, Source, SourceError, Start},
    store::{Store, StoreError},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio_util::sync::CancellationToken;
use whence_schemas::{time::UnixMs, token::KeyRing};

/// First wait before a loop is started again; doubles while it makes no progress.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait: also what is fatal is tried again, since a person mends it without a restart.
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
}

impl Stop {
    /// Both are called together with these.
    #[must_use]
    pub fn child(&self) -> Stop {
        Stop { after_block: self.after_block.child_token(), at_once: self.at_once.child_token() }
    }
}

/// Works one partition until told to stop, or until it is taken away.
pub async fn work<Src: Source, Sto: Store>(
    mut source: Src,
    store: &Sto,
    settings: LoopSettings,
    keys: Arc<KeyRing>,
    stop: Stop,
) {
    let partition = source.partition();
    let (clock, watch) = (MachineClock::default(), Watch::new(partition));
    let mut backoff = BACKOFF_FIRST;
    loop {
        let blocks_before = watch.blocks();
        let source = UntilStopped { source: &mut source, stop: &stop.after_block };
        let worked = PartitionLoop::new(source, store, &clock, settings, keys.clone(), watch.observer());
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
        report(partition, &error, backoff);
        tokio::select! {
            () = stop.after_block.cancelled() => break,
            () = tokio::time::sleep(backoff) => {}
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
    tracing::debug!(%partition, "partition released");
}

/// As [`work`], and meanwhile sends timers for what falls due in the partition.
pub async fn work_and_sweep<Src: Source, Sto: Store, O: Outbox>(
    source: Src,
    store: &Sto,
    outbox: &O,
    settings: LoopSettings,
    keys: Arc<KeyRing>,
    stop: Stop,
) {
    let sweeper = Sweeper::new(source.partition().number, store, outbox);
    tokio::select! {
        () = work(source, store, settings, keys, stop) => {}
        () = sweeper.run(settings.sweep_every, wall_clock) => {}
    }
}

/// Now: it decides only which timers are sent.
fn wall_clock() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

fn report(partition: Partition, error: &LoopError, backoff: Duration) {
    let kind = match error {
        LoopError::Source(SourceError::Fatal(_))
        | LoopError::Store(StoreError::Fatal(_))
        | LoopError::Gap { .. }
        | LoopError::UnknownKey(_)
        | LoopError::StoredAlready { .. } => "fatal",
        LoopError::Source(_) | LoopError::Store(_) => "retry",
    };
    metrics::counter!("whence_partition_restarts_total", "stream" => partition.stream.word(), "kind" => kind)
        .increment(1);
    let error = chain(error);
    match kind {
        "fatal" => {
            tracing::error!(%partition, error, ?backoff, "partition stands still until this is mended")
        }
        _ => tracing::warn!(%partition, error, ?backoff, "partition starts again from its last commit"),
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
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

    async fn commit(&mut self, commit: &Commit) -> Result<(), SourceError> {
        self.source.commit(commit).await
    }
}
