//! The tables of rewards.

use super::{
    column::{Column, Lc, enum8},
    tables::table,
};
use crate::{
    event::Verdict,
    ids::{ClickId, EventId, Incarnation},
    time::UnixMs,
};
use bytes::Bytes;
use uuid::Uuid;

/// Where a reward, or a part of it, stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RewardState {
    /// Earned, and waiting for its day.
    Accrued = 1,
    /// Waiting for a person's decision.
    Held = 2,
    /// To be paid.
    Approved = 3,
    /// Paid.
    Issued = 4,
    /// Taken back before it was paid, or never granted (amount 0).
    Rejected = 5,
    /// Taken back after it was paid.
    ClawedBack = 6,
}

impl RewardState {
    /// All, in the order of their numbers.
    pub const ALL: [RewardState; 6] = [
        RewardState::Accrued,
        RewardState::Held,
        RewardState::Approved,
        RewardState::Issued,
        RewardState::Rejected,
        RewardState::ClawedBack,
    ];

    /// The word that stands in the tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            RewardState::Accrued => "accrued",
            RewardState::Held => "held",
            RewardState::Approved => "approved",
            RewardState::Issued => "issued",
            RewardState::Rejected => "rejected",
            RewardState::ClawedBack => "clawed_back",
        }
    }

    /// Whether the amount is somebody's, and counts against caps and budgets.
    #[must_use]
    pub fn is_open(self) -> bool {
        !matches!(self, RewardState::Rejected | RewardState::ClawedBack)
    }
}

impl Column for RewardState {
    fn kind() -> String {
        enum8(Self::ALL.into_iter().map(|state| (state.word(), state as i8)))
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
    fn take(bytes: &mut &[u8]) -> Option<RewardState> {
        let number = bytes.split_off_first()?;
        Self::ALL.into_iter().find(|state| *state as u8 == *number)
    }
}

table!(
    /// A line of the ledger of rewards. A change takes the amount out of the state it was in (`sign` -1,
    /// every dimension copied) and puts it, or its parts, where it is now: so the amounts of a state are the
    /// sum of `sign * amount_minor`, at any time, for any dimension.
    "rewards" RewardRow {
        /// Program.
        program: Lc,
        /// The lead that earned it.
        lead_id: EventId,
        /// See [`crate::reward::reward_id`].
        reward_id: Uuid,
        /// Counts the changes of the reward, from 0.
        revision: u32,
        /// 1, or -1 on a line that takes another back.
        sign: i8,
        /// Where the amount stands.
        state: RewardState,
        /// Minor units of `currency`; never negative.
        amount_minor: i64,
        /// ISO 4217.
        currency: Lc,
        /// `referrer` or `referred`: who gets it.
        party: Lc,
        /// Who referred the lead.
        referrer: String,
        /// Id of the rule within the program.
        rule: Lc,
        /// Version of the registry that the rule was taken from.
        rules_version: u64,
        /// The qualification that earned it.
        qualification_id: EventId,
        /// Its value when the reward was accrued, in minor units.
        value_minor: i64,
        /// When it happened: caps of a period go by this.
        earned_at: UnixMs,
        /// When it is to be approved.
        due_at: UnixMs,
        /// Who made this change: `rules`, `timer`, or whoever decided.
        decided_by: String,
        /// Why.
        reason: String,
        /// What the payment is known by.
        reference: String,
        /// Weight of `flags`.
        risk: u32,
        /// What looked suspicious.
        flags: Vec<Lc>,
        /// What the flags or the refusal rest on, in words.
        evidence: String,
        /// The event that caused the change.
        cause: EventId,
        /// When the events API took it, or the timer was made.
        received_at: UnixMs,
        /// Incarnation of the causing record.
        incarnation: Incarnation,
        /// Partition of the causing record.
        partition: u32,
        /// Offset of the causing record.
        offset: u64,
    }
);

table!(
    /// What was found of the click behind a lead when a record looked at it: what risk goes by. Append-only; a
    /// lead may have several, the last of which at most has found the click.
    "click_evidence" ClickEvidenceRow {
        /// Program.
        program: Lc,
        /// The lead whose touch proves the click.
        lead_id: EventId,
        /// The click.
        click_id: ClickId,
        /// Its time, as its id says.
        clicked_at: UnixMs,
        /// The first lead of the person as known when the lead came, or the lead itself.
        person: Uuid,
        /// What looked: `lead`, `qualification` (any record that makes one count) or `timer` (before an approval).
        looked_by: Lc,
        /// Whether the click's row was stored; if not, all of the next five are empty.
        found: bool,
        /// Who clicked.
        verdict: Verdict,
        /// Why the verdict.
        reason: Lc,
        /// See [`ClickRow`](super::ClickRow).
        visitor: u64,
        /// See [`ClickRow`](super::ClickRow).
        address: u64,
        /// See [`ClickRow`](super::ClickRow).
        prefix: u64,
        /// Whether the lead is live.
        live: bool,
        /// The event that looked.
        cause: EventId,
        /// When the events API took it, or the timer was made.
        received_at: UnixMs,
        /// Incarnation of the record that looked.
        incarnation: Incarnation,
        /// Partition of the record that looked.
        partition: u32,
        /// Offset of the record that looked.
        offset: u64,
    }
);

table!(
    /// The terms that a live qualification brought, kept for when its lead comes or its reward is due.
    "reward_terms" RewardTermsRow {
        /// Program.
        program: Lc,
        /// Event id of the qualification.
        qualification_id: EventId,
        /// [`crate::event::RewardTerms`], encoded.
        terms: Bytes,
        /// Version of the registry at acceptance.
        registry_version: u64,
        /// When the events API took it.
        received_at: UnixMs,
        /// Incarnation of the record.
        incarnation: Incarnation,
        /// Partition of the record.
        partition: u32,
        /// Offset of the record.
        offset: u64,
    }
);

table!(
    /// A decision about a reward or a timer that came for one: one row for each event, and what came of it.
    "reward_events" RewardEventRow {
        /// Program.
        program: Lc,
        /// Event id.
        id: EventId,
        /// `decision` or `timer`.
        kind: Lc,
        /// The reward.
        reward_id: Uuid,
        /// `approve`, `reject`, `issue` or `claw_back`.
        decision: Lc,
        /// `applied`, or why nothing changed.
        outcome: Lc,
        /// Who decided.
        decided_by: String,
        /// Why.
        reason: String,
        /// What the payment is known by.
        reference: String,
        /// What was paid by it, in minor units; 0: it does not say.
        paid_minor: i64,
        /// When it happened, as the caller says; of a timer, when it was due.
        occurred_at: UnixMs,
        /// When the events API took it, or the timer was made.
        received_at: UnixMs,
        /// Where the event came from.
        source: Lc,
        /// Test events change nothing.
        live: bool,
        /// Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.
        digest: u64,
        /// Always 0: the record's own row.
        revision: u32,
        /// Incarnation of the record.
        incarnation: Incarnation,
        /// Partition of the record.
        partition: u32,
        /// Offset of the record.
        offset: u64,
    }
);
