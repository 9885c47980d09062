//! What would have been earned under other credit: the aggregator's own amounts, caps and budgets, over what is
//! stored. Pure, and changes nothing.
//!
//! A reward is decided anew only where the stored qualifications, under their own credit, give what the ledger has.
//! Where they do not, it stays as it is: as when a cap was full with what has been refunded since. Risk is not looked
//! at: what would be held counts as earned. What somebody rejected or took back, and what a refund ended, stays so for
//! its lead and rule, whoever is credited.

use super::{
    amount::{amount, kept},
    ledger::{CONDITION_UNMET, CREDIT_MOVED, RULES},
    usage::{CAPS, Usage},
};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;
use whence_schemas::{
    event::{RewardParty, RewardRule, RewardTerms},
    ids::EventId,
    reward::reward_id,
    rows::QualificationRow,
    time::UnixMs,
};

/// A qualification that stands, with whom it is credited to.
#[derive(Clone, Copy, Debug)]
pub struct Credited<'a> {
    /// Its row, of which lead and referrer do not count.
    pub row: &'a QualificationRow,
    /// The lead that it belongs to.
    pub lead: EventId,
    /// Who is credited; never empty.
    pub referrer: &'a str,
    /// When both it and its lead had come.
    pub since: UnixMs,
    /// What it brought.
    pub terms: &'a RewardTerms,
}

/// Where a qualification stands in the order in which they came to count.
type Place = (UnixMs, UnixMs, EventId);

impl<'a> Credited<'a> {
    fn place(&self) -> Place {
        (self.since, self.row.occurred_at, self.row.id)
    }

    /// The rules that mean it, and the rewards that they give.
    fn rules(self) -> impl Iterator<Item = (Uuid, &'a RewardRule)> {
        let is_meant =
            move |rule: &&RewardRule| rule.qualification.is_empty() || rule.qualification == self.row.name.0;
        let id = move |rule: &RewardRule| reward_id(&self.row.program.0, self.lead, &rule.id);
        self.terms.rules.iter().filter(is_meant).map(move |rule| (id(rule), rule))
    }
}

/// A reward as it stands, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earned {
    /// Of which rule.
    pub rule: String,
    /// Who referred the lead.
    pub referrer: String,
    /// `referrer` or `referred`: who gets it.
    pub party: String,
    /// ISO 4217.
    pub currency: String,
    /// What is left of it in minor units; 0 where a cap or budget forbids it, or all was taken back.
    pub open_minor: i64,
    /// When it was earned.
    pub earned_at: UnixMs,
}

/// A reward of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// What stands of it.
    pub stands: Earned,
    /// Whose decision that was.
    pub decided_by: String,
    /// And why.
    pub reason: String,
}

impl Booked {
    /// Whether nothing is left of it, whoever is credited.
    fn is_ended(&self) -> bool {
        let reason = self.reason.as_str();
        let may_be_anothers = self.decided_by == RULES
            && ([CREDIT_MOVED, CONDITION_UNMET].contains(&reason) || CAPS.contains(&reason));
        self.stands.open_minor == 0 && !may_be_anothers
    }
}

/// What would stand of a program's rewards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The rewards that were decided anew, as they would be.
    pub then: BTreeMap<Uuid, Earned>,
    /// Those that were not, as they are: nothing stands of what is not in the ledger.
    pub undecided: BTreeMap<Uuid, Earned>,
}

/// What a program's qualifications would earn if they were credited as in `then`, and had been as in `now` when
/// they earned what is booked.
#[must_use]
pub fn replay(
    mut now: Vec<Credited<'_>>,
    mut then: Vec<Credited<'_>>,
    booked: &HashMap<Uuid, Booked>,
) -> Replayed {
    now.sort_by_key(Credited::place);
    then.sort_by_key(Credited::place);
    let (mut control, mut fixed) = (Run::default(), Vec::new());
    for one in now {
        for (id, rule) in one.rules() {
            let stands = booked.get(&id);
            let Some(would) = control.would_earn(one, id, rule, stands) else { continue };
            let stands = stands.map(|booked| booked.stands.clone());
            let stands = stands.unwrap_or_else(|| Earned { open_minor: 0, ..would.clone() });
            if would.open_minor != stands.open_minor || (would.open_minor > 0 && would != stands) {
                fixed.push((one.place(), id, stands.clone()));
            }
            control.count(&one.row.program.0, id, stands);
        }
    }
    let mut undecided: BTreeMap<Uuid, Earned> =
        fixed.iter().map(|(_, id, stands)| (*id, stands.clone())).collect();
    // Open, and earned by nothing that stands.
    let lost = |(id, one): &(&Uuid, &Booked)| one.stands.open_minor > 0 && !control.rewards.contains_key(id);
    undecided.extend(booked.iter().filter(lost).map(|(id, one)| (*id, one.stands.clone())));

    let (mut other, mut fixed) = (Run::default(), fixed.into_iter().peekable());
    for one in then {
        while let Some((_, id, stands)) = fixed.next_if(|(place, ..)| *place <= one.place()) {
            other.count(&one.row.program.0, id, stands);
        }
        for (id, rule) in one.rules().filter(|(id, _)| !undecided.contains_key(id)) {
            if let Some(would) = other.would_earn(one, id, rule, booked.get(&id)) {
                other.count(&one.row.program.0, id, would);
            }
        }
    }
    let mut then = other.rewards;
    then.retain(|id, _| !undecided.contains_key(id));
    Replayed { then, undecided }
}

/// Rewards of qualifications, one after the other.
#[derive(Default)]
struct Run {
    usage: Usage,
    rewards: BTreeMap<Uuid, Earned>,
}

impl Run {
    /// What the rule gives, if the reward is not given or ended already.
    fn would_earn(
        &self,
        Credited { row, referrer, .. }: Credited<'_>,
        id: Uuid,
        rule: &RewardRule,
        booked: Option<&Booked>,
    ) -> Option<Earned> {
        if self.rewards.contains_key(&id) || booked.is_some_and(Booked::is_ended) {
            return None;
        }
        let program = &row.program.0;
        let count = self.usage.of_referrer(program, &rule.id, referrer).count.unsigned_abs();
        let wanted = amount(rule, count, row.paid_minor, &row.currency.0).ok()?;
        let open_minor = match self.usage.refusal(program, rule, referrer, row.occurred_at, wanted) {
            Some(_) => 0,
            None => kept(wanted, row.paid_minor, row.value_minor),
        };
        let party = match rule.party() {
            RewardParty::Referred => "referred",
            RewardParty::Referrer | RewardParty::Unspecified => "referrer",
        };
        Some(Earned {
            rule: rule.id.clone(),
            referrer: referrer.to_owned(),
            party: party.to_owned(),
            currency: rule.currency.clone(),
            open_minor,
            earned_at: row.occurred_at,
        })
    }

    fn count(&mut self, program: &str, id: Uuid, earned: Earned) {
        if earned.open_minor > 0 {
            let of = (program, &*earned.rule, &*earned.referrer);
            self.usage.count(of, earned.earned_at, 1, earned.open_minor);
        }
        self.rewards.insert(id, earned);
    }
}
