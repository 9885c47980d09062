//! The tables themselves.

use crate::{
    evidence::without_personal,
    rewards,
    rollup::{Group, Sums, groups},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use whence_aggregator::{
    position::{Horizon, InsertToken},
    store::{Forgotten, Linked, Rows},
};
use whence_schemas::{
    ids::{EventId, Incarnation},
    rows::{
        BlockRow, ClickEvidenceRow, ClickRow, DisqualificationRow, ErasureRow, IdentifyRow, LeadRow,
        ParticipantRow, QualificationRow, ReinstatementRow, RejectRow, RewardEventRow, RewardRow,
        RewardTermsRow, ShareRow, SubjectKeyRow,
    },
    subject::SubjectKey,
    time::{HOUR_MS, UnixMs},
};

/// Tokens that a table's partition remembers.
const WINDOW: usize = 200;
/// A "month" of the twin: short, so that blocks often touch two.
pub const MONTH_MS: i64 = 40 * HOUR_MS;

/// Incarnation, partition, offset.
pub type RecordPosition = (Incarnation, u32, u64);

#[derive(Clone, Default)]
pub struct Tables {
    pub clicks: Vec<ClickRow>,
    pub leads: Vec<LeadRow>,
    pub qualifications: Vec<QualificationRow>,
    pub disqualifications: Vec<DisqualificationRow>,
    pub reinstatements: Vec<ReinstatementRow>,
    pub identifies: Vec<IdentifyRow>,
    pub participants: Vec<ParticipantRow>,
    pub shares: Vec<ShareRow>,
    pub erasures: Vec<ErasureRow>,
    pub subject_keys: Vec<SubjectKeyRow>,
    pub click_evidence: Vec<ClickEvidenceRow>,
    pub reward_terms: Vec<RewardTermsRow>,
    pub rewards: Vec<RewardRow>,
    pub reward_events: Vec<RewardEventRow>,
    pub rewards_daily: BTreeMap<rewards::Group, (i64, i64)>,
    pub rejects: Vec<RejectRow>,
    pub blocks: Vec<BlockRow>,
    pub funnel_quarter_hourly: BTreeMap<Group, Sums>,
    /// Erasures' changes that were taken and not done, each with how many rows its tables had then: it changes no other.
    blanks: Vec<(Forgotten, [usize; 6])>,
    tokens: BTreeMap<(&'static str, i64), VecDeque<InsertToken>>,
    /// Tables and tokens of which a rollup's part is where nobody gets it.
    pub(super) alone: HashSet<(&'static str, InsertToken)>,
    sent: HashMap<InsertToken, Vec<Rows>>,
    pub deduplicated_inserts: u64,
    /// Tables of which two tries of a block sent different rows.
    pub tries_differ: Vec<&'static str>,
    /// Blocks of which two tries found different things of clicks.
    pub looks_differ: u64,
}

impl Tables {
    /// What can be looked up in them: without what was sent, which only grows.
    pub fn as_they_stand(&mut self) -> Tables {
        let sent = std::mem::take(&mut self.sent);
        let stand = self.clone();
        self.sent = sent;
        stand
    }

    /// Whether the token is new to this table's month; remembers it.
    pub(super) fn is_new(&mut self, table: &'static str, month: i64, token: &InsertToken) -> bool {
        let seen = self.tokens.entry((table, month)).or_default();
        if seen.contains(token) {
            self.deduplicated_inserts += 1;
            return false;
        }
        seen.push_back(token.clone());
        if seen.len() > WINDOW {
            seen.pop_front();
        }
        true
    }

    pub(super) fn forget(&mut self, table: &'static str, month: i64, token: &InsertToken) {
        self.tokens.entry((table, month)).or_default().retain(|seen| seen != token);
    }

    /// Remembers what was sent under a token: every try must send the same, except for what it found of clicks.
    pub(super) fn compare(&mut self, token: &InsertToken, rows: &Rows) {
        let rows = &without_personal(rows);
        let sent = self.sent.entry(token.clone()).or_default();
        match sent.iter().find(|sent| sent.table() == rows.table()) {
            None => sent.push(rows.clone()),
            Some(first) if first == rows => {}
            Some(_) if matches!(rows, Rows::ClickEvidence(_)) => self.looks_differ += 1,
            Some(_) => self.tries_differ.push(rows.table()),
        }
    }

    pub(super) fn append(&mut self, rows: &Rows, month: i64) {
        fn of<T: Clone>(rows: &[T], month: i64, at: fn(&T) -> UnixMs) -> impl Iterator<Item = T> {
            rows.iter().filter(move |row| month_of(at(row)) == month).cloned()
        }
        match rows {
            Rows::Clicks(rows) => self.clicks.extend(of(rows, month, |row| row.ts)),
            Rows::Leads(rows) => self.leads.extend(of(rows, month, |row| row.received_at)),
            Rows::Qualifications(rows) => self.qualifications.extend(of(rows, month, |row| row.received_at)),
            Rows::Disqualifications(rows) => {
                self.disqualifications.extend(of(rows, month, |row| row.received_at))
            }
            Rows::Reinstatements(rows) => self.reinstatements.extend(of(rows, month, |row| row.received_at)),
            Rows::Identifies(rows) => self.identifies.extend(of(rows, month, |row| row.received_at)),
            Rows::Participants(rows) => self.participants.extend(of(rows, month, |row| row.received_at)),
            Rows::Shares(rows) => self.shares.extend(of(rows, month, |row| row.received_at)),
            Rows::Erasures(rows) => self.erasures.extend(of(rows, month, |row| row.received_at)),
            Rows::SubjectKeys(rows) => self.subject_keys.extend(of(rows, month, |row| row.received_at)),
            Rows::ClickEvidence(rows) => self.click_evidence.extend(of(rows, month, |row| row.received_at)),
            Rows::RewardTerms(rows) => self.reward_terms.extend(of(rows, month, |row| row.received_at)),
            Rows::Rewards(rows) => self.rewards.extend(of(rows, month, |row| row.received_at)),
            Rows::RewardEvents(rows) => self.reward_events.extend(of(rows, month, |row| row.received_at)),
            Rows::Rejects(rows) => self.rejects.extend(of(rows, month, |row| row.received_at)),
            // Has no month of the simulation's own.
            Rows::Blocks(rows) => self.blocks.extend(rows.iter().cloned()),
        }
    }

    /// The ids of all events that are a fact at such a place.
    pub fn event_ids(&self, is_included: impl Fn(RecordPosition) -> bool) -> Vec<EventId> {
        self.digests(is_included).into_iter().map(|(id, _)| id).collect()
    }

    /// The same with what they are told apart by.
    pub fn digests(&self, is_included: impl Fn(RecordPosition) -> bool) -> Vec<(EventId, u64)> {
        let mut digests = Vec::new();
        for_each_fact!(self, |row| {
            if is_included((row.incarnation, row.partition, row.offset)) {
                digests.push((row.id, row.digest));
            }
        });
        digests
    }

    /// The places of all events that are a fact.
    pub fn fact_places(&self) -> Vec<RecordPosition> {
        let mut places = Vec::new();
        for_each_fact!(self, |row| places.push((row.incarnation, row.partition, row.offset)));
        places
    }

    pub(super) fn blank_later(&mut self, forgotten: &Forgotten) {
        let rows = [
            self.leads.len(),
            self.qualifications.len(),
            self.disqualifications.len(),
            self.reinstatements.len(),
            self.identifies.len(),
            self.participants.len(),
        ];
        self.blanks.push((forgotten.clone(), rows));
    }

    /// Does what erasures have asked for.
    pub fn blank(&mut self) {
        for (forgotten, rows) in std::mem::take(&mut self.blanks) {
            self.erase(&forgotten, rows);
        }
    }

    fn erase(&mut self, forgotten: &Forgotten, rows: [usize; 6]) {
        let erased: HashSet<EventId> = forgotten.events.iter().map(|(_, id)| *id).collect();
        macro_rules! blank {
            ($($at:literal $table:ident: $($column:ident),*;)*) => {$(
                for row in self.$table[..rows[$at]].iter_mut().filter(|row| erased.contains(&row.id)) {
                    $(row.$column.clear();)*
                }
            )*};
        }
        macro_rules! blank_by_key {
            ($($at:literal $table:ident;)*) => {$(
                for row in &mut self.$table[..rows[$at]] {
                    let names = |key| forgotten.keys.contains(&(row.program.0.clone(), key));
                    if row.keys.iter().any(|key| names(*key)) {
                        row.lead.clear();
                        row.keys.clear();
                    }
                }
            )*};
        }
        blank_by_key! {
            2 disqualifications;
            3 reinstatements;
        }
        blank! {
            0 leads: lead, keys;
            1 qualifications: lead, keys;
            2 disqualifications: lead, keys;
            3 reinstatements: lead, keys;
            4 identifies: lead, keys;
            5 participants: keys;
        }
    }

    pub(super) fn is_blank(&self) -> bool {
        self.blanks.is_empty()
    }

    /// Erasures before the horizon whose keys lead to events.
    pub(super) fn linked(&self, before: &Horizon) -> Vec<Linked> {
        let linked = self.erasures.iter().filter(|row| row.linked);
        linked
            .filter(|row| row.partition == before.partition.number)
            .filter(|row| before.includes(row.incarnation, row.partition, row.offset))
            .map(|row| Linked {
                program: row.program.0.clone(),
                erasure: row.id,
                received_at: row.received_at,
            })
            .collect()
    }

    /// What links the events of whom the erasure was about, and the keys that it suppressed.
    pub(super) fn links(&self, erasure: &EventId) -> (Vec<SubjectKeyRow>, BTreeSet<SubjectKey>) {
        // Nobody of the simulation is told of in both modes.
        let suppressed = self.subject_keys.iter().filter(|row| row.event_id == *erasure);
        let keys: BTreeSet<SubjectKey> = suppressed.map(|row| row.key).collect();
        let links = self.subject_keys.iter().filter(|row| row.keys.iter().any(|key| keys.contains(key)));
        (links.cloned().collect(), keys)
    }

    pub(super) fn drop_links(&mut self, keys: &BTreeSet<SubjectKey>) {
        let is_link =
            |row: &SubjectKeyRow| row.kind.0 != "erased" && row.keys.iter().any(|key| keys.contains(key));
        self.subject_keys.retain(|row| !is_link(row));
    }

    pub(super) fn unlinked(&mut self, erasure: &EventId) {
        self.erasures.iter_mut().filter(|row| row.id == *erasure).for_each(|row| row.linked = false);
    }

    pub(super) fn roll_up(&mut self, rows: &Rows) {
        for (group, sums) in groups(rows) {
            let total = self.funnel_quarter_hourly.entry(group).or_default();
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }
}

fn month_of(at: UnixMs) -> i64 {
    at.0.div_euclid(MONTH_MS)
}

pub(super) fn months(rows: &Rows) -> Vec<i64> {
    let mut months: Vec<i64> = match rows {
        Rows::Clicks(rows) => rows.iter().map(|row| month_of(row.ts)).collect(),
        Rows::Leads(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Qualifications(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Disqualifications(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Reinstatements(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Identifies(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Participants(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Shares(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Erasures(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::SubjectKeys(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::ClickEvidence(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::RewardTerms(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Rewards(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::RewardEvents(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Rejects(rows) => rows.iter().map(|row| month_of(row.received_at)).collect(),
        Rows::Blocks(_) => vec![0],
    };
    months.sort_unstable();
    months.dedup();
    months
}
