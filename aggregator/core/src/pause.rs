//! Holds the partitions of a process between two blocks, for a copy in which no block is half stored.

use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Shared by the partitions of a process and whoever has them wait.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<RwLock<()>>);

/// No block is under way, and none is begun, while this lives. Commits may still move where nothing is to be stored.
#[derive(Debug)]
pub struct Paused(#[expect(dead_code, reason = "held")] OwnedRwLockWriteGuard<()>);

impl Pause {
    /// Returns when the blocks under way have ended, whichever way. Those that come wait meanwhile, too.
    pub async fn hold(&self) -> Paused {
        Paused(Arc::clone(&self.0).write_owned().await)
    }

    /// Leave to begin a block; kept to its end.
    pub(crate) async fn begin(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.0).read_owned().await
    }
}
