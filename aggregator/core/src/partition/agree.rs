//! Whether what was committed is what is stored, looked at before a partition goes on: tables that are older than the
//! commit lack facts, and tables that are newer would get some twice.

use super::{LoopError, PartitionLoop};
use crate::{
    clock::Clock,
    position::{BlockRange, Commit},
    source::{Record, Source},
    store::Store,
};
use whence_schemas::ids::Incarnation;

impl<Src: Source, Sto: Store, Clk: Clock> PartitionLoop<'_, Src, Sto, Clk> {
    /// Where to go on: at the commit, where the account of the blocks ends there; elsewhere only as the settings say.
    pub(super) async fn agreed(&mut self, committed: Commit) -> Result<Commit, LoopError> {
        let partition = self.source.partition();
        let ends = self.store.account_ends(partition).await?;
        let end_of = |incarnation: Incarnation| {
            ends.iter().find(|(of, _)| *of == incarnation).map_or(0, |(_, end)| *end)
        };
        let said = [self.source.stored_before(), Some((committed.incarnation, committed.next))];
        let mut lost = Vec::new();
        for (incarnation, next) in said.into_iter().flatten() {
            let end = end_of(incarnation);
            if end >= next {
                continue;
            }
            match (self.settings.replay_missing, self.settings.accept_loss) {
                (true, _) => return self.read_from_account(&ends).await,
                (false, true) => lost.push(BlockRange { incarnation, partition, first: end, end: next }),
                (false, false) => {
                    return Err(LoopError::Missing { partition, incarnation, end, committed: next });
                }
            }
        }
        for range in &lost {
            self.count_as_lost(range).await?;
        }
        if !lost.is_empty() {
            return self.go_to(committed).await;
        }
        let end = end_of(committed.incarnation);
        if end <= committed.intent.unwrap_or(committed.next) {
            return Ok(committed);
        }
        if !self.settings.resume_behind_stored {
            return Err(LoopError::StoredAlready { partition, next: committed.next, stored_end: end });
        }
        tracing::warn!(%partition, next = committed.next, end, "going on where the account of the blocks ends");
        self.go_to(Commit { next: end, intent: None, ..committed }).await
    }

    /// Everything behind the account is read again. Rows behind it are of a block that was stored in part, of which
    /// nobody knows any more what it was.
    async fn read_from_account(&mut self, ends: &[(Incarnation, u64)]) -> Result<Commit, LoopError> {
        let partition = self.source.partition();
        let from = self.source.first_behind(ends).await?;
        let stored_end = self.store.stored_end(from.incarnation, partition).await?;
        if stored_end > from.next {
            return Err(LoopError::StoredAlready { partition, next: from.next, stored_end });
        }
        tracing::warn!(%partition, incarnation = %from.incarnation, next = from.next, "reading again what is not stored any more");
        self.go_to(from).await
    }

    async fn go_to(&mut self, commit: Commit) -> Result<Commit, LoopError> {
        self.source.commit(&commit).await?;
        self.source.restart().await?;
        Ok(commit)
    }

    /// Records that were stored once, and are not: each becomes a reject, like one that can't be read.
    async fn count_as_lost(&mut self, range: &BlockRange) -> Result<(), LoopError> {
        let timestamp = self.source.time_of(range.incarnation);
        let mut first = range.first;
        tracing::warn!(partition = %range.partition, first, end = range.end, "counting records as lost");
        while first < range.end {
            let end = range.end.min(first + self.settings.block_records_max as u64);
            let records: Vec<Record> =
                (first..end).map(|offset| Record { offset, timestamp, payload: None }).collect();
            let _leave = self.pause.begin().await;
            self.store_block(&BlockRange { first, end, ..*range }, &records).await?;
            first = end;
        }
        Ok(())
    }
}
