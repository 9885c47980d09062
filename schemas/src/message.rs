//! What whence announces to others: messages about leads and rewards, in the table `outbound_messages`, on the
//! topic `whence.facts` and to webhook endpoints.
//!
//! A message says what holds from now on, not what changed: of two about the same thing the one with the larger
//! `revision` counts. Messages are about live events only.

/// The types of messages, in the order of the documentation.
///
/// | type | when | what `revision` counts |
/// |---|---|---|
/// | `lead.credited` | a lead came, or its credit was decided again: this referrer is credited | the lead |
/// | `lead.uncredited` | the same, and nobody is credited; `reason` says why | the lead |
/// | `lead.qualified` | a qualification counts for this lead; again when its value or the credit changes | the qualification |
/// | `lead.disqualified` | it counts for this lead no longer: all of it was taken back, or it is another lead's | the qualification |
/// | `reward.accrued` | a reward was earned, and is to be approved on its day | the reward |
/// | `reward.held` | a reward was earned, and waits for a decision | the reward |
/// | `reward.approved` | a reward is to be paid | the reward |
/// | `reward.issued` | a reward was paid | the reward |
/// | `reward.rejected` | a reward, or a part of it, will not be paid | the reward |
/// | `reward.clawed_back` | a reward that was paid, or a part of it, is owed back | the reward |
/// | `event.conflicting` | an event came under the id of another, which says something else: it counts for nothing | nothing |
pub const TYPES: [&str; 11] = [
    "lead.credited",
    "lead.uncredited",
    "lead.qualified",
    "lead.disqualified",
    "reward.accrued",
    "reward.held",
    "reward.approved",
    "reward.issued",
    "reward.rejected",
    "reward.clawed_back",
    CONFLICTING,
];

/// The type of the messages about events that came under the id of another.
pub const CONFLICTING: &str = "event.conflicting";

/// The type of a message that is never announced, and sent only where a person has it sent: a reward is to be paid.
pub const PAYOUT_EXPORTED: &str = "payout.exported";
