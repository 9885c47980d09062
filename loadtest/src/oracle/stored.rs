//! What ClickHouse holds, as rows in memory: the one input of the comparison beside the ledger.
//!
//! Rows are kept raw, sign and all: adding them up is the comparison's work, and part of what it tests.

use super::names::{Name, Names};
use crate::ledger::Id;

/// A row of `clicks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClickRow {
    /// Column `id`.
    pub id: Id,
    /// Column `ts`, Unix milliseconds.
    pub at_ms: i64,
    /// Column `program`.
    pub program: Name,
    /// Column `referrer`.
    pub referrer: Name,
    /// Column `link`, `host/code`.
    pub link: Name,
    /// Column `channel`.
    pub channel: Name,
    /// Column `verdict`, its word.
    pub verdict: Name,
    /// Column `live`.
    pub live: bool,
    /// Column `sign`.
    pub sign: i8,
}

/// Who got the credit for a conversion, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credit {
    /// Column `evidence`, its word.
    pub evidence: Name,
    /// Column `referrer`.
    pub referrer: Name,
    /// Column `link`.
    pub link: Name,
    /// Column `channel`.
    pub channel: Name,
    /// Column `click_id`, nil without a click.
    pub click: Id,
}

/// A row of `leads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeadRow {
    /// Column `id`.
    pub id: Id,
    /// Column `program`.
    pub program: Name,
    /// Column `occurred_at`, Unix milliseconds.
    pub occurred_at_ms: i64,
    /// Who got the credit.
    pub credit: Credit,
    /// Column `live`.
    pub live: bool,
    /// Column `person`.
    pub person: i8,
    /// Column `sign`.
    pub sign: i8,
}

/// A row of `qualifications`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QualificationRow {
    /// Column `id`.
    pub id: Id,
    /// Column `program`.
    pub program: Name,
    /// Column `occurred_at`, Unix milliseconds.
    pub occurred_at_ms: i64,
    /// Column `name`.
    pub name: Name,
    /// Column `lead_id`, nil while there is no lead.
    pub lead: Id,
    /// Who got the credit.
    pub credit: Credit,
    /// Column `value_minor`.
    pub value_minor: i64,
    /// Column `paid_minor`.
    pub paid_minor: i64,
    /// Column `currency`.
    pub currency: Name,
    /// Column `live`.
    pub live: bool,
    /// Column `person`.
    pub person: i8,
    /// Column `sign`.
    pub sign: i8,
}

/// A row of `disqualifications` or `reinstatements`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReversalRow {
    /// Which table.
    pub table: Name,
    /// Column `id`.
    pub id: Id,
    /// Column `program`.
    pub program: Name,
    /// Column `occurred_at`, Unix milliseconds.
    pub occurred_at_ms: i64,
    /// Column `qualification_id` or `disqualification_id`.
    pub names: Id,
    /// Column `value_minor`: what was asked for.
    pub asked_minor: i64,
    /// Column `currency`.
    pub asked_currency: Name,
    /// What came of it.
    pub came: ReversalState,
    /// Column `live`.
    pub live: bool,
    /// Column `sign`.
    pub sign: i8,
}

/// What came of a disqualification or reinstatement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReversalState {
    /// Column `outcome`.
    pub outcome: Name,
    /// Column `qualifications`; 0 in `reinstatements`.
    pub qualifications: i64,
    /// Column `taken_minor` or `given_minor`.
    pub moved_minor: i64,
    /// Column `taken_currency` or `given_currency`.
    pub moved_currency: Name,
    /// Column `excess_minor`.
    pub excess_minor: i64,
}

/// A row of a table that nothing corrects: `identifies`, `participants`, `shares`, `reward_events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlainRow {
    /// Which table.
    pub table: Name,
    /// Column `id`.
    pub id: Id,
    /// Column `program`.
    pub program: Name,
    /// Column `occurred_at`, Unix milliseconds.
    pub occurred_at_ms: i64,
    /// Column `referrer`, where there is one.
    pub referrer: Name,
    /// Column `link`, where there is one.
    pub link: Name,
    /// Column `channel`, where there is one.
    pub channel: Name,
    /// Column `reward_id`, where there is one, else nil.
    pub reward: Id,
    /// Column `decision`, where there is one.
    pub decision: Name,
    /// Column `outcome`, where there is one.
    pub outcome: Name,
    /// Column `live`.
    pub live: bool,
}

/// What the rows of `rewards` of one lead and referrer add up to over the states in which something is open, or those of
/// `rewards_daily` of one referrer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewardRow {
    /// Column `lead_id`; nil in `rewards_daily`.
    pub lead: Id,
    /// Column `program`.
    pub program: Name,
    /// Column `referrer`.
    pub referrer: Name,
    /// Rewards.
    pub rewards: i64,
    /// What they are worth.
    pub amount_minor: i64,
    /// Rewards among them that are approved.
    pub approved: i64,
}

/// A row of `rejects`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectRow {
    /// Column `stream`.
    pub stream: Name,
    /// Column `event_id`.
    pub id: Id,
    /// Column `reason`.
    pub reason: Name,
}

/// What rollups count, in columns of these names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clicks of people.
    pub clicks: i64,
    /// Other requests.
    pub other_clicks: i64,
    /// Persons who became a lead.
    pub leads: i64,
    /// Of them, those that came by one of `clicks`.
    pub leads_by_click: i64,
    /// Of them, those that named a code.
    pub leads_by_code: i64,
    /// Persons who reached anything.
    pub qualified: i64,
    /// Leads as they were sent.
    pub lead_events: i64,
    /// Qualifications.
    pub qualification_events: i64,
    /// Their value in minor units; in `funnel` added up over all currencies.
    pub value_minor: i64,
}

/// A group of `funnel_quarter_hourly` or `funnel_daily`, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollupRow {
    /// Column `program`.
    pub program: Name,
    /// Column `referrer`.
    pub referrer: Name,
    /// Column `channel`.
    pub channel: Name,
    /// Quarters of an hour or days since the epoch.
    pub period: i64,
    /// Column `verdict`.
    pub verdict: Name,
    /// Column `currency`.
    pub currency: Name,
    /// The other columns.
    pub counts: Counts,
}

/// A row of the view `funnel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunnelRow {
    /// Column `program`.
    pub program: Name,
    /// Column `referrer`.
    pub referrer: Name,
    /// Column `channel`.
    pub channel: Name,
    /// The other columns.
    pub counts: Counts,
}

/// A row of the view `unmatched`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnmatchedRow {
    /// Column `kind`: `lead`, `qualification`, `disqualification` or `reinstatement`.
    pub kind: Name,
    /// Column `id`.
    pub id: Id,
}

/// What lies in one partition of one incarnation of a stream. Not limited to this run's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRow {
    /// `clicks` or `conversions`.
    pub stream: Name,
    /// Column `incarnation`.
    pub incarnation: Id,
    /// Column `partition`.
    pub partition: u32,
    /// The first offset stored.
    pub first_offset: u64,
    /// One more than the last offset stored.
    pub next_offset: u64,
    /// Rows that say they are an offset's outcome.
    pub records: u64,
    /// Different offsets among them.
    pub offsets: u64,
    /// Offsets between first and next without an outcome.
    pub missing: i64,
    /// Outcomes beyond one an offset.
    pub extra: i64,
}

/// All that was read back.
#[derive(Clone, Debug, Default)]
pub struct StoredFacts {
    /// The texts that rows name.
    pub names: Names,
    /// Every click of the run's programs.
    pub clicks: Vec<ClickRow>,
    /// Every row of a lead of the run's programs.
    pub leads: Vec<LeadRow>,
    /// Every row of a qualification of the run's programs.
    pub qualifications: Vec<QualificationRow>,
    /// Every row of a disqualification or reinstatement of the run's programs.
    pub reversals: Vec<ReversalRow>,
    /// Every row of the run's programs in tables that nothing corrects; of `reward_events` the decisions.
    pub plain: Vec<PlainRow>,
    /// Rewards of the run's programs, by lead and referrer.
    pub rewards: Vec<RewardRow>,
    /// `rewards_daily`, by referrer.
    pub reward_sums: Vec<RewardRow>,
    /// Every reject of the run's programs.
    pub rejects: Vec<RejectRow>,
    /// `funnel_quarter_hourly`.
    pub quarter_hourly: Vec<RollupRow>,
    /// `funnel_daily`.
    pub daily: Vec<RollupRow>,
    /// The view `funnel`.
    pub funnel: Vec<FunnelRow>,
    /// The view `unmatched`.
    pub unmatched: Vec<UnmatchedRow>,
    /// The view `reconciliation`.
    pub reconciliation: Vec<PartitionRow>,
    /// The same, counted here from every offset stored.
    pub counted: Vec<PartitionRow>,
}
