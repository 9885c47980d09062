//! One reward: the lines it has, and the lines that a change adds.

use super::risk::Finding;
use crate::position::BlockRange;
use uuid::Uuid;
use whence_schemas::{
    ids::EventId,
    rows::{RewardRow, RewardState},
    time::UnixMs,
};

/// `decided_by` of what follows from the terms.
pub(super) const RULES: &str = "rules";
/// `reason` of what is taken back because another referrer or lead is credited now.
pub(super) const CREDIT_MOVED: &str = "credit_moved";
/// `reason` of what is taken back because the qualification's condition on the person's history is not met (any
/// more): that, or another one, may meet it later.
pub(super) const CONDITION_UNMET: &str = "condition_unmet";

/// `reason` of what is taken back with its qualification: that may be given again.
pub(super) const DISQUALIFIED: &str = "disqualified";
/// `reason` of what is taken back with a part of its qualification's value.
pub(super) const VALUE_REDUCED: &str = "value_reduced";
/// `reason` of what is taken back because another event counts for the payment: that earns it.
pub(crate) const SAME_PAYMENT: &str = "same_payment";
/// `reason` of what is open again of a reward that a refund had made smaller.
const REINSTATED: &str = "reinstated";

/// The record that causes a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause<'a> {
    pub range: &'a BlockRange,
    pub offset: u64,
    pub event: EventId,
    pub received_at: UnixMs,
}

/// Who changes a reward, and why.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Why<'a> {
    pub decided_by: &'a str,
    pub reason: &'a str,
    pub reference: &'a str,
}

/// A reward as its lines make it.
#[derive(Clone, Debug)]
pub(super) struct Reward {
    /// The line of the part that is not taken back, while there is one.
    open: Option<RewardRow>,
    /// The newest line.
    newest: RewardRow,
    /// What it was accrued with, before anything was taken back.
    given: i64,
    /// The change that took the open line out last.
    closed_by: Option<u32>,
    /// The payments it is known by: one reference pays once.
    references: Vec<String>,
}

impl Reward {
    /// A new reward of one line.
    pub fn new(line: &RewardRow) -> Reward {
        let mut reward =
            Reward { open: None, newest: line.clone(), given: 0, closed_by: None, references: Vec::new() };
        reward.apply(line);
        reward
    }

    /// The rewards of these lines, which may come in any order.
    pub fn all(mut lines: Vec<RewardRow>) -> impl Iterator<Item = Reward> {
        // What a change takes out comes before what it puts in.
        lines.sort_by(|a, b| {
            let order = |line: &RewardRow| (line.reward_id, line.revision, line.sign);
            (&a.program, order(a)).cmp(&(&b.program, order(b)))
        });
        let mut rewards: Vec<Reward> = Vec::new();
        for line in lines {
            match rewards.last_mut() {
                Some(reward) if reward.newest.reward_id == line.reward_id => reward.apply(&line),
                _ => rewards.push(Reward::new(&line)),
            }
        }
        rewards.into_iter()
    }

    fn apply(&mut self, line: &RewardRow) {
        match (line.state.is_open(), line.sign) {
            (true, -1) => {
                self.open = None;
                self.closed_by = Some(line.revision);
            }
            (true, _) => {
                if self.closed_by != Some(line.revision) {
                    self.given = line.amount_minor;
                }
                self.open = Some(line.clone());
            }
            (false, _) => {}
        }
        if line.state == RewardState::Issued && line.sign == 1 && !self.references.contains(&line.reference) {
            self.references.push(line.reference.clone());
        }
        self.newest = line.clone();
    }

    pub fn id(&self) -> Uuid {
        self.newest.reward_id
    }

    /// The newest line: what is open, while anything is.
    pub fn line(&self) -> &RewardRow {
        &self.newest
    }

    /// Where the part stands that is not taken back.
    pub fn state(&self) -> Option<RewardState> {
        self.open.as_ref().map(|line| line.state)
    }

    /// What is not taken back.
    pub fn open_minor(&self) -> i64 {
        self.open.as_ref().map_or(0, |line| line.amount_minor)
    }

    /// What it was accrued with, before anything was taken back.
    pub fn given_minor(&self) -> i64 {
        self.given
    }

    /// Whether this qualification may earn it although it was earned before: nothing is open of it only because the
    /// credit went elsewhere, from where it may come back, because a condition was not met, which may be met again,
    /// because another event told of the payment, or because this qualification itself was taken back, whole or but for
    /// less than a minor unit of the reward, and is given again.
    pub fn may_be_earned_again(&self, qualification: EventId) -> bool {
        let newest = &self.newest;
        let may = match newest.reason.as_str() {
            CREDIT_MOVED | CONDITION_UNMET | SAME_PAYMENT => true,
            DISQUALIFIED => newest.qualification_id == qualification,
            VALUE_REDUCED => {
                newest.qualification_id == qualification && newest.state == RewardState::Rejected
            }
            _ => false,
        };
        self.open.is_none() && newest.decided_by == RULES && may
    }

    /// What this referrer had of it for this qualification before that was taken back: it is what is earned again,
    /// whatever the referrer's tier is now.
    pub fn given_before(&self, qualification: EventId, referrer: &str) -> Option<i64> {
        let newest = &self.newest;
        let is_same = newest.qualification_id == qualification && newest.referrer == referrer;
        let is_taken_back = [DISQUALIFIED, VALUE_REDUCED].contains(&newest.reason.as_str());
        (is_taken_back && is_same).then_some(self.given)
    }

    /// Another event counts for the payment now: nothing is open that could be taken back, and that event may earn it.
    pub fn leave_to_the_same_payment(&mut self, cause: Cause<'_>) -> Vec<RewardRow> {
        let is_taken_back = [DISQUALIFIED, VALUE_REDUCED].contains(&self.newest.reason.as_str());
        if self.open.is_some() || self.newest.decided_by != RULES || !is_taken_back {
            return Vec::new();
        }
        let why = Why { decided_by: RULES, reason: SAME_PAYMENT, reference: "" };
        let line = RewardRow {
            sign: 1,
            revision: self.newest.revision + 1,
            state: RewardState::Rejected,
            amount_minor: 0,
            ..decided(self.newest.clone(), why)
        };
        let line = caused(line, cause);
        self.apply(&line);
        vec![line]
    }

    /// Takes a line that accrues the reward again.
    pub fn earn_again(&mut self, line: &RewardRow) {
        self.apply(line);
    }

    /// When it is to be approved.
    pub fn due_at(&self) -> UnixMs {
        self.newest.due_at
    }

    /// Whether it was paid under this reference.
    pub fn is_issued_as(&self, reference: &str) -> bool {
        self.references.iter().any(|known| known == reference)
    }

    /// Moves what is open to another open state. Nothing where nothing is open.
    pub fn move_to(&mut self, state: RewardState, why: Why<'_>, cause: Cause<'_>) -> Vec<RewardRow> {
        let Some(open) = self.open.clone() else { return Vec::new() };
        self.change(&open, &open, &[(state, open.amount_minor)], why, cause)
    }

    /// The same with what was found out about it since.
    pub fn move_with(
        &mut self,
        state: RewardState,
        found: Finding,
        why: Why<'_>,
        cause: Cause<'_>,
    ) -> Vec<RewardRow> {
        let Some(open) = self.open.clone() else { return Vec::new() };
        let Finding { weight: risk, flags, evidence, .. } = found;
        let looked_at = RewardRow { risk, flags, evidence, ..open.clone() };
        self.change(&open, &looked_at, &[(state, open.amount_minor)], why, cause)
    }

    /// Takes back this much of what is open: from a payment by clawing it back, else by rejecting it. Nothing
    /// where nothing is open or to be taken.
    pub fn take(&mut self, amount_minor: i64, why: Why<'_>, cause: Cause<'_>) -> Vec<RewardRow> {
        let Some(open) = self.open.clone() else { return Vec::new() };
        let taken = amount_minor.min(open.amount_minor);
        if taken <= 0 {
            return Vec::new();
        }
        let into = match open.state {
            RewardState::Issued => RewardState::ClawedBack,
            _ => RewardState::Rejected,
        };
        let rest = (open.state, open.amount_minor - taken);
        let parts = [(into, taken), rest];
        let parts = if rest.1 > 0 { &parts[..] } else { &parts[..1] };
        self.change(&open, &open, parts, why, cause)
    }

    /// Opens this much of what a refund had taken of it. Nothing where it was paid since: what was clawed back of a
    /// payment is for people to decide.
    pub fn give_again(&mut self, open_minor: i64, cause: Cause<'_>) -> Vec<RewardRow> {
        let Some(open) = self.open.clone() else { return Vec::new() };
        if open.state == RewardState::Issued || open_minor <= open.amount_minor {
            return Vec::new();
        }
        let why = Why { decided_by: RULES, reason: REINSTATED, reference: "" };
        let onto = decided(open.clone(), why);
        self.change(&open, &onto, &[(open.state, open_minor)], why, cause)
    }

    /// Takes the open line out and puts these parts in, each like `onto`.
    fn change(
        &mut self,
        open: &RewardRow,
        onto: &RewardRow,
        parts: &[(RewardState, i64)],
        why: Why<'_>,
        cause: Cause<'_>,
    ) -> Vec<RewardRow> {
        let revision = self.newest.revision + 1;
        let mut lines = vec![caused(RewardRow { sign: -1, revision, ..open.clone() }, cause)];
        for (state, amount_minor) in parts {
            // What stays as it is keeps whose decision that was.
            let is_rest = *state == open.state;
            let line = if is_rest { onto.clone() } else { decided(onto.clone(), why) };
            let line = RewardRow { state: *state, amount_minor: *amount_minor, revision, ..line };
            lines.push(caused(line, cause));
        }
        lines.iter().for_each(|line| self.apply(line));
        lines
    }
}

fn decided(line: RewardRow, why: Why<'_>) -> RewardRow {
    let reference = if why.reference.is_empty() { line.reference } else { why.reference.to_owned() };
    RewardRow { decided_by: why.decided_by.into(), reason: why.reason.into(), reference, ..line }
}

/// The line with the causing record's id, time and place.
fn caused(line: RewardRow, cause: Cause<'_>) -> RewardRow {
    RewardRow {
        cause: cause.event,
        received_at: cause.received_at,
        incarnation: cause.range.incarnation,
        partition: cause.range.partition.number,
        offset: cause.offset,
        ..line
    }
}
