//! All that is stored about a person, and what it means.

mod decision;
mod ids;
mod ledger;
mod rival;
mod terms;
mod text;
mod words;

use clickhouse::{Client, Row};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use whence_schemas::time::UnixMs;

use crate::ask::AskError;

pub use words::{Explanation, explain};

/// Lines of one person that are looked at, at most; the newest of more are left out.
pub const LINES_MAX: usize = 20_000;
/// Lines of one page.
pub const PAGE_LINES: usize = 1000;

/// What is said where there are no lines: of somebody who was never heard of, and of somebody who was forgotten, the same.
pub const NOTHING: &str = "nothing is known: no event, and no refused record, is found by this name";

/// Ids that are sent with a query, at most: parameters are part of its address. Whoever has more is asked for by the view,
/// which finds the ids once more.
const IDS_MAX: usize = 400;

/// The step of a line that stands for a click whose row was dropped.
const PAST_RETENTION: &str = "past_retention";

/// A row of the view `lineage`. Fields that a step does not have are empty, nil or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Row, Deserialize)]
pub struct Line {
    /// `click`, `lead`, `qualification`, `disqualification`, `reinstatement`, `identify`, `reject`; `past_retention`, a
    /// click whose row was dropped, at `received_at`; `evidence`, a look at the click's record; of rewards `terms`, `reward`,
    /// `decision` and `timer`.
    pub step: String,
    /// When it happened, milliseconds since the epoch.
    pub at: i64,
    /// When whence took it, milliseconds since the epoch.
    pub received_at: i64,
    /// Click or event id; of a reward's line the event that caused it, of terms their qualification.
    #[serde(with = "clickhouse::serde::uuid")]
    pub event_id: Uuid,
    /// The lead's event id; nil on a qualification that waits.
    #[serde(with = "clickhouse::serde::uuid")]
    pub lead_id: Uuid,
    /// The caller's lead id as stored.
    pub lead: String,
    /// Keyed hashes of lead id and aliases.
    pub keys: Vec<[u8; 16]>,
    /// `token`, `code`, `alias` or `none`.
    pub evidence: String,
    /// Why better evidence was refused, why a click has its verdict, why a record was refused, what came of a
    /// disqualification or reinstatement.
    pub reason: String,
    /// Who is credited.
    pub referrer: String,
    /// `host/code`.
    pub link: String,
    /// Where the link was shared.
    pub channel: String,
    /// The click.
    #[serde(with = "clickhouse::serde::uuid")]
    pub click_id: Uuid,
    /// Its time, milliseconds since the epoch.
    pub clicked_at: i64,
    /// `last_touch` or `first_touch`.
    pub model: String,
    /// The program's window, milliseconds.
    pub window_ms: u64,
    /// A click's verdict, a qualification's name, a disqualification's or reinstatement's reason, a refused record's kind, a reward's
    /// rule, what was decided.
    pub name: String,
    /// What a person needs to find the fault of a refused record; what a reward's flags rest on; what came of a
    /// decision; terms as base64 of their protobuf.
    pub detail: String,
    /// Minor units of `currency`; of a qualification what is left of it, of a disqualification what it took, of a
    /// reinstatement what it gave, of a decision to issue what was paid.
    pub value_minor: i64,
    /// ISO 4217, or empty.
    pub currency: String,
    /// Where the event came from.
    pub source: String,
    /// Whether it is live, not a test.
    pub live: bool,
    /// -1 on a row that takes another back.
    pub sign: i8,
    /// 0 on the record's own row.
    pub revision: u32,
    /// Incarnation of the causing record.
    #[serde(with = "clickhouse::serde::uuid")]
    pub incarnation: Uuid,
    /// Partition of the causing record.
    pub partition: u32,
    /// Offset of the causing record.
    pub offset: u64,
    /// The reward that the line is about.
    #[serde(with = "clickhouse::serde::uuid")]
    pub reward_id: Uuid,
    /// Where its amount stands: a word of [`whence_schemas::rows::RewardState`].
    pub state: String,
    /// `referrer` or `referred`: who gets it.
    pub party: String,
    /// `rules`, `timer`, or whoever decided.
    pub decided_by: String,
    /// What the payment is known by.
    pub reference: String,
    /// Weight of `flags`.
    pub risk: u32,
    /// What looked suspicious.
    pub flags: Vec<String>,
    /// The qualification that earned the reward, or brought the terms.
    #[serde(with = "clickhouse::serde::uuid")]
    pub qualification_id: Uuid,
    /// When the reward is to be approved, milliseconds since the epoch.
    pub due_at: i64,
    /// Version of the registry that the terms are of.
    pub rules_version: u64,
    /// What a lead carried, in its order; empty on leads of earlier versions.
    pub touches: Vec<Touch>,
}

/// A touch that a lead carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "(String, i64, String)")]
pub struct Touch {
    /// The referrer that it names; empty where its token proves nothing.
    pub referrer: String,
    /// The click that a token proves, milliseconds since the epoch; 0 of a code.
    pub clicked_at: i64,
    /// Why the token proves nothing; empty where it does, and for codes.
    pub refused: String,
}

impl From<(String, i64, String)> for Touch {
    fn from((referrer, clicked_at, refused): (String, i64, String)) -> Touch {
        Touch { referrer, clicked_at, refused }
    }
}

impl Line {
    /// The line as callers of the API see it: without the fields that its step does not have.
    #[must_use]
    pub fn json(&self) -> Value {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let id = |id: Uuid| (!id.is_nil()).then(|| id.hyphenated().to_string());
        let moment = |ms: i64| (ms != 0).then(|| UnixMs(ms).rfc3339());
        let mut line = json!({
            "step": self.step,
            "at": UnixMs(self.at).rfc3339(),
            "received_at": UnixMs(self.received_at).rfc3339(),
            "event_id": id(self.event_id),
            "lead_id": id(self.lead_id),
            "lead": text(&self.lead),
            "evidence": text(&self.evidence).filter(|_| ["lead", "qualification"].contains(&&*self.step)),
            "reason": text(&self.reason),
            "referrer": text(&self.referrer),
            "link": text(&self.link),
            "channel": text(&self.channel),
            "click_id": id(self.click_id),
            "clicked_at": moment(self.clicked_at),
            "model": text(&self.model),
            "window_ms": (self.window_ms != 0).then_some(self.window_ms),
            "name": text(&self.name),
            "detail": text(&self.detail).filter(|_| self.step != "terms"),
            "rules": terms::words(self),
            "value_minor": (!self.currency.is_empty() || self.value_minor != 0).then_some(self.value_minor),
            "currency": text(&self.currency),
            "source": text(&self.source),
            "live": self.live,
            "sign": self.sign,
            "revision": self.revision,
            "incarnation": self.incarnation.hyphenated().to_string(),
            "partition": self.partition,
            "offset": self.offset,
            "reward_id": id(self.reward_id),
            "state": text(&self.state),
            "party": text(&self.party),
            "decided_by": text(&self.decided_by),
            "reference": text(&self.reference),
            "risk": (self.risk != 0).then_some(self.risk),
            "flags": (!self.flags.is_empty()).then_some(&self.flags),
            "qualification_id": id(self.qualification_id),
            "due_at": moment(self.due_at),
            "rules_version": (self.rules_version != 0).then_some(self.rules_version),
        });
        if let Value::Object(fields) = &mut line {
            fields.retain(|_, value| !value.is_null());
        }
        line
    }
}

/// The lines about the person that `term` names (see [`crate::subject::term`]), oldest first.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn lines(client: &Client, program: &str, term: &str) -> Result<Vec<Line>, AskError> {
    let ids = ids::of(client, program, term).await?;
    let rows = match ids.len() > IDS_MAX {
        true => {
            let sql = "SELECT ?fields FROM lineage(program = {program:String}, lead = {lead:String})";
            client.query(&limited(sql)).param("lead", term)
        }
        false => ids.params(client.query(&limited(&ids::rows(&ids)))),
    };
    let mut lines = rows.param("program", program).fetch_all::<Line>().await?;
    let past = past_retention(client, &lines).await?;
    lines.extend(past);
    lines.sort_by_key(|line| (line.at, line.received_at));
    Ok(lines)
}

/// A part of what is known about a person.
#[derive(Debug)]
pub struct Page<'a> {
    /// What the events mean whose first lines are among these: from all that is known.
    pub events: Vec<Explanation>,
    /// The lines.
    pub lines: &'a [Line],
    /// How many lines come before the next page; `None`: this is the last.
    pub next: Option<usize>,
    /// There is more than this page, and more than is looked at where it is the last.
    pub more: bool,
}

/// The page behind so many of these lines, which are all of a person's; `referrer` is somebody who asks for themselves. `None`
/// where there are no more than those.
#[must_use]
pub fn page<'a>(lines: &'a [Line], referrer: Option<&str>, after: usize) -> Option<Page<'a>> {
    let page = &lines.get(after..).filter(|rest| !rest.is_empty())?;
    let page = &page[..page.len().min(PAGE_LINES)];
    let before: BTreeSet<(&str, Uuid)> =
        lines[..after].iter().map(|line| (line.step.as_str(), line.event_id)).collect();
    let here: BTreeSet<(&str, Uuid)> = page.iter().map(|line| (line.step.as_str(), line.event_id)).collect();
    let mut events = explain(lines, referrer);
    events.retain(|event| {
        let name = (event.step.as_str(), event.event_id);
        here.contains(&name) && !before.contains(&name)
    });
    let next = Some(after + page.len()).filter(|next| *next < lines.len());
    Some(Page { events, lines: page, next, more: next.is_some() || lines.len() >= LINES_MAX })
}

fn limited(sql: &str) -> String {
    format!("{sql} ORDER BY at, received_at, revision, sign, event_id, reward_id LIMIT {LINES_MAX}")
}

#[derive(Row, Deserialize)]
struct PastRow {
    month: u32,
    dropped_at: i64,
}

/// A line for each click that a lead names, whose row is not there and whose month is past retention.
async fn past_retention(client: &Client, lines: &[Line]) -> Result<Vec<Line>, AskError> {
    let stored: BTreeSet<Uuid> =
        lines.iter().filter(|line| line.step == "click").map(|line| line.click_id).collect();
    let is_named =
        |line: &&Line| line.step == "lead" && !line.click_id.is_nil() && !stored.contains(&line.click_id);
    let named: BTreeMap<Uuid, i64> =
        lines.iter().filter(is_named).map(|line| (line.click_id, line.clicked_at)).collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT month, toUnixTimestamp64Milli(p.dropped_last_at) AS dropped_at FROM past_retention AS p \
               WHERE table = 'clicks'";
    let past = client.query(sql).fetch_all::<PastRow>().await?;
    let line_of = |(click_id, clicked_at): (Uuid, i64)| {
        let month = UnixMs(clicked_at).month();
        let past = past.iter().find(|past| past.month == month)?;
        Some(Line {
            step: PAST_RETENTION.to_owned(),
            at: clicked_at,
            received_at: past.dropped_at,
            event_id: click_id,
            click_id,
            clicked_at,
            live: true,
            sign: 1,
            ..Line::default()
        })
    };
    Ok(named.into_iter().filter_map(line_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: &str, event: u128, revision: u32) -> Line {
        Line {
            step: step.into(),
            event_id: Uuid::from_u128(event),
            revision,
            sign: 1,
            live: true,
            ..Line::default()
        }
    }

    #[test]
    fn pages_have_every_line_and_every_event_once_and_are_explained_from_all() {
        // A lead and a qualification of it, with a thousand refused copies in between.
        let mut lines = vec![line("lead", 1, 0)];
        lines.extend((0..1_500).map(|_| Line { reason: "duplicate".into(), ..line("reject", 1, 0) }));
        let lead_id = Uuid::from_u128(1);
        lines.push(Line { lead_id, name: "purchase".into(), ..line("qualification", 2, 0) });
        lines.push(line("identify", 3, 0));
        let (mut after, mut seen, mut told) = (0, Vec::new(), Vec::new());
        let mut pages = 0;
        while let Some(page) = page(&lines, None, after) {
            assert!(page.lines.len() <= PAGE_LINES);
            seen.extend_from_slice(page.lines);
            told.extend(page.events);
            pages += 1;
            assert_eq!(page.more, page.next.is_some());
            let Some(next) = page.next else { break };
            after = next;
        }
        assert_eq!((pages, &seen), (2, &lines));
        let steps: Vec<&str> = told.iter().map(|event| event.step.as_str()).collect();
        assert_eq!(steps, ["lead", "identify"]);
        let said = told[0].sentences.join(" ");
        assert!(said.contains("Reached \"purchase\"") && said.contains("1500 times more"), "{said}");
        assert!(page(&lines, None, lines.len()).is_none() && page(&[], None, 0).is_none());
    }
}
