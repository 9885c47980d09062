//! What a qualification earned and what became of it, from the lines of the ledger to sentences. Pure.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;
use whence_schemas::event::{RewardRule, reward_tier::Amount};

use super::{Line, terms, text::moment};

/// The lines of a person that are about rewards.
pub(super) struct Ledger<'a> {
    /// Of each reward, in the order of its changes, what is taken out before what is put in.
    rewards: BTreeMap<Uuid, Vec<&'a Line>>,
    /// Decisions that changed nothing.
    idle: BTreeMap<Uuid, Vec<&'a Line>>,
    /// By qualification.
    terms: HashMap<Uuid, &'a Line>,
}

impl<'a> Ledger<'a> {
    pub fn of(lines: &'a [Line]) -> Self {
        let mut ledger = Ledger { rewards: BTreeMap::new(), idle: BTreeMap::new(), terms: HashMap::new() };
        for line in lines {
            match line.step.as_str() {
                "terms" => _ = ledger.terms.insert(line.qualification_id, line),
                "reward" => ledger.rewards.entry(line.reward_id).or_default().push(line),
                "decision" if line.detail != "applied" => {
                    ledger.idle.entry(line.reward_id).or_default().push(line);
                }
                _ => {}
            }
        }
        ledger.rewards.values_mut().for_each(|lines| lines.sort_by_key(|line| (line.revision, line.sign)));
        ledger
    }

    /// What there is to say about the rewards of a qualification: its terms, each reward, and why a rule gave none.
    pub fn earned_by(&self, reached: &Line) -> Vec<String> {
        let brought = self.terms.get(&reached.event_id);
        let rules = brought.and_then(|line| terms::words(line)).unwrap_or_default();
        let mut said = Vec::new();
        if let Some(line) = brought.filter(|_| !rules.is_empty()) {
            said.push(format!("Its terms (version {}): {}.", line.rules_version, rules.join("; ")));
        }
        let mine = self.rewards.values().filter(|lines| earned(lines, reached.event_id).next().is_some());
        said.extend(mine.map(|lines| self.reward(lines, reached.event_id)));
        let read = brought.and_then(|line| terms::read(line)).unwrap_or_default();
        said.extend(read.rules.iter().filter_map(|rule| self.nothing(rule, reached)));
        said
    }

    fn reward(&self, lines: &[&Line], qualification: Uuid) -> String {
        let mine: Vec<&Line> = earned(lines, qualification).collect();
        let first = mine[0];
        let who = if first.party == "referred" { "the person referred" } else { &*first.referrer };
        let mut text = format!("Rule {:?} gives {who} ", first.name);
        let mut steps = Vec::new();
        for line in mine.iter().filter(|line| line.sign > 0) {
            let out = mine.iter().find(|out| out.sign < 0 && out.revision == line.revision);
            match out {
                None => text.push_str(&accrued(line)),
                // An amount that stays where it was is not a change.
                Some(out) if out.state == line.state => {}
                Some(_) => steps.push(changed(line)),
            }
        }
        let idle = self.idle.get(&first.reward_id);
        steps.extend(idle.into_iter().flatten().map(|act| idle_words(act)));
        for step in &steps {
            text.push_str("; ");
            text.push_str(step);
        }
        let open = open(&mine);
        if let Some(line) = open.filter(|_| !steps.is_empty()) {
            text.push_str(&format!("; so {} is {} now", amount(line), line.state));
        }
        format!("{text}. It is reward {}.", first.reward_id)
    }

    /// Why a rule of its terms gave nothing for a qualification that stands.
    fn nothing(&self, rule: &RewardRule, reached: &Line) -> Option<String> {
        let of_lead = |line: &&Line| line.name == rule.id && line.lead_id == reached.lead_id;
        let mut rewards = self.rewards.values().filter(|lines| lines.iter().any(of_lead)).peekable();
        let is_told = |lines: &&Vec<&Line>| earned(lines, reached.event_id).next().is_some();
        let is_share = |amount: &Option<Amount>| matches!(amount, Some(Amount::ValuePpm(_)));
        let why = if reached.referrer.is_empty() || reached.lead_id.is_nil() {
            "nobody is credited with it"
        } else if reached.sign <= 0 {
            return None;
        } else if !rule.qualification.is_empty() && rule.qualification != reached.name {
            "it is for another qualification"
        } else if rewards.peek().is_some() {
            if rewards.any(|lines| is_told(&lines)) {
                return None;
            }
            "the lead has its one reward by it, for something else that it reached"
        } else if rule.tiers.iter().all(|tier| is_share(&tier.amount)) && rule.currency != reached.currency {
            "the value is in another currency"
        } else {
            "its part of the value is less than a minor unit"
        };
        Some(format!("Rule {:?} gives nothing for it: {why}.", rule.id))
    }
}

/// The lines of a reward while this qualification had earned it.
fn earned<'a>(lines: &[&'a Line], qualification: Uuid) -> impl Iterator<Item = &'a Line> {
    lines.iter().copied().filter(move |line| line.qualification_id == qualification)
}

/// The line that is open, if one is.
fn open<'a>(lines: &[&'a Line]) -> Option<&'a Line> {
    let is_open = |line: &&Line| !["rejected", "clawed_back"].contains(&&*line.state);
    lines.iter().copied().rfind(is_open).filter(|line| line.sign > 0)
}

fn amount(line: &Line) -> String {
    format!("{} minor units of {}", line.value_minor, line.currency)
}

/// The first line of a reward, or the one by which it was earned again.
fn accrued(line: &Line) -> String {
    let at = moment(line.at);
    match (line.state.as_str(), line.reason.as_str()) {
        ("rejected", cap) => {
            let cap = match cap {
                "budget" => "the budget is used up",
                "referrer_cap" => "the referrer has all that one referrer can have",
                "period_cap" => "the referrer has all that one period allows",
                other => other,
            };
            let would = if line.detail.is_empty() { String::new() } else { format!(" (it {})", line.detail) };
            format!("nothing: {cap}{would}")
        }
        ("held", _) => {
            let (flags, weight) = (line.flags.join(", "), line.risk);
            format!(
                "{}: held for review since {at} for {flags}, weight {weight} ({})",
                amount(line),
                line.detail
            )
        }
        _ => {
            let risk = match line.flags.as_slice() {
                [] => String::new(),
                flags => {
                    format!(
                        ", with {}, weight {}, too light to hold ({})",
                        flags.join(", "),
                        line.risk,
                        line.detail
                    )
                }
            };
            format!("{}: accrued {at}{risk}, due {}", amount(line), moment(line.due_at))
        }
    }
}

/// A later change.
fn changed(line: &Line) -> String {
    let (at, amount) = (moment(line.at), amount(line));
    let by = match (line.decided_by.as_str(), line.reason.as_str()) {
        ("timer", _) => "its day had come".to_owned(),
        ("rules", "disqualified") => "what earned it was taken back".to_owned(),
        ("rules", "same_payment") => "another event counts for the payment that earned it".to_owned(),
        ("rules", "reinstated") => "what had been taken back of what earned it was given again".to_owned(),
        ("rules", "value_reduced") => "a part of what earned it was taken back".to_owned(),
        ("rules", "credit_moved") => "the credit went elsewhere".to_owned(),
        ("rules", "condition_unmet") => "what it asks of the person's history is not so".to_owned(),
        (who, "") => format!("by {who}"),
        (who, why) => format!("by {who}: {why}"),
    };
    match line.state.as_str() {
        "approved" => format!("approved {at} ({by})"),
        "held" => format!(
            "held for review {at} for {}, weight {} ({})",
            line.flags.join(", "),
            line.risk,
            line.detail
        ),
        "issued" => format!("paid {at} under the reference {:?} ({by})", line.reference),
        "rejected" => format!("{amount} rejected {at}, before it was paid ({by})"),
        "clawed_back" => {
            format!("{amount} clawed back {at}, after it was paid as {:?} ({by})", line.reference)
        }
        other => format!("{other} {at} ({by})"),
    }
}

/// A decision that changed nothing.
fn idle_words(act: &Line) -> String {
    let why = match act.detail.as_str() {
        "nothing_open" => "nothing of it was open",
        "approved_already" => "it was approved already",
        "issued_already" => "it was paid already",
        "issued_so_already" => "it was paid under this reference already",
        "not_approved" => "it was not approved",
        "not_issued" => "it was not paid",
        "no_reference" => "it named no payment",
        "amount_changed" => "another amount of it was open than was paid",
        "test" => "it was a test",
        other => other,
    };
    let paid = if act.value_minor > 0 { format!(" of {}", act.value_minor) } else { String::new() };
    let reference = if act.reference.is_empty() { String::new() } else { format!(" as {:?}", act.reference) };
    let word = act.name.replace('_', " ");
    format!("{}'s {word}{paid}{reference} {} changed nothing: {why}", act.decided_by, moment(act.at))
}

#[cfg(test)]
mod tests;
