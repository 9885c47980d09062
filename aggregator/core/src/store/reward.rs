//! What rewards are looked up by. See [`Store`](super::Store) for the rest.

use super::{EventName, StoreError};
use crate::position::Horizon;
use std::future::Future;
use uuid::Uuid;
use whence_schemas::{
    ids::EventId,
    rows::{LeadRow, RewardRow, RewardTermsRow},
    time::UnixMs,
};

/// Open rewards of a referrer by one rule on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardUsage {
    /// Program.
    pub program: String,
    /// Rule.
    pub rule: String,
    /// Referrer.
    pub referrer: String,
    /// The day of the qualification, since the epoch in UTC.
    pub day: i64,
    /// How many.
    pub count: i64,
    /// Their amounts, in minor units.
    pub amount_minor: i64,
}

/// Open rewards of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardSum {
    /// Program.
    pub program: String,
    /// Rule.
    pub rule: String,
    /// How many.
    pub count: i64,
    /// Their amounts, in minor units.
    pub amount_minor: i64,
}

/// When a lead clicked, and when it became a lead, as its own touches prove it: no correction changes that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadTimes {
    /// Program.
    pub program: String,
    /// Event id of the lead.
    pub id: EventId,
    /// When it happened.
    pub occurred_at: UnixMs,
    /// Time of the click, 0 without a token.
    pub clicked_at: UnixMs,
    /// The click, nil without a token.
    pub click_id: Uuid,
    /// The person's first lead as known when this one came, nil where it is this one.
    pub first_lead: Uuid,
    /// Whether the lead is live.
    pub live: bool,
}

impl LeadTimes {
    /// Of a lead's own row in `leads`.
    #[must_use]
    pub fn of(row: &LeadRow) -> LeadTimes {
        LeadTimes {
            program: row.program.0.clone(),
            id: row.id,
            occurred_at: row.occurred_at,
            clicked_at: row.touch_clicked_at,
            click_id: row.touch_click_id,
            first_lead: row.first_lead,
            live: row.live,
        }
    }
}

/// Rewards and what they rest on.
pub trait RewardStore: Send + Sync {
    /// The lines of the rewards of these leads and of the rewards of these ids (each with its program)
    /// stored before the horizon, in any order, none twice.
    fn rewards(
        &self,
        before: &Horizon,
        leads: &[EventName],
        rewards: &[(String, Uuid)],
    ) -> impl Future<Output = Result<Vec<RewardRow>, StoreError>> + Send;

    /// What stands open before the horizon of these referrers (program and name), by rule and day.
    fn reward_usage(
        &self,
        before: &Horizon,
        referrers: &[(String, String)],
    ) -> impl Future<Output = Result<Vec<RewardUsage>, StoreError>> + Send;

    /// What stands open of these programs before the horizon, by rule. Costs a scan of their ledger: asked once by
    /// each owner of a partition.
    fn reward_sums(
        &self,
        before: &Horizon,
        programs: &[String],
    ) -> impl Future<Output = Result<Vec<RewardSum>, StoreError>> + Send;

    /// The terms that these qualifications brought, stored before the horizon.
    fn reward_terms(
        &self,
        before: &Horizon,
        qualifications: &[EventName],
    ) -> impl Future<Output = Result<Vec<RewardTermsRow>, StoreError>> + Send;

    /// The times of these leads, stored before the horizon.
    fn lead_times(
        &self,
        before: &Horizon,
        leads: &[EventName],
    ) -> impl Future<Output = Result<Vec<LeadTimes>, StoreError>> + Send;

    /// Accrued rewards of the partition that are due at this moment, the longest due first, at most `max`.
    fn rewards_due(
        &self,
        partition: u32,
        at: UnixMs,
        max: usize,
    ) -> impl Future<Output = Result<Vec<DueReward>, StoreError>> + Send;
}

/// A reward whose day has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueReward {
    /// Program.
    pub program: String,
    /// Its id.
    pub reward_id: Uuid,
    /// Of the change that made it so.
    pub revision: u32,
    /// Its day.
    pub due_at: UnixMs,
}
