//! What a run found, for people and for programs.

use super::{
    compare::{Findings, Totals},
    difference::Differences,
    names::{Name, Names},
    stored::{Counts, FunnelRow, StoredFacts},
};
use crate::drive::measure::{Measured, Percentiles};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

/// Everything worth keeping of a run, as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Whether there is no difference.
    pub is_exact: bool,
    /// Whether all that was answered was stored within the wait limits.
    pub is_complete: bool,
    /// What was compared.
    pub totals: Totals,
    /// What was found.
    pub differences: Differences,
    /// What was measured, if the load was part of the run.
    pub load: Option<LoadSummary>,
    /// Seconds from the end of the load until everything was stored.
    pub stored_after_s: f64,
    /// Seconds that reading and comparing took.
    pub compared_in_s: f64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LoadSummary {
    /// Clicks a second, reached.
    pub clicks_per_second: f64,
    /// Clicks without an answer.
    pub unanswered: u64,
    /// Clicks that the generator itself started late.
    pub late_starts: u64,
    /// Clicks that waited because too many were open.
    pub held_back: u64,
    /// Stories given up because too much was due.
    pub stories_dropped: u64,
    /// Latency of all clicks from the moment they were due.
    pub clicks: Percentiles,
    /// Of those on connections that were open already.
    pub kept: Percentiles,
    /// Of those on connections of their own.
    pub fresh: Percentiles,
    /// Latency of requests to the events API.
    pub events: Percentiles,
}

impl From<&Measured> for LoadSummary {
    fn from(measured: &Measured) -> LoadSummary {
        LoadSummary {
            clicks_per_second: measured.clicks_per_second(),
            unanswered: measured.unanswered,
            late_starts: measured.late_starts,
            held_back: measured.held_back,
            stories_dropped: measured.stories_dropped,
            clicks: measured.all_clicks(),
            kept: measured.kept.percentiles(),
            fresh: measured.fresh.percentiles(),
            events: measured.events.percentiles(),
        }
    }
}

impl fmt::Display for LoadSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:.0} clicks/s, {} unanswered", self.clicks_per_second, self.unanswered)?;
        if self.late_starts + self.held_back + self.stories_dropped > 0 {
            writeln!(
                f,
                "the generator started {} clicks late, {} waited because too many were open, {} stories dropped",
                self.late_starts, self.held_back, self.stories_dropped
            )?;
        }
        writeln!(
            f,
            "{:<24}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "latency, ms", "count", "p50", "p90", "p99", "p99.9", "max"
        )?;
        let rows = [
            ("clicks", self.clicks),
            ("  kept connections", self.kept),
            ("  fresh connections", self.fresh),
            ("events API", self.events),
        ];
        for (name, p) in rows {
            let [p50, p90, p99, p999, max] = [p.p50_us, p.p90_us, p.p99_us, p.p999_us, p.max_us]
                .map(|us| format!("{:.2}", us as f64 / 1000.0));
            writeln!(f, "{name:<24}{:>10}{p50:>10}{p90:>10}{p99:>10}{p999:>10}{max:>10}", p.count)?;
        }
        Ok(())
    }
}

const COLUMNS: [&str; 6] = ["clicks", "other clicks", "leads", "by click", "by code", "qualified"];

/// The funnel of ClickHouse beside what the ledger knows: the `rows_max` busiest rows and the sum of all.
#[must_use]
pub fn funnel_table(findings: &Findings, stored: &StoredFacts, rows_max: usize) -> String {
    let names = &findings.names;
    let known = |key: &Key| findings.funnel.get(key).copied();
    let stored: BTreeMap<Key, FunnelRow> = stored.funnel.iter().map(|row| (key_of(row), *row)).collect();
    let mut keys: Vec<Key> = stored.keys().chain(findings.funnel.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.sort_by_key(|key| {
        std::cmp::Reverse(stored.get(key).or(findings.funnel.get(key)).map(|row| row.counts.clicks))
    });

    let mut table = String::new();
    line(&mut table, ["program", "referrer", "channel"], COLUMNS.map(str::to_owned));
    for key in keys.iter().take(rows_max) {
        line(&mut table, words(names, key), cells(known(key), stored.get(key).copied()));
    }
    if keys.len() > rows_max {
        writeln!(table, "… and {} more", keys.len() - rows_max).expect("a String takes every write");
    }
    let sum_of = |rows: &mut dyn Iterator<Item = FunnelRow>| rows.reduce(sum);
    let sums = cells(sum_of(&mut findings.funnel.values().copied()), sum_of(&mut stored.values().copied()));
    line(&mut table, ["all", "", ""], sums);
    table
}

type Key = (Name, Name, Name);

fn key_of(row: &FunnelRow) -> Key {
    (row.program, row.referrer, row.channel)
}

fn words<'n>(names: &'n Names, (program, referrer, channel): &Key) -> [&'n str; 3] {
    [*program, *referrer, *channel].map(|name| match names.text(name) {
        "" => "-",
        text => text,
    })
}

fn sum(mut a: FunnelRow, b: FunnelRow) -> FunnelRow {
    a.counts += b.counts;
    a
}

/// One number where both agree, else `stored (known …)`.
fn cells(known: Option<FunnelRow>, stored: Option<FunnelRow>) -> [String; COLUMNS.len()] {
    let counts = |row: Option<FunnelRow>| {
        let Counts { clicks, other_clicks, leads, leads_by_click, leads_by_code, qualified, .. } =
            row.map(|row| row.counts).unwrap_or_default();
        [clicks, other_clicks, leads, leads_by_click, leads_by_code, qualified]
    };
    let (known, stored) = (counts(known), counts(stored));
    std::array::from_fn(|at| match (known[at], stored[at]) {
        (known, stored) if known == stored => stored.to_string(),
        (known, stored) => format!("{stored} (known {known})"),
    })
}

fn line(table: &mut String, [program, referrer, channel]: [&str; 3], counts: [String; COLUMNS.len()]) {
    write!(table, "{program:<26} {referrer:<16} {channel:<12}").expect("a String takes every write");
    for count in counts {
        write!(table, " {count:>14}").expect("a String takes every write");
    }
    table.push('\n');
}

/// What of persons and their events was compared, in words.
#[must_use]
pub fn people_words(totals: &Totals) -> String {
    format!(
        "persons: {} became a lead, {} of them qualified; events: {} leads, {} qualifications ({} without a lead), \
         {} refunds, {} reinstatements, {} identities, {} participants, {} shares, {} decisions, {} duplicates\n\
         rewards: {} open, {} of them smaller after a refund, {} approved\n",
        totals.persons,
        totals.persons_qualified,
        totals.leads,
        totals.qualifications,
        totals.unmatched,
        totals.refunds,
        totals.reinstatements,
        totals.identifies,
        totals.participants,
        totals.shares,
        totals.decisions,
        totals.duplicates,
        totals.rewards,
        totals.rewards_reduced,
        totals.rewards_approved
    )
}

/// The differences in words, the first of each kind in full.
#[must_use]
pub fn difference_list(differences: &Differences) -> String {
    let mut list = String::new();
    for (kind, count) in &differences.counts {
        writeln!(list, "{count} × {kind:?}").expect("a String takes every write");
        for difference in differences.first.iter().filter(|difference| difference.kind == *kind) {
            writeln!(
                list,
                "  {}\n    known:  {}\n    stored: {}",
                difference.about, difference.known, difference.stored
            )
            .expect("a String takes every write");
        }
    }
    list
}
