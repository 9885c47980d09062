//! The tasks of partitions, and how they end.

use crate::work::Stop;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{runtime::Handle, task::JoinHandle};

whence_metrics::declare! {
    /// Revocations that blocks in flight held up for too long, which are replayed.
    counter KAFKA_BLOCKS_ABANDONED: "whence_kafka_blocks_abandoned_total";
}

/// A partition that was assigned and waits for its task.
#[derive(Clone)]
pub(super) struct Assigned {
    pub topic: String,
    pub partition: i32,
}

/// The tasks of the partitions that this member owns.
#[derive(Clone)]
pub(super) struct Workers {
    pub runtime: Handle,
    pub revoke_timeout: Duration,
    pub owned: Arc<Mutex<Vec<Owned>>>,
}

/// A partition's task and how to end it.
pub(super) type Owned = (Stop, JoinHandle<()>);

impl Workers {
    pub fn add(&self, stop: Stop, task: JoinHandle<()>) {
        self.owned.lock().expect("nothing panics while it holds the list").push((stop, task));
    }

    /// Ends all tasks and returns how many once none is left. Called from the polling thread.
    pub fn end_all(&self) -> usize {
        let owned = std::mem::take(&mut *self.owned.lock().expect("nothing panics while it holds the list"));
        let count = owned.len();
        owned.iter().for_each(|(stop, _)| stop.after_block.cancel());
        let (stops, tasks): (Vec<_>, Vec<_>) = owned.into_iter().unzip();
        self.runtime.block_on(async {
            let mut all = std::pin::pin!(futures_util::future::join_all(tasks));
            if tokio::time::timeout(self.revoke_timeout, &mut all).await.is_err() {
                metrics::counter!(KAFKA_BLOCKS_ABANDONED).increment(1);
                stops.iter().for_each(|stop| stop.at_once.cancel());
                all.await;
            }
        });
        count
    }
}
