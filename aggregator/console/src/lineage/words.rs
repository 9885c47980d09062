//! "Why did this referrer get (or not get) the credit?": from stored rows to sentences. Pure.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use whence_schemas::reject::RejectReason;

use super::{
    Line, PAST_RETENTION,
    decision::{self, Basis},
    ledger::Ledger,
    rival,
    text::{moment, span, worth},
};

/// What there is to say about one event of a person: a lead, a qualification that waits for one, what takes
/// back, gives again or links names, or a record that became no fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// `lead`, `qualification`, `disqualification`, `reinstatement`, `identify` or `reject`.
    pub step: String,
    /// The event.
    pub event_id: Uuid,
    /// The caller's lead id as stored.
    pub lead: String,
    /// Who is credited; empty: nobody.
    pub referrer: String,
    /// Whether it is live, not a test.
    pub live: bool,
    /// What is to be said, in order.
    pub sentences: Vec<String>,
}

impl Explanation {
    /// As callers of the API see it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "step": self.step,
            "event_id": self.event_id.hyphenated().to_string(),
            "lead": (!self.lead.is_empty()).then_some(&self.lead),
            "referrer": (!self.referrer.is_empty()).then_some(&self.referrer),
            "test": !self.live,
            "why": self.sentences,
        })
    }
}

/// What the lines mean, oldest event first; `referrer` is somebody who asks for themselves. Nothing for
/// no lines.
#[must_use]
pub fn explain(lines: &[Line], referrer: Option<&str>) -> Vec<Explanation> {
    let events = Events::of(lines);
    let mut explanations = Vec::new();
    let mut told = BTreeSet::new();
    for lead in events.of_step("lead") {
        let mut sentences = events.lead(lead, referrer);
        for reached in events.of_step("qualification").filter(|line| line.lead_id == lead.event_id) {
            sentences.extend(events.qualification(reached, Some(lead)));
            told.insert(reached.event_id);
        }
        explanations.push(explanation(lead, sentences));
        told.insert(lead.event_id);
    }
    for waiting in events.of_step("qualification") {
        if told.insert(waiting.event_id) {
            explanations.push(explanation(waiting, events.qualification(waiting, None)));
        }
    }
    for back in events.of_step("disqualification") {
        told.insert(back.event_id);
        let sentences = std::iter::once(taken_back(back)).chain(events.repeats(back)).collect();
        explanations.push(explanation(back, sentences));
    }
    for again in events.of_step("reinstatement") {
        told.insert(again.event_id);
        let sentences = std::iter::once(given_again(again)).chain(events.repeats(again)).collect();
        explanations.push(explanation(again, sentences));
    }
    for linked in events.of_step("identify") {
        told.insert(linked.event_id);
        let text = format!(
            "Since {} names are known to be one person's, or one payment's.",
            moment(linked.received_at)
        );
        explanations.push(explanation(linked, std::iter::once(text).chain(events.repeats(linked)).collect()));
    }
    for reject in lines.iter().filter(|line| line.step == "reject") {
        if told.insert(reject.event_id) {
            explanations.push(explanation(reject, vec![refused(reject)]));
        }
    }
    explanations
}

fn explanation(line: &Line, mut sentences: Vec<String>) -> Explanation {
    if !line.live && line.step != "reject" {
        sentences.push("It is a test: no report counts it, and it earns nothing.".to_owned());
    }
    Explanation {
        step: line.step.clone(),
        event_id: line.event_id,
        lead: line.lead.clone(),
        referrer: line.referrer.clone(),
        live: line.live,
        sentences,
    }
}

/// Each event with its rows, oldest revision first.
struct Events<'a> {
    rows: BTreeMap<(&'a str, Uuid), Vec<&'a Line>>,
    ledger: Ledger<'a>,
}

impl<'a> Events<'a> {
    fn of(lines: &'a [Line]) -> Self {
        let mut rows: BTreeMap<(&str, Uuid), Vec<&Line>> = BTreeMap::new();
        for line in lines {
            rows.entry((&line.step, line.event_id)).or_default().push(line);
        }
        rows.values_mut().for_each(|rows| rows.sort_by_key(|line| (line.revision, line.sign)));
        Self { rows, ledger: Ledger::of(lines) }
    }

    fn all(&self, step: &'static str, id: Uuid) -> &[&'a Line] {
        self.rows.get(&(step, id)).map_or(&[], Vec::as_slice)
    }

    /// The newest row of each event of this kind, in the order in which whence took them.
    fn of_step(&self, step: &'static str) -> impl Iterator<Item = &'a Line> {
        let newest = self.rows.iter().filter(move |((found, _), _)| *found == step);
        let mut newest: Vec<&Line> = newest.filter_map(|(_, rows)| rows.last().copied()).collect();
        newest.sort_by_key(|line| (line.received_at, line.event_id));
        newest.into_iter()
    }

    fn lead(&self, lead: &Line, referrer: Option<&str>) -> Vec<String> {
        let source = if lead.source.is_empty() { String::new() } else { format!(", from {}", lead.source) };
        let mut said = vec![format!("Lead of {}{source}.", moment(lead.at))];
        let of_click = |step| self.all(step, lead.click_id).first().copied();
        let basis =
            Basis { click: of_click("click"), past: of_click(PAST_RETENTION), earlier: self.earlier(lead) };
        if lead.sign == 0 {
            said.push(
                "It tells of the same record of its source as an earlier event, which counts for both, with the \
                 touches of both."
                    .to_owned(),
            );
            said.extend(self.repeats(lead));
            return said;
        }
        said.extend(decision::sentences(lead, basis));
        said.extend(referrer.map(|referrer| rival::about(lead, referrer)));
        said.extend(self.change(lead));
        said.extend(self.looks(lead));
        said.extend(self.repeats(lead));
        said
    }

    /// When the click's row was looked at, and what it said.
    fn looks(&self, lead: &Line) -> Option<String> {
        let all = self.rows.iter().filter(|((step, _), _)| *step == "evidence").flat_map(|(_, rows)| rows);
        let mut looks: Vec<&Line> = all.copied().filter(|look| look.lead_id == lead.event_id).collect();
        looks.sort_by_key(|look| (look.received_at, look.offset));
        let words = looks.iter().map(|look| {
            let when = match look.detail.as_str() {
                "lead" => "when the lead came",
                "timer" => "before an approval",
                _ => "when the lead counted",
            };
            match look.state.as_str() {
                "found" => format!("{when} ({}: {})", look.name, look.reason),
                _ => format!("{when} (it had not come yet)"),
            }
        });
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| format!("The record of the click was looked at {}.", words.join(", ")))
    }

    /// What was decided at first, where something that came later about the person has changed it.
    fn change(&self, lead: &Line) -> Option<String> {
        let first = self.all("lead", lead.event_id).first()?;
        let decision = |line: &Line| (line.referrer.clone(), line.evidence.clone(), line.reason.clone());
        if decision(first) == decision(lead) {
            return None;
        }
        let at_first = if first.referrer.is_empty() { "nobody" } else { &first.referrer };
        Some(format!(
            "When the lead came, {at_first} got the credit; what came later about the person has changed that."
        ))
    }

    /// The earliest credited lead of the same person that came before this one: what the aggregator takes
    /// the credit of where a lead has no evidence of its own.
    fn earlier(&self, lead: &Line) -> Option<&'a Line> {
        let is_earlier = |line: &&Line| {
            (line.received_at, line.event_id) != (lead.received_at, lead.event_id)
                && line.received_at <= lead.received_at
                && line.live == lead.live
                && line.referrer == lead.referrer
                && !line.referrer.is_empty()
                && line.keys.iter().any(|key| lead.keys.contains(key))
        };
        self.of_step("lead").find(is_earlier)
    }

    fn qualification(&self, reached: &Line, lead: Option<&Line>) -> Vec<String> {
        let Line { name, value_minor, currency, .. } = reached;
        let mut said =
            vec![format!("Reached {name:?} at {}{}.", moment(reached.at), worth(*value_minor, currency))];
        let rows = self.all("qualification", reached.event_id);
        let paid = rows.first().map_or(*value_minor, |first| first.value_minor);
        if reached.sign > 0 && *value_minor < paid {
            said.push(format!("{} of {paid} minor units were taken back.", paid - value_minor));
        }
        let came_waiting = rows.first().is_some_and(|first| first.lead_id.is_nil());
        match lead {
            Some(lead) if came_waiting => said.push(format!(
                "It came before its lead, waited {} for it, and is credited like it.",
                span(lead.received_at.saturating_sub(reached.received_at))
            )),
            Some(_) => {}
            None => said.push(format!(
                "It waits for its lead since {}: no lead of this person has come, so nobody is credited yet.",
                moment(reached.received_at)
            )),
        }
        match reached.sign {
            0 => said.push(uncounted(reached)),
            ..0 => said.push(format!("{name:?} was taken back.")),
            _ => {}
        }
        said.extend(self.repeats(reached));
        said.extend(self.ledger.earned_by(reached));
        said
    }

    /// How often the same event came again, or another under its id.
    fn repeats(&self, line: &Line) -> impl Iterator<Item = String> {
        let count = |reason: RejectReason| {
            self.all("reject", line.event_id).iter().filter(|line| line.reason == reason.word()).count()
        };
        let same = match count(RejectReason::Duplicate) {
            0 => None,
            1 => Some("The same event came once more, and was counted once.".to_owned()),
            more => Some(format!("The same event came {more} times more, and was counted once.")),
        };
        let another = match count(RejectReason::ConflictingBody) {
            0 => None,
            1 => Some("Another event came under its id, and counts for nothing.".to_owned()),
            more => Some(format!("{more} other events came under its id, and count for nothing.")),
        };
        same.into_iter().chain(another)
    }
}

/// What came of a refund, chargeback or other taking back.
fn taken_back(back: &Line) -> String {
    let what = if back.name.is_empty() { "taking back" } else { &back.name };
    let amount = worth(back.value_minor, &back.currency);
    let came = match back.reason.as_str() {
        "waiting" => "waits for what it takes back".to_owned(),
        "applied" => format!("took back what it names{amount}"),
        "repeated" => "took nothing back: all of it was taken back before".to_owned(),
        "excess" => format!("asked for more than was left, and took back what was left{amount}"),
        "currency" => "took nothing back: nothing was paid in its currency".to_owned(),
        "reinstated" => "took back what it names, all of which was given again".to_owned(),
        other => format!("ended as {other}"),
    };
    format!("The {what} of {} {came}.", moment(back.at))
}

/// What came of a won dispute, failed refund or other giving again.
fn given_again(again: &Line) -> String {
    let what = if again.name.is_empty() { "reinstatement" } else { &again.name };
    let amount = worth(again.value_minor, &again.currency);
    let came = match again.reason.as_str() {
        "waiting" => "waits for what it undoes".to_owned(),
        "applied" => format!("gave again what had been taken back{amount}"),
        "nothing" => "gave nothing again: nothing of the payment was taken back then".to_owned(),
        "excess" => format!("asked for more than had been taken back, and gave all of that again{amount}"),
        "currency" => "gave nothing again: nothing was taken back in its currency".to_owned(),
        other => format!("ended as {other}"),
    };
    format!("The {what} of {} {came}.", moment(again.at))
}

/// Why a qualification is stored and does not count.
fn uncounted(reached: &Line) -> String {
    let why = match reached.reason.as_str() {
        "not_first_payment" => "only the first of its name counts, and the person has an earlier one",
        "below_threshold" => "the person's payments have not reached the total that it asks for",
        "reached_before" => "an earlier payment has reached the total that it asks for",
        "other_currency" => "the total that it asks for is in another currency",
        "outside_window" => "it is too early or too late for the total that it asks for",
        "taken_back" => "it was taken back",
        "same_payment" => "another event tells of the same payment, and counts for it",
        other => other,
    };
    format!("It does not count: {why}.")
}

/// Why a record became no fact.
fn refused(reject: &Line) -> String {
    let kind = if reject.name.is_empty() { "record" } else { &reject.name };
    let why = match RejectReason::of(&reject.reason) {
        Some(reason) => reason.sentence(),
        None => reject.reason.as_str(),
    };
    let detail = if reject.detail.is_empty() { String::new() } else { format!(" ({})", reject.detail) };
    format!(
        "The {kind} of {} counts for nothing and credits nobody: {why}{detail}.",
        moment(reject.received_at)
    )
}

#[cfg(test)]
mod tests;
