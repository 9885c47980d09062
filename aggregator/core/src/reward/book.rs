//! The ledger of the rewards that a block touches: what was stored before it, and the lines that its records
//! add, one record after the other.

use super::{
    amount::{amount, kept},
    ledger::{
        CONDITION_UNMET, CREDIT_MOVED, Cause, DISQUALIFIED, RULES, Reward, SAME_PAYMENT, VALUE_REDUCED, Why,
    },
    risk::{self, Signals},
    usage::Usage,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;
use whence_schemas::{
    event::{RewardDecision, RewardParty, RewardRule, RewardTerms, RiskPolicy},
    ids::EventId,
    reward::reward_id,
    rows::{Lc, QualificationRow, RewardRow, RewardState},
    time::UnixMs,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// `decided_by` of what its day brought.
const TIMER: &str = "timer";
/// `reason` of what is held for its flags.
const RISK: &str = "risk";

/// The terms that a qualification brought, and the version of the registry they are of.
pub(super) type Terms = (RewardTerms, u64);

/// What a record makes of a qualification.
pub(super) struct QualificationChange<'a> {
    pub program: &'a str,
    pub id: EventId,
    /// Its row from here on, unless it was taken back; with `sign` 0 where it does not count.
    pub now: Option<&'a QualificationRow>,
    /// The row that it earns by: `now`, or where it was taken back before it came the row that came.
    pub earning: Option<&'a QualificationRow>,
    pub signals: Signals,
}

/// The row, if its lead is known and credited to somebody.
fn credited(row: &QualificationRow) -> Option<&QualificationRow> {
    (!row.lead_id.is_nil() && !row.referrer.is_empty()).then_some(row)
}

/// What is known of the rewards of a block.
#[derive(Default)]
pub(super) struct Book {
    rewards: BTreeMap<(String, Uuid), Reward>,
    /// In the order of their ids, whether they were stored or are new; of some of them another qualification
    /// may be the one that counts now.
    of_qualification: HashMap<(String, EventId), BTreeSet<Uuid>>,
    terms: HashMap<(String, EventId), Terms>,
    usage: Usage,
    made: Vec<RewardRow>,
}

impl Book {
    /// From what was stored before the block.
    pub fn new(lines: Vec<RewardRow>, usage: Usage) -> Book {
        let mut book = Book { usage, ..Book::default() };
        Reward::all(lines).for_each(|reward| book.know(reward));
        book
    }

    /// The same with the terms of the qualifications that its records touch.
    pub fn with_terms(self, terms: HashMap<(String, EventId), Terms>) -> Book {
        Book { terms, ..self }
    }

    /// What is looked at before a qualification's rewards are paid, if it may earn any.
    pub fn policy(&self, program: &str, id: EventId) -> Option<RiskPolicy> {
        self.terms.get(&(program.to_owned(), id))?.0.risk
    }

    /// The newest line of a reward.
    pub fn line(&self, program: &str, id: Uuid) -> Option<&RewardRow> {
        self.rewards.get(&(program.to_owned(), id)).map(Reward::line)
    }

    fn know(&mut self, reward: Reward) {
        let line = reward.line();
        let (program, qualification) = (line.program.0.clone(), line.qualification_id);
        self.of_qualification.entry((program.clone(), qualification)).or_default().insert(reward.id());
        self.rewards.insert((program, reward.id()), reward);
    }

    /// The lines made.
    pub fn into_lines(self) -> Vec<RewardRow> {
        self.made
    }

    fn write(&mut self, lines: Vec<RewardRow>) {
        lines.iter().for_each(|line| self.usage.apply(line));
        self.made.extend(lines);
    }

    /// These qualifications stand as they say from this record on: rewards become what they are worth, and
    /// what is earned is accrued. All shrink before any is accrued, and the earliest earns first: where the
    /// credit of several moves at once, it does not matter in which order they are told.
    pub fn qualifications(&mut self, mut changed: Vec<QualificationChange<'_>>, cause: Cause<'_>) {
        changed.sort_by_key(|standing| (standing.earning.map(|row| row.occurred_at), standing.id));
        changed.iter().for_each(|standing| self.fit_all(standing, cause));
        for QualificationChange { program, id, earning, signals, .. } in &changed {
            let Some(row) = earning.filter(|row| row.live).and_then(credited) else { continue };
            let terms = self.terms.get(&((*program).to_owned(), *id)).cloned().unwrap_or_default();
            for rule in &terms.0.rules {
                self.accrue(rule, terms.0.risk.unwrap_or_default(), terms.1, row, signals, cause);
            }
        }
        // Earned by the whole value, then shrunk: so it does not matter whether a refund came before the payment
        // or the lead.
        changed.iter().for_each(|standing| self.fit_all(standing, cause));
    }

    fn fit_all(&mut self, standing: &QualificationChange<'_>, cause: Cause<'_>) {
        let QualificationChange { program, id, .. } = *standing;
        let now = standing.now;
        let rewards = self.of_qualification.get(&(program.to_owned(), id)).cloned().unwrap_or_default();
        for reward in rewards {
            self.fit(program, reward, id, now, cause);
        }
    }

    fn fit(
        &mut self,
        program: &str,
        id: Uuid,
        qualification: EventId,
        now: Option<&QualificationRow>,
        cause: Cause<'_>,
    ) {
        let key = (program.to_owned(), id);
        let Some(reward) = self.rewards.get(&key) else { return };
        let line = reward.line();
        if line.qualification_id != qualification {
            // Another one has earned it since.
            return;
        }
        let (keep, reason) = match now {
            None => (0, DISQUALIFIED),
            Some(now) if now.sign == 0 && now.reason.0 == SAME_PAYMENT => (0, SAME_PAYMENT),
            Some(now) if now.sign == 0 => (0, CONDITION_UNMET),
            Some(now) if now.lead_id != line.lead_id.0 || now.referrer != line.referrer => (0, CREDIT_MOVED),
            Some(now) => (kept(reward.given_minor(), line.value_minor, now.value_minor), VALUE_REDUCED),
        };
        let why = Why { decided_by: RULES, reason, reference: "" };
        let open = reward.open_minor();
        // Before anything is changed: others may have used what a refund had made free.
        let is_given_again = open > 0 && open < keep && self.has_room(&line.clone(), open, keep);
        let Some(reward) = self.rewards.get_mut(&key) else { return };
        let lines = match is_given_again {
            true => reward.give_again(keep, cause),
            false if open == 0 && reason == SAME_PAYMENT => reward.leave_to_the_same_payment(cause),
            false => reward.take(open - keep, why, cause),
        };
        self.write(lines);
    }

    /// Whether caps and budget let this much be open of a reward of which less is.
    fn has_room(&mut self, line: &RewardRow, open_minor: i64, wanted_minor: i64) -> bool {
        let program = &line.program.0;
        let terms = self.terms.get(&(program.clone(), line.qualification_id));
        let rule =
            terms.and_then(|(terms, _)| terms.rules.iter().find(|rule| rule.id == line.rule.0)).cloned();
        let Some(rule) = rule else { return false };
        let of = (program.as_str(), rule.id.as_str(), line.referrer.as_str());
        self.usage.count(of, line.earned_at, -1, -open_minor);
        let refusal = self.usage.refusal(program, &rule, &line.referrer, line.earned_at, wanted_minor);
        self.usage.count(of, line.earned_at, 1, open_minor);
        refusal.is_none()
    }

    fn accrue(
        &mut self,
        rule: &RewardRule,
        policy: RiskPolicy,
        rules_version: u64,
        now: &QualificationRow,
        signals: &Signals,
        cause: Cause<'_>,
    ) {
        let program = &now.program.0;
        let id = reward_id(program, EventId(now.lead_id), &rule.id);
        let is_meant = rule.qualification.is_empty() || rule.qualification == now.name.0;
        let former = self.rewards.get(&(program.clone(), id));
        if !is_meant || former.is_some_and(|former| !former.may_be_earned_again(now.id)) {
            return;
        }
        let revision = former.map_or(0, |former| former.line().revision + 1);
        let count = self.usage.of_referrer(program, &rule.id, &now.referrer).count.unsigned_abs();
        let before = former.and_then(|former| former.given_before(now.id, &now.referrer));
        if before.is_some_and(|given| kept(given, now.paid_minor, now.value_minor) == 0) {
            // Still less than a minor unit.
            return;
        }
        let wanted = before.map_or_else(|| amount(rule, count, now.paid_minor, &now.currency.0), Ok);
        let Ok(wanted) = wanted else { return };
        let mut found = risk::assess(&policy, signals, &self.usage.pace(program, &rule.id, now));
        let refusal = self.usage.refusal(program, rule, &now.referrer, now.occurred_at, wanted);
        let (state, amount_minor, reason) = match refusal {
            Some(cap) => {
                found.evidence = format!("would have been {wanted}");
                (RewardState::Rejected, 0, cap)
            }
            None if found.is_held => (RewardState::Held, wanted, RISK),
            None => (RewardState::Accrued, wanted, "earned"),
        };
        let party = match rule.party() {
            RewardParty::Referred => "referred",
            RewardParty::Referrer | RewardParty::Unspecified => "referrer",
        };
        let line = RewardRow {
            program: now.program.clone(),
            lead_id: EventId(now.lead_id),
            reward_id: id,
            revision,
            sign: 1,
            state,
            amount_minor,
            currency: Lc(rule.currency.clone()),
            party: Lc(party.into()),
            referrer: now.referrer.clone(),
            rule: Lc(rule.id.clone()),
            rules_version,
            qualification_id: now.id,
            value_minor: now.paid_minor,
            earned_at: now.occurred_at,
            due_at: now.occurred_at.plus_ms(i64::from(rule.hold_days) * DAY_MS).clamped(),
            decided_by: RULES.into(),
            reason: reason.into(),
            reference: String::new(),
            risk: found.weight,
            flags: found.flags,
            evidence: found.evidence,
            cause: cause.event,
            received_at: cause.received_at,
            incarnation: cause.range.incarnation,
            partition: cause.range.partition.number,
            offset: cause.offset,
        };
        match self.rewards.get_mut(&(line.program.0.clone(), id)) {
            Some(former) => former.earn_again(&line),
            None => self.know(Reward::new(&line)),
        }
        let of_qualification = self.of_qualification.entry((line.program.0.clone(), line.qualification_id));
        of_qualification.or_default().insert(id);
        self.write(vec![line]);
    }

    /// The day of a reward has come. It is looked at once more: what was not known when it was accrued may
    /// hold it. Says `applied` (it is approved), `held`, or why nothing changed.
    pub fn due(
        &mut self,
        program: &str,
        id: Uuid,
        at: UnixMs,
        signals: &Signals,
        cause: Cause<'_>,
    ) -> &'static str {
        let Some(reward) = self.rewards.get(&(program.to_owned(), id)) else { return "unknown_reward" };
        if reward.state() != Some(RewardState::Accrued) {
            return "not_accrued";
        }
        if reward.due_at() > at {
            return "not_due";
        }
        let line = reward.line();
        let policy = self.policy(program, line.qualification_id).unwrap_or_default();
        let found = risk::assess_again(&policy, signals, &line.flags, &line.evidence);
        let (state, reason, outcome) = match found.is_held {
            true => (RewardState::Held, RISK, "held"),
            false => (RewardState::Approved, "due", "applied"),
        };
        let why = Why { decided_by: TIMER, reason, reference: "" };
        let reward = self.rewards.get_mut(&(program.to_owned(), id));
        let lines = reward.map(|reward| reward.move_with(state, found, why, cause)).unwrap_or_default();
        self.write(lines);
        outcome
    }

    /// Somebody decided. Says `applied`, or why nothing changed.
    pub fn decide(
        &mut self,
        program: &str,
        id: Uuid,
        decision: &RewardDecision,
        cause: Cause<'_>,
    ) -> &'static str {
        use RewardState::{Accrued, Approved, Held, Issued};
        let Some(reward) = self.rewards.get_mut(&(program.to_owned(), id)) else { return "unknown_reward" };
        let Some(state) = reward.state() else { return "nothing_open" };
        let RewardDecision { decided_by, reason, reference, .. } = decision;
        let why = Why { decided_by, reason, reference };
        let lines = match (decision.decision.as_str(), state) {
            ("approve", Accrued | Held) => reward.move_to(Approved, why, cause),
            ("approve", Approved | Issued) => return "approved_already",
            ("reject", Accrued | Held | Approved) => reward.take(i64::MAX, why, cause),
            ("reject", Issued) => return "issued_already",
            ("issue", Approved) if reference.is_empty() => return "no_reference",
            ("issue", Approved) if ![0, reward.open_minor()].contains(&decision.paid_minor) => {
                return "amount_changed";
            }
            ("issue", Approved) => reward.move_to(Issued, why, cause),
            ("issue", Issued) if reward.is_issued_as(reference) => return "issued_so_already",
            ("issue", Issued) => return "issued_already",
            ("issue", Accrued | Held) => return "not_approved",
            ("claw_back", Issued) => reward.take(i64::MAX, why, cause),
            ("claw_back", _) => return "not_issued",
            _ => return "unknown_decision",
        };
        self.write(lines);
        "applied"
    }
}
