//! What would have been earned under other credit: the aggregator's own amounts, caps and budgets, over what is
//! stored. Pure, and changes nothing.
//!
//! Rewards are given in the order in which their qualifications came to count, and refunds, rejections and clawbacks
//! make room in caps and budgets when they came. A reward is decided again only where the stored qualifications, under
//! their own credit, give what the ledger has; where they do not, it stays as it is. What somebody rejected or
//! took back, and what a refund ended, stays so for its lead and rule, whoever is credited, and counts for its referrer
//! until then. Risk is not looked at: what would be held counts as earned.

use super::{
    amount::{amount, kept},
    ledger::{CONDITION_UNMET, CREDIT_MOVED, RULES},
    usage::{CAPS, Usage},
};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;
use whence_schemas::{
    event::{RewardParty, RewardRule, RewardTerms},
    ids::EventId,
    reward::reward_id,
    rows::QualificationRow,
    time::UnixMs,
};

/// A qualification that stands, with the referrer who is credited with it.
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

impl<'a> Credited<'a> {
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
    /// What was open of it since it was accrued last, in minor units, and from when on: what it was accrued with, and
    /// what each change has left.
    pub history: Vec<(UnixMs, i64)>,
}

impl Booked {
    /// Whether nothing is left of it, whoever is credited.
    fn is_ended(&self) -> bool {
        let reason = self.reason.as_str();
        let may_be_anothers = self.decided_by == RULES
            && ([CREDIT_MOVED, CONDITION_UNMET].contains(&reason) || CAPS.contains(&reason));
        self.stands.open_minor == 0 && !may_be_anothers
    }

    /// What it was accrued with; 0 where a cap or budget forbade it.
    fn given(&self) -> i64 {
        self.history.first().map_or(0, |(_, open)| *open)
    }
}

/// What would stand of a program's rewards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The rewards that were decided again, as they would be.
    pub then: BTreeMap<Uuid, Earned>,
    /// Those that were not, as they are: nothing stands of what is not in the ledger.
    pub undecided: BTreeMap<Uuid, Earned>,
}

/// What a program's qualifications would earn if they were credited as in `then`, and had been as in `now` when
/// they earned what is booked.
#[must_use]
pub fn replay(
    program: &str,
    now: &[Credited<'_>],
    then: &[Credited<'_>],
    booked: &HashMap<Uuid, Booked>,
) -> Replayed {
    let mut control = Run::new(program, booked);
    // What was ended counts until then; what nothing that stands earns (any more) does, too.
    let is_apart = |of: &HashSet<Uuid>, id: &Uuid, one: &Booked| one.is_ended() || !of.contains(id);
    let of_now = earnable(now);
    let apart = booked.iter().filter(|(id, one)| is_apart(&of_now, id, one));
    let mut fixed: BTreeMap<Uuid, Moment> = BTreeMap::new();
    for (moment, step) in steps(now, booked, apart.map(|(id, one)| (*id, accrued(*id, one)))) {
        match step {
            Step::Earns(one) => fixed.extend(control.reproduce(one).into_iter().map(|id| (id, moment))),
            Step::Counts(id) => control.count_as_booked(id, moment.0),
            Step::Changes(id, open_minor) => control.change(id, open_minor),
        }
    }
    let is_earned = |id: &Uuid| of_now.contains(id) && control.rewards.contains_key(id);
    let lost = booked.iter().filter(|(id, one)| one.stands.open_minor > 0 && !is_earned(id));
    let undecided: BTreeMap<Uuid, Earned> = lost
        .map(|(id, one)| (*id, one.stands.clone()))
        .chain(fixed.keys().map(|id| (*id, control.rewards[id].earned.clone())))
        .collect();

    let mut other = Run::new(program, booked);
    let of_then = earnable(then);
    let is_apart = |id: &Uuid, one: &Booked| is_apart(&of_now, id, one) && is_apart(&of_then, id, one);
    let apart = booked.iter().filter(|(id, one)| is_apart(id, one));
    let apart = apart.map(|(id, one)| (*id, accrued(*id, one))).chain(fixed);
    for (moment, step) in steps(then, booked, apart) {
        match step {
            Step::Earns(one) => other.earn(one, &undecided),
            Step::Counts(id) => other.count_as_booked(id, moment.0),
            Step::Changes(id, open_minor) => other.change(id, open_minor),
        }
    }
    let is_ended = |id: &Uuid| booked.get(id).is_some_and(Booked::is_ended);
    let is_then = |id: &Uuid| of_then.contains(id) && !undecided.contains_key(id) && !is_ended(id);
    let then = other.rewards.into_iter().filter(|(id, _)| is_then(id));
    Replayed { then: then.map(|(id, one)| (id, one.earned)).collect(), undecided }
}

/// The order in which things came; at the same time, changes come last.
type Moment = (UnixMs, bool, UnixMs, Uuid);

#[derive(Clone, Copy)]
enum Step<'a> {
    /// A qualification begins to count.
    Earns(Credited<'a>),
    /// A reward is given as it is booked.
    Counts(Uuid),
    /// So much is open of a reward from here on, as it is booked.
    Changes(Uuid, i64),
}

/// When a reward was accrued.
fn accrued(id: Uuid, booked: &Booked) -> Moment {
    let at = booked.history.first().map_or(booked.stands.earned_at, |(at, _)| *at);
    (at, false, booked.stands.earned_at, id)
}

/// The rewards that these may earn.
fn earnable(credited: &[Credited<'_>]) -> HashSet<Uuid> {
    credited.iter().flat_map(|one| one.rules().map(|(id, _)| id)).collect()
}

/// All that happens, in order; `counted` is given as it is booked, at its moment.
fn steps<'a>(
    credited: &[Credited<'a>],
    booked: &HashMap<Uuid, Booked>,
    counted: impl Iterator<Item = (Uuid, Moment)>,
) -> Vec<(Moment, Step<'a>)> {
    let earns =
        |one: &Credited<'a>| ((one.since, false, one.row.occurred_at, one.row.id.0), Step::Earns(*one));
    let changes = booked.iter().flat_map(|(id, one)| {
        let change = |(at, open): &(UnixMs, i64)| ((*at, true, UnixMs(0), *id), Step::Changes(*id, *open));
        one.history.iter().skip(1).map(change)
    });
    let counted = counted.map(|(id, moment)| (moment, Step::Counts(id)));
    let mut steps: Vec<_> = credited.iter().map(earns).chain(changes).chain(counted).collect();
    // Stable: several changes of a reward in one millisecond stay in their order.
    steps.sort_by_key(|(moment, _)| *moment);
    steps
}

/// A reward, and what it was given with.
struct Given {
    earned: Earned,
    given: i64,
}

/// Rewards of qualifications, one after the other.
struct Run<'a> {
    program: &'a str,
    booked: &'a HashMap<Uuid, Booked>,
    usage: Usage,
    rewards: BTreeMap<Uuid, Given>,
}

impl<'a> Run<'a> {
    fn new(program: &'a str, booked: &'a HashMap<Uuid, Booked>) -> Run<'a> {
        Run { program, booked, usage: Usage::default(), rewards: BTreeMap::new() }
    }

    /// Gives what is booked, and says which of it is something else than the qualification earns.
    fn reproduce(&mut self, one: Credited<'_>) -> Vec<Uuid> {
        let mut others = Vec::new();
        for (id, rule) in one.rules() {
            let Some(would) = self.would_earn(one, id, rule) else { continue };
            let booked = self.booked.get(&id);
            let given = booked.map_or(0, Booked::given);
            let stands = booked.map_or(&would, |booked| &booked.stands);
            let was = Earned { open_minor: given, ..stands.clone() };
            if would.open_minor != given || (given > 0 && would != was) {
                others.push(id);
            }
            self.count(id, was);
            self.catch_up(id, one.since);
        }
        others
    }

    /// Gives what the qualification earns, except for these.
    fn earn(&mut self, one: Credited<'_>, undecided: &BTreeMap<Uuid, Earned>) {
        for (id, rule) in one.rules().filter(|(id, _)| !undecided.contains_key(id)) {
            if let Some(would) = self.would_earn(one, id, rule) {
                self.count(id, would);
                self.catch_up(id, one.since);
            }
        }
    }

    /// What the rule gives, if the reward is not given or ended already. Of what was given, changes are told apart; of
    /// anything else, what refunds have left by now.
    fn would_earn(&self, one: Credited<'_>, id: Uuid, rule: &RewardRule) -> Option<Earned> {
        let Credited { row, referrer, .. } = one;
        let booked = self.booked.get(&id);
        if self.rewards.contains_key(&id) || booked.is_some_and(Booked::is_ended) {
            return None;
        }
        let count = self.usage.of_referrer(self.program, &rule.id, referrer).count.unsigned_abs();
        let wanted = amount(rule, count, row.paid_minor, &row.currency.0).ok()?;
        let open_minor = match self.usage.refusal(self.program, rule, referrer, row.occurred_at, wanted) {
            Some(_) => 0,
            None if booked.is_some_and(|booked| booked.given() > 0) => wanted,
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

    fn count_as_booked(&mut self, id: Uuid, since: UnixMs) {
        if let Some(booked) = self.booked.get(&id) {
            self.count(id, Earned { open_minor: booked.given(), ..booked.stands.clone() });
            self.catch_up(id, since);
        }
    }

    fn count(&mut self, id: Uuid, earned: Earned) {
        let given = earned.open_minor;
        if given > 0 {
            self.usage.count((self.program, &earned.rule, &earned.referrer), earned.earned_at, 1, given);
        }
        self.rewards.insert(id, Given { earned, given });
    }

    /// The changes that came before it was given.
    fn catch_up(&mut self, id: Uuid, since: UnixMs) {
        let Some(booked) = self.booked.get(&id) else { return };
        for (_, open_minor) in booked.history.iter().skip(1).filter(|(at, _)| *at < since) {
            self.change(id, *open_minor);
        }
    }

    /// As much as is left of what was booked is left of what was given.
    fn change(&mut self, id: Uuid, open_minor: i64) {
        let base = self.booked.get(&id).map_or(0, Booked::given);
        let Some(Given { earned, given }) = self.rewards.get_mut(&id).filter(|_| base > 0) else { return };
        let left = kept(*given, base, open_minor);
        let (count, amount) =
            (if left == 0 && earned.open_minor > 0 { -1 } else { 0 }, left - earned.open_minor);
        self.usage.count((self.program, &earned.rule, &earned.referrer), earned.earned_at, count, amount);
        earned.open_minor = left;
    }
}
