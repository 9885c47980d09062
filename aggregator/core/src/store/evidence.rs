//! What the clicks behind leads say. See [`Store`](super::Store) for the rest.

use super::{EventName, StoreError};
use crate::position::{BlockRange, Horizon};
use std::{collections::HashSet, future::Future};
use uuid::Uuid;
use whence_schemas::{event::Verdict, ids::ClickId, rows::ClickEvidenceRow, time::UnixMs};

/// What the edge found out about a click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundClick {
    /// Program.
    pub program: String,
    /// Its id.
    pub id: ClickId,
    /// Who clicked.
    pub verdict: Verdict,
    /// Why the verdict.
    pub reason: String,
    /// Keyed hash of the visitor cookie, 0 without one.
    pub visitor: u64,
    /// Keyed hash of the address, with a daily salt.
    pub address: u64,
    /// Keyed hash of its /24 or /48, with a daily salt.
    pub prefix: u64,
}

/// By what several clicks are told to be of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// The browser: the hash of its cookie.
    Visitor,
    /// The /24 or /48 on one day: its hash.
    Prefix,
}

/// The place that a lead's click came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClickedFrom {
    /// Program.
    pub program: String,
    /// What `hash` is of.
    pub origin: Origin,
    /// Not 0.
    pub hash: u64,
}

/// Somebody whose click came from a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonClick {
    /// The place.
    pub from: ClickedFrom,
    /// See [`ClickEvidenceRow::person`].
    pub person: Uuid,
    /// When the person clicked last from there.
    pub clicked_at: UnixMs,
}

/// A referrer and an address prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeenReferrer {
    /// Program.
    pub program: String,
    /// Who.
    pub referrer: String,
    /// Hash of the prefix, with its day's salt. Not 0.
    pub prefix: u64,
}

/// Clicks, and what was found of them.
pub trait EvidenceStore: Send + Sync {
    /// What is stored of these clicks (program and id) at this very moment, in any order. It may be more when it
    /// is asked again: nothing may be derived from it that is not stored first and read back.
    fn clicks(
        &self,
        clicks: &[(String, ClickId)],
    ) -> impl Future<Output = Result<Vec<FoundClick>, StoreError>> + Send;

    /// What was found of these leads' clicks before the horizon, in any order.
    fn click_evidence(
        &self,
        before: &Horizon,
        leads: &[EventName],
    ) -> impl Future<Output = Result<Vec<ClickEvidenceRow>, StoreError>> + Send;

    /// What the records of this block have found of these leads' clicks, in any order: what stands, whoever
    /// stored it.
    fn click_evidence_of(
        &self,
        range: &BlockRange,
        leads: &[EventName],
    ) -> impl Future<Output = Result<Vec<ClickEvidenceRow>, StoreError>> + Send;

    /// Who clicked from these places, live and as found before the horizon: of each place the `max` persons who
    /// clicked last, in any order.
    fn clicked_from(
        &self,
        before: &Horizon,
        places: &[ClickedFrom],
        max: usize,
    ) -> impl Future<Output = Result<Vec<PersonClick>, StoreError>> + Send;

    /// Which of these referrers joined or shared from these prefixes, live and as stored before the horizon, in any
    /// order.
    fn seen_referrers(
        &self,
        before: &Horizon,
        asked: &[SeenReferrer],
    ) -> impl Future<Output = Result<HashSet<SeenReferrer>, StoreError>> + Send;
}
