//! What the conversions of a block earn, and what becomes of it: a ledger of rewards.
//!
//! | module | what it does |
//! |---|---|
//! | `amount` | tiers, shares, what is left after a refund |
//! | `usage` | caps, budgets and the referrer's pace |
//! | `evidence` | what is known about the person behind a qualification, and of the click that led there |
//! | `risk` | flags and their weight |
//! | `ledger` | one reward: its lines, and those that a change adds |
//! | [`replay`] | what other credit would have earned |
//! | `book` | the rewards of a block, record by record |
//!
//! Only this module and `evidence` ask the store; the others are pure. Rewards are derived from the rows that the block's
//! records make in `qualifications`, from decisions and from timers, in the order of their offsets, over what
//! was stored before the block. Terms come with the qualification, so that no registry is asked.
//!
//! The click's row may come at any time. So what is found of it is written down first (`click_evidence`), read
//! back, and only then is anything derived from it: every try of a block sees what the first one wrote.

mod amount;
mod book;
mod evidence;
mod ledger;
pub mod replay;
mod risk;
#[cfg(test)]
mod tests;
mod usage;

use crate::{
    position::BlockRange,
    store::{Rows, Store, StoreError},
};
use book::{Book, QualificationChange, Terms};
use evidence::{About, Evidence};
use ledger::Cause;
pub(crate) use ledger::SAME_PAYMENT;
use risk::Signals;
use std::collections::{BTreeMap, BTreeSet, HashMap};
pub(crate) use usage::Spent;
use usage::Usage;
use uuid::Uuid;
use whence_schemas::{
    event::{self, RewardDecision, RewardTerms, Timer},
    ids::EventId,
    rows::{ClickEvidenceRow, Lc, QualificationRow, RewardEventRow, RewardTermsRow},
    time::UnixMs,
};

/// [`Timer::purpose`] of the approval of a reward.
pub const APPROVE: &str = "approve_reward";

const DECISIONS: [&str; 4] = ["approve", "reject", "issue", "claw_back"];

/// A reward's event that is not a qualification.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Somebody decided.
    Decision(RewardDecision),
    /// A reward's day has come.
    Due(Timer),
}

impl Act {
    /// The kind of event.
    pub fn word(&self) -> &'static str {
        match self {
            Act::Decision(_) => "reward_decision",
            Act::Due(_) => "timer",
        }
    }

    /// What the event must say to be read, or why it can't be.
    pub fn check(&self) -> Result<Uuid, &'static str> {
        let id = match self {
            Act::Decision(decision) if !DECISIONS.contains(&decision.decision.as_str()) => {
                return Err("the decision is not one of approve, reject, issue and claw_back");
            }
            Act::Decision(decision) => &decision.reward_id,
            Act::Due(timer) if timer.purpose != APPROVE => return Err("the timer's purpose is not known"),
            Act::Due(timer) if !UnixMs(timer.due_at_ms).is_storable() => {
                return Err("a time is before the year 1970 or past the year 2299");
            }
            Act::Due(timer) => &timer.about_id,
        };
        Uuid::from_slice(id).map_err(|_| "the reward's id is not 16 bytes long")
    }
}

/// What every event of rewards says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub id: EventId,
    pub program: String,
    pub source: String,
    pub live: bool,
    pub occurred_at: UnixMs,
    pub received_at: UnixMs,
    pub registry_version: u64,
    pub digest: u64,
    pub offset: u64,
}

/// What the new records of a block bring to rewards.
#[derive(Default)]
pub(crate) struct Incoming {
    terms: Vec<RewardTermsRow>,
    read: HashMap<(String, EventId), Terms>,
    records: Records,
    acts: Vec<(Head, Act, Uuid)>,
}

/// Id and time of receipt of every new record, by its offset.
type Records = HashMap<u64, (EventId, UnixMs)>;

impl Incoming {
    /// Any new event of a person: it may cause what another one waited for. Qualifications bring terms.
    pub fn record(&mut self, range: &BlockRange, head: Head, terms: Option<RewardTerms>) {
        self.records.insert(head.offset, (head.id, head.received_at));
        let Some(terms) = terms.filter(|terms| head.live && !terms.rules.is_empty()) else { return };
        self.terms.push(RewardTermsRow {
            program: Lc(head.program.clone()),
            qualification_id: head.id,
            terms: event::encode(&terms),
            registry_version: head.registry_version,
            received_at: head.received_at,
            incarnation: range.incarnation,
            partition: range.partition.number,
            offset: head.offset,
        });
        self.read.insert((head.program, head.id), (terms, head.registry_version));
    }

    /// A decision or timer about this reward.
    pub fn act(&mut self, head: Head, act: Act, reward: Uuid) {
        self.records.insert(head.offset, (head.id, head.received_at));
        self.acts.push((head, act, reward));
    }

    /// Asks the store what the block needs to know, each question once, and looks at the clicks behind its
    /// leads; `made` are the rows of the block's other tables.
    pub async fn look<S: Store>(
        self,
        range: &BlockRange,
        made: &[Rows],
        spent: &mut Spent,
        store: &S,
    ) -> Result<UnbookedRewards, StoreError> {
        let Incoming { terms, mut read, records, acts } = self;
        let changes = changes(made);
        let book = load_book(range, &changes, &acts, &mut read, spent, store).await?;
        let mut about: Vec<About> = changes.iter().filter_map(About::change).collect();
        about.extend(acts.iter().filter_map(|(head, act, reward)| match act {
            Act::Due(_) if head.live => Some(About::due(book.line(&head.program, *reward)?, head.offset)),
            _ => None,
        }));
        about.retain(|about| read.contains_key(&(about.program.clone(), about.qualification)));
        let mut evidence = Evidence::load(&range.horizon(), &about, made, store).await?;
        let looks = evidence.look(range, &about, made, &records, store).await?;
        Ok(UnbookedRewards { terms, records, acts, book: book.with_terms(read), about, evidence, looks })
    }
}

/// A block's rewards, ready to be booked once what was found of clicks stands.
pub(crate) struct UnbookedRewards {
    terms: Vec<RewardTermsRow>,
    records: Records,
    acts: Vec<(Head, Act, Uuid)>,
    book: Book,
    about: Vec<About>,
    evidence: Evidence,
    looks: Vec<ClickEvidenceRow>,
}

impl UnbookedRewards {
    /// What was found of clicks just now, to be stored before anything is derived from it.
    pub fn take_looks(&mut self) -> Rows {
        Rows::ClickEvidence(std::mem::take(&mut self.looks))
    }

    /// The rows of `reward_terms`, `rewards` and `reward_events`, in this order. What was found of clicks is
    /// read back, and returned beside them: another owner may have stored other rows under this block's token.
    pub async fn into_rows<S: Store>(
        mut self,
        range: &BlockRange,
        made: &[Rows],
        spent: &mut Spent,
        store: &S,
    ) -> Result<(Vec<Rows>, Vec<ClickEvidenceRow>), StoreError> {
        let stands = self.evidence.read_back(range, store).await?;
        let policy = |about: &About| self.book.policy(&about.program, about.qualification);
        let policies = self.about.iter().filter_map(|about| Some((about, policy(about)?)));
        let policies: Vec<_> = policies.collect();
        self.evidence.load_shared(&range.horizon(), policies.iter().copied(), store).await?;
        self.evidence.load_referrers(&range.horizon(), policies.into_iter(), store).await?;
        let UnbookedRewards { terms, records, acts, mut book, evidence, .. } = self;
        let mut events = Vec::with_capacity(acts.len());
        let mut changes = changes(made).into_iter().peekable();
        let mut settle = |book: &mut Book, before: u64| {
            while let Some(first) = changes.next_if(|change| change.offset < before) {
                let offset = first.offset;
                let mut of_record = vec![first.standing(&evidence, book)];
                while let Some(change) = changes.next_if(|change| change.offset == offset) {
                    of_record.push(change.standing(&evidence, book));
                }
                let (event, received_at) = records[&offset];
                book.qualifications(of_record, Cause { range, offset, event, received_at });
            }
        };
        for (head, act, reward) in acts {
            settle(&mut book, head.offset);
            events.push(book_act(range, &mut book, &evidence, head, act, reward));
        }
        settle(&mut book, u64::MAX);
        let lines = book.into_lines();
        spent.apply(&lines);
        Ok((vec![Rows::RewardTerms(terms), Rows::Rewards(lines), Rows::RewardEvents(events)], stands))
    }
}

/// What one record makes of one qualification.
struct Change<'a> {
    offset: u64,
    program: &'a str,
    id: EventId,
    /// Every row of it, the one that it stands as last, unless it was taken back.
    rows: Vec<&'a QualificationRow>,
}

impl<'a> Change<'a> {
    /// The row that earns: the one that stands, or of what was refunded before it came the one that would.
    fn earning(&self) -> Option<&'a QualificationRow> {
        self.rows.iter().rev().copied().find(|row| row.sign == 1)
    }

    fn standing(&self, evidence: &Evidence, book: &Book) -> QualificationChange<'a> {
        let signals = About::change(self).map(|about| signals(&about, evidence, book)).unwrap_or_default();
        let now = self.rows.last().copied().filter(|row| row.sign >= 0);
        QualificationChange { program: self.program, id: self.id, now, earning: self.earning(), signals }
    }
}

/// What is known about the person behind a qualification, if anything is asked.
fn signals(about: &About, evidence: &Evidence, book: &Book) -> Signals {
    let policy = book.policy(&about.program, about.qualification);
    policy.map(|policy| evidence.signals(about, &policy)).unwrap_or_default()
}

/// The changes of live qualifications, in the order of their records.
fn changes(made: &[Rows]) -> Vec<Change<'_>> {
    let rows = made.iter().flat_map(|rows| match rows {
        Rows::Qualifications(rows) => rows.as_slice(),
        _ => &[],
    });
    let mut changes: BTreeMap<(u64, EventId), Change<'_>> = BTreeMap::new();
    for row in rows.filter(|row| row.live) {
        let empty = Change { offset: row.offset, program: &row.program.0, id: row.id, rows: Vec::new() };
        changes.entry((row.offset, row.id)).or_insert(empty).rows.push(row);
    }
    changes.into_values().collect()
}

/// What stands of the rewards that the block may touch; adds the terms that it does not bring itself.
async fn load_book<S: Store>(
    range: &BlockRange,
    changes: &[Change<'_>],
    acts: &[(Head, Act, Uuid)],
    terms: &mut HashMap<(String, EventId), Terms>,
    spent: &mut Spent,
    store: &S,
) -> Result<Book, StoreError> {
    let before = range.horizon();
    let (mut leads, mut referrers, mut unknown) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for change in changes {
        let led = change.rows.iter().filter(|row| !row.lead_id.is_nil());
        leads.extend(led.map(|row| (change.program.to_owned(), EventId(row.lead_id))));
        let Some(about) = About::change(change) else { continue };
        referrers.insert((about.program.clone(), about.referrer));
        unknown.insert((about.program, about.qualification));
    }
    let rewards: BTreeSet<_> = acts.iter().map(|(head, _, id)| (head.program.clone(), *id)).collect();
    let (leads, rewards) = (leads.into_iter().collect::<Vec<_>>(), rewards.into_iter().collect::<Vec<_>>());
    let mut lines = Vec::new();
    if !leads.is_empty() || !rewards.is_empty() {
        lines = store.rewards(&before, &leads, &rewards).await?;
    }
    let timed = acts.iter().filter(|(head, act, _)| head.live && matches!(act, Act::Due(_)));
    let timed: BTreeSet<_> = timed.map(|(head, _, id)| (head.program.as_str(), *id)).collect();
    let due = lines.iter().filter(|line| timed.contains(&(line.program.0.as_str(), line.reward_id)));
    unknown.extend(due.map(|line| (line.program.0.clone(), line.qualification_id)));
    unknown.retain(|name| !terms.contains_key(name));
    if !unknown.is_empty() {
        let unknown: Vec<_> = unknown.into_iter().collect();
        for row in store.reward_terms(&before, &unknown).await? {
            // What was stored was checked before.
            let Ok(stored) = event::decode::<RewardTerms>(&row.terms) else { continue };
            terms.insert((row.program.0, row.qualification_id), (stored, row.registry_version));
        }
    }
    let (mut usage, mut budgeted) = (Vec::new(), BTreeSet::new());
    if !referrers.is_empty() && !terms.is_empty() {
        let referrers: Vec<_> = referrers.into_iter().collect();
        usage = store.reward_usage(&before, &referrers).await?;
        let limited =
            terms.iter().filter(|(_, (terms, _))| terms.rules.iter().any(|rule| rule.budget_minor > 0));
        budgeted = limited.map(|((program, _), _)| program.clone()).collect();
    }
    let unread: Vec<String> = budgeted.iter().filter(|program| spent.lacks(program)).cloned().collect();
    if !unread.is_empty() {
        let sums = store.reward_sums(&before, &unread).await?;
        spent.know(unread, sums);
    }
    Ok(Book::new(lines, Usage::new(usage, spent, &budgeted)))
}

fn book_act(
    range: &BlockRange,
    book: &mut Book,
    evidence: &Evidence,
    head: Head,
    act: Act,
    reward_id: Uuid,
) -> RewardEventRow {
    let cause = Cause { range, offset: head.offset, event: head.id, received_at: head.received_at };
    let (kind, decision, outcome) = match act {
        Act::Due(timer) if head.live => {
            let about = book.line(&head.program, reward_id).map(|line| About::due(line, head.offset));
            let signals = about.map(|about| signals(&about, evidence, book)).unwrap_or_default();
            let outcome = book.due(&head.program, reward_id, UnixMs(timer.due_at_ms), &signals, cause);
            ("timer", RewardDecision::default(), outcome)
        }
        Act::Decision(decision) if head.live => {
            let outcome = book.decide(&head.program, reward_id, &decision, cause);
            ("decision", decision, outcome)
        }
        Act::Due(_) => ("timer", RewardDecision::default(), "test"),
        Act::Decision(decision) => ("decision", decision, "test"),
    };
    RewardEventRow {
        program: Lc(head.program),
        id: head.id,
        kind: Lc(kind.into()),
        reward_id,
        decision: Lc(decision.decision),
        outcome: Lc(outcome.into()),
        decided_by: decision.decided_by,
        reason: decision.reason,
        reference: decision.reference,
        paid_minor: decision.paid_minor,
        occurred_at: head.occurred_at,
        received_at: head.received_at,
        source: Lc(head.source),
        live: head.live,
        digest: head.digest,
        revision: 0,
        incarnation: range.incarnation,
        partition: range.partition.number,
        offset: head.offset,
    }
}
