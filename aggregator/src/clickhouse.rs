//! ClickHouse as the [`Store`]: one insert per table and block under the block's token, look-ups by
//! primary key.
//!
//! The encoded block is kept until ClickHouse has acknowledged it (a retry sends the same bytes again). Which server is
//! asked, and what is waited for, is decided in [`replicas`]. Nothing here decides anything about facts.

pub mod erase;
mod evidence;
mod hot;
mod lookup;
pub mod migrate;
pub mod replicas;
mod reward;
mod tables;
mod unlink;

use crate::{
    position::{Horizon, InsertToken, Partition},
    store::{EventName, Forgotten, Linked, Rows, Store, StoreError},
};
use bytes::Bytes;
use clickhouse::{Client, error::Error};
use hot::HotClicks;
use replicas::Replicas;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use whence_schemas::{
    ids::{ClickId, EventId, Incarnation},
    rows::{
        DisqualificationRow, LeadRow, QualificationRow, ReinstatementRow, Row, SubjectKeyRow, encode_block,
        insert_statement,
    },
    subject::SubjectKey,
    time::UnixMs,
};

/// How to use ClickHouse.
#[derive(Clone, Debug)]
pub struct StoreSettings {
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
            insert_timeout: Duration::from_secs(60),
            lookup_timeout: Duration::from_secs(60),
            hot_clicks_max: 0,
        }
    }
}

/// Facts in ClickHouse.
#[derive(Clone)]
pub struct ClickHouseStore {
    replicas: Replicas,
    settings: StoreSettings,
    hot: Option<Arc<HotClicks>>,
}

impl ClickHouseStore {
    /// A store over servers whose clients know address, user, password and database.
    #[must_use]
    pub fn new(replicas: impl Into<Replicas>, settings: StoreSettings) -> ClickHouseStore {
        let hot = HotClicks::new(settings.hot_clicks_max);
        ClickHouseStore { replicas: replicas.into(), settings, hot }
    }

    /// The client with what every insert of a block needs.
    fn for_inserts(&self, client: Client, token: &InsertToken) -> Client {
        let client = client
            .with_setting("async_insert", "0")
            .with_setting("wait_end_of_query", "1")
            .with_setting("insert_deduplicate", "1")
            .with_setting("deduplicate_blocks_in_dependent_materialized_views", "1")
            .with_setting("max_partitions_per_insert_block", "0")
            .with_setting("insert_deduplication_token", token.0.as_str());
        self.replicas.for_inserts(client)
    }

    async fn send<R: Row>(&self, token: &InsertToken, rows: &[R]) -> Result<(), StoreError> {
        let body = Bytes::from(encode_block(rows));
        let limit = Some(self.settings.insert_timeout);
        let first_epoch = AtomicU64::new(u64::MAX);
        let sent = self.replicas.insert(R::TABLE, |client| {
            let _ = first_epoch.compare_exchange(
                u64::MAX,
                self.replicas.epoch(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            let client = self.for_inserts(client, token);
            let body = body.clone();
            async move {
                let mut insert =
                    client.insert_formatted_with(insert_statement::<R>()).with_timeouts(limit, limit);
                insert.send(body).await?;
                insert.end().await
            }
        });
        sent.await.map_err(|error| self.failed(error))?;
        if first_epoch.into_inner() != self.replicas.epoch() {
            // The try through the former replica may be the one that counted, and this one may not have it yet.
            self.catch_up().await?;
        }
        Ok(())
    }

    fn failed(&self, error: Error) -> StoreError {
        match self.replicas.has_waited_for(&error) {
            true => StoreError::Waited(Box::new(error)),
            false => {
                tracing::debug!(error = crate::chain(&error), "clickhouse failed");
                failed(error)
            }
        }
    }

    /// Asks for something that a block is made of.
    async fn look_up<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let limit = self.settings.lookup_timeout;
        let asked = self.replicas.call(|client| {
            // Ids are named in the statement's text.
            let asked = ask(client.with_setting("max_query_size", "67108864"));
            async move { tokio::time::timeout(limit, asked).await.unwrap_or(Err(Error::TimedOut)) }
        });
        asked.await.map_err(|error| self.failed(error))
    }
}

/// ClickHouse's codes for what a retry does not fix: unknown tables and columns, types that do not fit,
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
            Rows::Reinstatements(rows) => self.send(token, rows).await,
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
        self.look_up(|client| async move { lookup::stored_end(&client, incarnation, partition).await }).await
    }

    async fn account_ends(&self, partition: Partition) -> Result<Vec<(Incarnation, u64)>, StoreError> {
        self.look_up(|client| async move { lookup::account_ends(&client, partition).await }).await
    }

    async fn clicks_known(
        &self,
        before: &Horizon,
        clicks: &[(String, ClickId)],
    ) -> Result<HashSet<ClickId>, StoreError> {
        self.look_up(|client| async move { lookup::clicks_known(&client, before, clicks).await }).await
    }

    async fn click_ids(
        &self,
        before: &Horizon,
        from: UnixMs,
        to: UnixMs,
    ) -> Result<Vec<ClickId>, StoreError> {
        self.look_up(|client| async move { lookup::click_ids(&client, before, from, to).await }).await
    }

    async fn events_known(
        &self,
        before: &Horizon,
        events: &[EventName],
    ) -> Result<HashMap<EventId, u64>, StoreError> {
        self.look_up(|client| async move { lookup::events_known(&client, before, events).await }).await
    }

    async fn event_ids(&self, before: &Horizon) -> Result<Vec<EventId>, StoreError> {
        self.look_up(|client| async move { lookup::event_ids(&client, before).await }).await
    }

    async fn subjects(
        &self,
        before: &Horizon,
        keys: &[(String, SubjectKey)],
    ) -> Result<Vec<SubjectKeyRow>, StoreError> {
        self.look_up(|client| async move { lookup::subjects(&client, before, keys).await }).await
    }

    async fn leads(&self, before: &Horizon, leads: &[EventName]) -> Result<Vec<LeadRow>, StoreError> {
        self.look_up(|client| async move { lookup::newest(&client, before, leads).await }).await
    }

    async fn qualifications(
        &self,
        before: &Horizon,
        qualifications: &[EventName],
    ) -> Result<Vec<QualificationRow>, StoreError> {
        self.look_up(|client| async move { lookup::newest(&client, before, qualifications).await }).await
    }

    async fn disqualifications(
        &self,
        before: &Horizon,
        disqualifications: &[EventName],
    ) -> Result<Vec<DisqualificationRow>, StoreError> {
        self.look_up(|client| async move { lookup::newest(&client, before, disqualifications).await }).await
    }

    async fn reinstatements(
        &self,
        before: &Horizon,
        reinstatements: &[EventName],
    ) -> Result<Vec<ReinstatementRow>, StoreError> {
        self.look_up(|client| async move { lookup::newest(&client, before, reinstatements).await }).await
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        self.replicas.catch_up().await.map_err(|error| self.failed(error))
    }

    async fn erase(&self, forgotten: &Forgotten) -> Result<(), StoreError> {
        self.look_up(|client| async move { erase::erase(&client, forgotten).await }).await
    }

    async fn linked(&self, before: &Horizon) -> Result<Vec<Linked>, StoreError> {
        self.look_up(|client| async move { unlink::linked(&client, before).await }).await
    }

    async fn is_settled(&self) -> Result<bool, StoreError> {
        // Who had the partition before may have stored it by another way.
        self.replicas.catch_up().await.map_err(|error| self.failed(error))?;
        let unapplied = erase::Watch::new(self.replicas.clone()).look().await;
        Ok(unapplied.mutations == 0 && unapplied.silent == 0)
    }

    async fn rename_links(&self, linked: &Linked) -> Result<bool, StoreError> {
        self.give_other_names(linked).await
    }

    async fn drop_links(&self, linked: &Linked) -> Result<(), StoreError> {
        self.look_up(|client| async move { unlink::drop_links(&client, linked).await }).await
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
