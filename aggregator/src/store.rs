//! Where facts go, and what is looked up in them: ClickHouse, or its twin in the simulation.
//!
//! Every look-up is limited to a [`Horizon`], so that a replayed block sees what its first try saw.

use crate::position::{Horizon, InsertToken};
use std::{collections::HashSet, future::Future};
use whence_schemas::{
    ids::{ClickId, EventId},
    rows::{ClickRow, LeadRow, QualificationRow, RejectRow, Row, SubjectKeyRow},
    subject::SubjectKey,
    time::UnixMs,
};

/// Rows of one table.
#[derive(Clone, Debug, PartialEq)]
pub enum Rows {
    /// `clicks`
    Clicks(Vec<ClickRow>),
    /// `leads`
    Leads(Vec<LeadRow>),
    /// `qualifications`
    Qualifications(Vec<QualificationRow>),
    /// `subject_keys`
    SubjectKeys(Vec<SubjectKeyRow>),
    /// `rejects`
    Rejects(Vec<RejectRow>),
}

impl Rows {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Rows::Clicks(rows) => rows.len(),
            Rows::Leads(rows) => rows.len(),
            Rows::Qualifications(rows) => rows.len(),
            Rows::SubjectKeys(rows) => rows.len(),
            Rows::Rejects(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The table they belong to.
    #[must_use]
    pub fn table(&self) -> &'static str {
        match self {
            Rows::Clicks(_) => ClickRow::TABLE,
            Rows::Leads(_) => LeadRow::TABLE,
            Rows::Qualifications(_) => QualificationRow::TABLE,
            Rows::SubjectKeys(_) => SubjectKeyRow::TABLE,
            Rows::Rejects(_) => RejectRow::TABLE,
        }
    }
}

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may work later; an insert may have been stored all the same.
    #[error("the store failed")]
    Retry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The same again fails again: tables and rows do not fit, for example.
    #[error("the store refused")]
    Fatal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The event of a program.
pub type EventName = (String, EventId);

/// Facts.
pub trait Store: Send + Sync {
    /// Stores these rows once, however often they come under this token. Rows that were stored in
    /// part, or without their rollups, are completed.
    fn insert(&self, token: &InsertToken, rows: &Rows)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Which of these clicks (program and id) are stored before the horizon.
    fn clicks_known(
        &self,
        before: &Horizon,
        clicks: &[(String, ClickId)],
    ) -> impl Future<Output = Result<HashSet<ClickId>, StoreError>> + Send;

    /// Ids of all clicks of `from..to` stored before the horizon, in any order.
    fn click_ids(
        &self,
        before: &Horizon,
        from: UnixMs,
        to: UnixMs,
    ) -> impl Future<Output = Result<Vec<ClickId>, StoreError>> + Send;

    /// Which of these leads and qualifications are stored before the horizon.
    fn events_known(
        &self,
        before: &Horizon,
        events: &[EventName],
    ) -> impl Future<Output = Result<HashSet<EventId>, StoreError>> + Send;

    /// Ids of all leads and qualifications of the partition stored before the horizon, in any order.
    fn event_ids(&self, before: &Horizon) -> impl Future<Output = Result<Vec<EventId>, StoreError>> + Send;

    /// The rows of `subject_keys` with one of these keys stored before the horizon, in any order.
    fn subjects(
        &self,
        before: &Horizon,
        keys: &[(String, SubjectKey)],
    ) -> impl Future<Output = Result<Vec<SubjectKeyRow>, StoreError>> + Send;

    /// The newest row of each of these qualifications that is still without a lead before the horizon.
    fn unmatched(
        &self,
        before: &Horizon,
        qualifications: &[EventName],
    ) -> impl Future<Output = Result<Vec<QualificationRow>, StoreError>> + Send;
}
