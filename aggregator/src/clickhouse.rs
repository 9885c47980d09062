//! ClickHouse as the [`Store`]: one insert per table and block under the block's token, look-ups by
//! primary key.
//!
//! The encoded block is kept until ClickHouse has acknowledged it (the caller's retry sends the same
//! bytes again). Nothing here decides anything about facts.

mod erase;
mod evidence;
mod hot;
mod lookup;
pub mod migrate;
mod reward;

use crate::{
    position::{Horizon, InsertToken, Partition},
    store::{EventName, Rows, Store, StoreError},
};
use bytes::Bytes;
use clickhouse::{Client, error::Error};
use hot::HotClicks;
use std::{collections::HashSet, sync::Arc, time::Duration};
use whence_schemas::{
    ids::{ClickId, EventId, Incarnation},
    rows::{
        DisqualificationRow, LeadRow, QualificationRow, Row, SubjectKeyRow, encode_block, insert_statement,
    },
    subject::SubjectKey,
    time::UnixMs,
};

/// How to reach and use ClickHouse.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// A replicated cluster: wait for a quorum of replicas and read what it wrote.
    pub is_cluster: bool,
    /// An insert that takes longer has failed (it is tried again under its token).
    pub insert_timeout: Duration,
    /// A look-up that takes longer has failed.
    pub lookup_timeout: Duration,
    /// Clicks that this store remembers to have stored, at most: leads that follow on them need no look-up. The
    /// newest half of it is always there. 0: none.
    pub hot_clicks_max: usize,
}

impl Default for StoreSettings {
    fn default() -> Self {
        StoreSettings {
            is_cluster: false,
            insert_timeout: Duration::from_secs(60),
            lookup_timeout: Duration::from_secs(60),
            hot_clicks_max: 0,
        }
    }
}

/// Facts in ClickHouse.
#[derive(Clone)]
pub struct ClickHouseStore {
    inserts: Client,
    lookups: Client,
    settings: StoreSettings,
    hot: Option<Arc<HotClicks>>,
}

impl ClickHouseStore {
    /// A store over a client that knows address, user, password and database.
    #[must_use]
    pub fn new(client: Client, settings: StoreSettings) -> ClickHouseStore {
        let mut inserts = client
            .clone()
            .with_setting("async_insert", "0")
            .with_setting("wait_end_of_query", "1")
            .with_setting("insert_deduplicate", "1")
            .with_setting("deduplicate_blocks_in_dependent_materialized_views", "1")
            .with_setting("max_partitions_per_insert_block", "0");
        // Look-ups name their ids in the query's text.
        let mut lookups = client.with_setting("max_query_size", "67108864");
        if settings.is_cluster {
            // One insert of a table at a time: with parallel ones a replica that has the newest may lack
            // one before, and sequential consistency is not promised.
            inserts =
                inserts.with_setting("insert_quorum", "auto").with_setting("insert_quorum_parallel", "0");
            lookups = lookups.with_setting("select_sequential_consistency", "1");
        }
        let hot = HotClicks::new(settings.hot_clicks_max);
        ClickHouseStore { inserts, lookups, settings, hot }
    }

    async fn send<R: Row>(&self, token: &InsertToken, rows: &[R]) -> Result<(), StoreError> {
        let body = Bytes::from(encode_block(rows));
        let mut insert = self
            .inserts
            .clone()
            .with_setting("insert_deduplication_token", token.0.as_str())
            .insert_formatted_with(insert_statement::<R>())
            .with_timeouts(Some(self.settings.insert_timeout), Some(self.settings.insert_timeout));
        insert.send(body).await.map_err(failed)?;
        insert.end().await.map_err(failed)
    }
}

/// ClickHouse's codes for what no second try mends: unknown tables and columns, types that do not fit,
/// syntax, access.
const FATAL_CODES: [u32; 13] = [16, 44, 46, 47, 53, 60, 62, 70, 81, 115, 497, 511, 516];

/// A failure as the loop needs to know it.
fn failed(error: Error) -> StoreError {
    let is_fatal = match &error {
        Error::BadResponse(text) => code(text).is_some_and(|code| FATAL_CODES.contains(&code)),
        Error::InvalidParams(_) | Error::SchemaMismatch(_) | Error::InvalidColumnsHeader(_) => true,
        _ => false,
    };
    if is_fatal { StoreError::Fatal(Box::new(error)) } else { StoreError::Retry(Box::new(error)) }
}

/// N of `Code: N. DB::Exception: …`.
pub(crate) fn code(text: &str) -> Option<u32> {
    text.split_once("Code: ")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[derive(Debug, thiserror::Error)]
#[error("ClickHouse did not answer within {0:?}")]
struct TimedOut(Duration);

impl Store for ClickHouseStore {
    async fn insert(&self, token: &InsertToken, rows: &Rows) -> Result<(), StoreError> {
        match rows {
            Rows::Clicks(rows) => {
                self.send(token, rows).await?;
                self.hot.iter().for_each(|hot| hot.keep(rows));
                Ok(())
            }
            Rows::Leads(rows) => self.send(token, rows).await,
            Rows::Qualifications(rows) => self.send(token, rows).await,
            Rows::Disqualifications(rows) => self.send(token, rows).await,
            Rows::Identifies(rows) => self.send(token, rows).await,
            Rows::Participants(rows) => self.send(token, rows).await,
            Rows::Shares(rows) => self.send(token, rows).await,
            Rows::Erasures(rows) => self.send(token, rows).await,
            Rows::SubjectKeys(rows) => self.send(token, rows).await,
            Rows::ClickEvidence(rows) => self.send(token, rows).await,
            Rows::RewardTerms(rows) => self.send(token, rows).await,
            Rows::Rewards(rows) => self.send(token, rows).await,
            Rows::RewardEvents(rows) => self.send(token, rows).await,
            Rows::Rejects(rows) => self.send(token, rows).await,
            Rows::Blocks(rows) => self.send(token, rows).await,
        }
    }

    async fn stored_end(&self, incarnation: Incarnation, partition: Partition) -> Result<u64, StoreError> {
        self.in_time(lookup::stored_end(&self.lookups, incarnation, partition)).await
    }

    async fn clicks_known(
        &self,
        before: &Horizon,
        clicks: &[(String, ClickId)],
    ) -> Result<HashSet<ClickId>, StoreError> {
        self.in_time(lookup::clicks_known(&self.lookups, before, clicks)).await
    }

    async fn click_ids(
        &self,
        before: &Horizon,
        from: UnixMs,
        to: UnixMs,
    ) -> Result<Vec<ClickId>, StoreError> {
        self.in_time(lookup::click_ids(&self.lookups, before, from, to)).await
    }

    async fn events_known(
        &self,
        before: &Horizon,
        events: &[EventName],
    ) -> Result<HashSet<EventId>, StoreError> {
        self.in_time(lookup::events_known(&self.lookups, before, events)).await
    }

    async fn event_ids(&self, before: &Horizon) -> Result<Vec<EventId>, StoreError> {
        self.in_time(lookup::event_ids(&self.lookups, before)).await
    }

    async fn subjects(
        &self,
        before: &Horizon,
        keys: &[(String, SubjectKey)],
    ) -> Result<Vec<SubjectKeyRow>, StoreError> {
        self.in_time(lookup::subjects(&self.lookups, before, keys)).await
    }

    async fn leads(&self, before: &Horizon, leads: &[EventName]) -> Result<Vec<LeadRow>, StoreError> {
        self.in_time(lookup::newest(&self.lookups, before, leads)).await
    }

    async fn qualifications(
        &self,
        before: &Horizon,
        qualifications: &[EventName],
    ) -> Result<Vec<QualificationRow>, StoreError> {
        self.in_time(lookup::newest(&self.lookups, before, qualifications)).await
    }

    async fn disqualifications(
        &self,
        before: &Horizon,
        disqualifications: &[EventName],
    ) -> Result<Vec<DisqualificationRow>, StoreError> {
        self.in_time(lookup::newest(&self.lookups, before, disqualifications)).await
    }

    async fn erase(&self, events: &[EventName]) -> Result<(), StoreError> {
        let erased = erase::erase(&self.lookups, events);
        match tokio::time::timeout(self.settings.insert_timeout, erased).await {
            Ok(done) => done.map_err(failed),
            Err(_) => Err(StoreError::Retry(Box::new(TimedOut(self.settings.insert_timeout)))),
        }
    }
}

impl ClickHouseStore {
    async fn in_time<T>(&self, lookup: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.settings.lookup_timeout, lookup).await {
            Ok(found) => found.map_err(failed),
            Err(_) => Err(StoreError::Retry(Box::new(TimedOut(self.settings.lookup_timeout)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_second_try_mends_is_fatal() {
        let bad = |text: &str| failed(Error::BadResponse(text.into()));
        assert!(matches!(bad("Code: 60. DB::Exception: Table x does not exist"), StoreError::Fatal(_)));
        assert!(matches!(bad("Code: 252. DB::Exception: Too many parts"), StoreError::Retry(_)));
        assert!(matches!(bad("bad gateway"), StoreError::Retry(_)));
    }
}
