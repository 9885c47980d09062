//! What a scenario did, and what came of it.

use super::blocks::{BlockName, OpenBlock};
use crate::oracle::{
    Totals,
    difference::Differences,
    report::{difference_list, people_words},
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// What was asked of the edge and the API, and how that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Clicks redirected with a token: each must be stored.
    pub redirected: u64,
    /// Clicks with another answer.
    pub others: u64,
    /// Clicks that were under way when whoever should answer died.
    pub in_flight: u64,
    /// Of these, stored.
    pub in_flight_stored: u64,
    /// Clicks that found nobody listening.
    pub refused: u64,
    /// Sendings of events that were accepted.
    pub events: u64,
    /// Sendings without a final answer.
    pub events_in_flight: u64,
    /// Sendings of events that are made to be refused (an unknown program, say) and were told to come again:
    /// an API that is cut off from the registry's topic cannot know what is new there.
    pub events_put_off: u64,
    /// Sendings that found nobody listening.
    pub events_refused: u64,
}

/// What the comparison found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether all that was answered was stored in time.
    pub is_complete: bool,
    /// From the end of the load until all was stored.
    pub stored_after: Duration,
    /// What was asked.
    pub requests: Requests,
    /// How much was compared.
    pub totals: Totals,
    /// What differs.
    pub differences: Differences,
}

/// One SIGKILL.
#[derive(Clone, Debug)]
pub struct Kill {
    /// The process that was killed.
    pub name: String,
    /// Which moment was chosen.
    pub aim: &'static str,
    /// What was open when it died, by its log.
    pub open: Vec<OpenBlock>,
}

/// Where in a block a kill hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockStage {
    /// The intent was committed, no table inserted.
    BeforeTables,
    /// Some tables were inserted, not all.
    BetweenTables,
    /// All tables were inserted, and it was replayed: the commit had not been done.
    BeforeCommit,
    /// Not replayed by this group: the commit had arrived, but its line had not been written.
    AtCommit,
}

impl BlockStage {
    fn words(self) -> &'static str {
        match self {
            BlockStage::BeforeTables => "between intent and first insert",
            BlockStage::BetweenTables => "between two tables",
            BlockStage::BeforeCommit => "between last table and commit",
            BlockStage::AtCommit => "committed, but not yet said so",
        }
    }
}

/// What happened while the broker was away.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// How long.
    pub lasted: Duration,
    /// Clicks that were answered meanwhile.
    pub answered: u64,
    /// Clicks that were not.
    pub unanswered: u64,
    /// Events that were accepted meanwhile.
    pub events: u64,
}

/// What a scenario did, and what came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub scenario: &'static str,
    /// The kills.
    pub kills: Vec<Kill>,
    /// The outage.
    pub outage: Option<Outage>,
    /// Sum of `whence_blocks_replayed_total`: of each life, read shortly before its end.
    pub replayed_by_metric: u64,
    /// Lines that tell of a replay.
    pub replayed_by_log: u64,
    /// Tables of the blocks that were replayed to their end.
    pub tables_of_replayed: BTreeMap<BlockName, usize>,
    /// The comparison.
    pub verdict: Verdict,
    /// What the scenario promises beyond the comparison, and did not keep.
    pub broken: Vec<String>,
}

impl Outcome {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.verdict.is_complete && self.verdict.differences.total() == 0 && self.broken.is_empty()
    }

    /// Where the kills hit: a kill hits every block that was open.
    #[must_use]
    pub fn places(&self) -> BTreeMap<BlockStage, u64> {
        let mut places = BTreeMap::new();
        for open in self.kills.iter().flat_map(|kill| &kill.open) {
            *places.entry(self.place(open)).or_default() += 1;
        }
        places
    }

    /// A block's replay tells how many tables it has.
    fn place(&self, open: &OpenBlock) -> BlockStage {
        match (open.tables.len(), self.tables_of_replayed.get(&open.name)) {
            (0, _) => BlockStage::BeforeTables,
            (done, Some(all)) if done < *all => BlockStage::BetweenTables,
            (_, Some(_)) => BlockStage::BeforeCommit,
            (_, None) => BlockStage::AtCommit,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, kill) in (1..).zip(&self.kills) {
            let open: Vec<_> = kill.open.iter().map(|open| self.words(open)).collect();
            let open = if open.is_empty() { "no block open".to_owned() } else { open.join("; ") };
            writeln!(f, "kill {number}: {}, {}: {open}", kill.name, kill.aim)?;
        }
        if !self.kills.is_empty() {
            let idle = self.kills.iter().filter(|kill| kill.open.is_empty()).count();
            writeln!(f, "{} kills, {idle} of them with no block open; blocks hit:", self.kills.len())?;
            for (place, count) in self.places() {
                writeln!(f, "  {:<34}{count:>6}", place.words())?;
            }
        }
        writeln!(
            f,
            "blocks replayed: {} by whence_blocks_replayed_total, {} by the logs",
            self.replayed_by_metric, self.replayed_by_log
        )?;
        if let Some(outage) = &self.outage {
            let seconds = outage.lasted.as_secs_f64();
            writeln!(
                f,
                "broker away for {seconds:.1} s: {} clicks answered meanwhile ({:.0}/s), {} unanswered, {} events accepted",
                outage.answered,
                outage.answered as f64 / seconds.max(f64::MIN_POSITIVE),
                outage.unanswered,
                outage.events
            )?;
        }
        write!(f, "{}", self.verdict)?;
        for broken in &self.broken {
            writeln!(f, "not as promised: {broken}")?;
        }
        let word = if self.is_right() { "right" } else { "WRONG" };
        writeln!(f, "{}: {word}, {} differences", self.scenario, self.verdict.differences.total())
    }
}

impl Outcome {
    fn words(&self, open: &OpenBlock) -> String {
        let again = if open.is_replay { " (a replay itself)" } else { "" };
        let tables = if open.tables.is_empty() { "no table".to_owned() } else { open.tables.join(", ") };
        let all = self.tables_of_replayed.get(&open.name);
        let all = all.map_or("not replayed".to_owned(), |all| format!("of {all}"));
        format!("{}{again} after {tables} ({all})", open.name)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requests { redirected, others, in_flight, in_flight_stored, refused, .. } = self.requests;
        let Requests { events, events_in_flight, events_refused, events_put_off, .. } = self.requests;
        writeln!(
            f,
            "clicks: {redirected} redirected, {others} answered otherwise, {in_flight} in flight ({in_flight_stored} of them stored), {refused} refused"
        )?;
        writeln!(
            f,
            "events: {events} accepted, {events_in_flight} in flight, {events_refused} refused; {events_put_off} times bad ones were put off with a 503"
        )?;
        let totals = &self.totals;
        writeln!(
            f,
            "stored {:.1} s after the load: {} offsets, {} records shipped twice",
            self.stored_after.as_secs_f64(),
            totals.offsets,
            totals.reshipped
        )?;
        write!(f, "{}", people_words(totals))?;
        if !self.is_complete {
            writeln!(f, "not all that was answered is stored")?;
        }
        write!(f, "{}", difference_list(&self.differences))
    }
}
