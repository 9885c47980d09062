//! The comparison: a pure function of the ledger and the stored facts.
//!
//! Facts are compared id by id, both ways; what the ledger says is then added up and compared with the
//! raw rows, the rollups and the views. It knows no ClickHouse, so every finding is tested with tables.

mod clicks;
mod conversions;
mod intervals;
mod others;
mod payments;
mod people;
mod persons;
mod rejects;
mod rewards;
mod sums;

use super::{
    cells::{CellKey, Cells, QUARTER_MS},
    difference::{Differences, Kind},
    names::{Name, Names},
    stored::{FunnelRow, StoredFacts},
};
use crate::ledger::{Id, Ledger};
use std::collections::{BTreeMap, HashSet};

/// How strict a comparison is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strictness {
    /// Requests may have gone unanswered: what they asked for may be stored or not, and a shipper that
    /// was killed may have sent records twice. Everything answered must still be exact.
    pub is_lossy: bool,
    /// Differences of each kind to keep whole.
    pub kept_max: u64,
}

/// What the comparison found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Everything that is not as it should be.
    pub differences: Differences,
    /// The funnel that the ledger says, by program, referrer and channel.
    pub funnel: BTreeMap<(Name, Name, Name), FunnelRow>,
    /// The texts of `funnel` and of the stored facts.
    pub names: Names,
    /// What was compared.
    pub totals: Totals,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Clicks that the edge answered with their id.
    pub clicks_answered: u64,
    /// Stored clicks whose request got no answer, or an answer without an id.
    pub clicks_stored_without_id: u64,
    /// Requests without an answer whose click is not stored.
    pub clicks_unanswered_and_absent: u64,
    /// Leads that are accepted, or unanswered and stored.
    pub leads: u64,
    /// Qualifications that are accepted, or unanswered and stored.
    pub qualifications: u64,
    /// Qualifications among them that have no lead.
    pub unmatched: u64,
    /// Refunds and what else takes qualifications back.
    pub refunds: u64,
    /// What gives again what was taken.
    pub reinstatements: u64,
    /// Events that say which names are one person's.
    pub identifies: u64,
    /// Referrers who joined.
    pub participants: u64,
    /// Shared links.
    pub shares: u64,
    /// Decisions about rewards.
    pub decisions: u64,
    /// Persons who became a lead.
    pub persons: u64,
    /// Persons of whom something counts that they reached.
    pub persons_qualified: u64,
    /// Rewards that are earned and not taken back.
    pub rewards: u64,
    /// Rewards among them of which a refund has taken a part.
    pub rewards_reduced: u64,
    /// Rewards among them that are approved.
    pub rewards_approved: u64,
    /// Repeated events that were rejected as duplicates.
    pub duplicates: u64,
    /// Rejects of records that were sent to the topic more than once.
    pub reshipped: u64,
    /// Events without an answer that are not stored.
    pub events_unanswered_and_absent: u64,
    /// Offsets of both streams with an outcome.
    pub offsets: u64,
}

/// Compares what is known with what is stored.
#[must_use]
pub fn compare(ledger: &Ledger, stored: &StoredFacts, strictness: Strictness) -> Findings {
    let mut names = stored.names.clone();
    let links = link_names(ledger, &mut names);
    let mut comparison = Comparison {
        ledger,
        stored,
        is_lossy: strictness.is_lossy,
        names,
        links,
        differences: Differences::keeping(strictness.kept_max),
        peoples_clicks: HashSet::new(),
        known: Cells::default(),
        raw: Cells::default(),
        totals: Totals::default(),
    };
    comparison.compare_clicks();
    let people = comparison.compare_conversions();
    comparison.compare_others(&people);
    comparison.compare_rewards(&people);
    comparison.compare_rejects(&people);
    comparison.compare_unmatched(&people);
    comparison.compare_sums();
    comparison.compare_positions();
    let funnel = comparison.known.funnel();
    let Comparison { differences, names, totals, .. } = comparison;
    Findings { differences, funnel, names, totals }
}

/// What tables call a link.
struct LinkNames {
    program: Name,
    referrer: Name,
    link: Name,
    channels: Vec<Name>,
}

fn link_names(ledger: &Ledger, names: &mut Names) -> Vec<LinkNames> {
    let world = &ledger.header.world;
    world
        .links
        .iter()
        .map(|link| {
            let program = world.program_of(link);
            LinkNames {
                program: names.of(&program.id),
                referrer: names.of(&program.referrers[link.referrer as usize]),
                link: names.of(&link.name()),
                channels: program.channels.iter().map(|channel| names.of(channel)).collect(),
            }
        })
        .collect()
}

/// The comparison as far as it has come.
struct Comparison<'a> {
    ledger: &'a Ledger,
    stored: &'a StoredFacts,
    is_lossy: bool,
    names: Names,
    links: Vec<LinkNames>,
    differences: Differences,
    /// Clicks that were people's own, by what the ledger says that they were.
    peoples_clicks: HashSet<Id>,
    /// What the ledger says, by quarter-hour.
    known: Cells,
    /// What the raw rows add up to, by quarter-hour.
    raw: Cells,
    totals: Totals,
}

impl Comparison<'_> {
    #[allow(clippy::needless_pass_by_value)] // numbers, ids and texts alike, as they come
    fn differ(&mut self, kind: Kind, about: impl ToString, known: impl ToString, stored: impl ToString) {
        self.differences.add(kind, || [about.to_string(), known.to_string(), stored.to_string()]);
    }

    fn differ_by_id(&mut self, kind: Kind, id: Id, known: &str, stored: &str) {
        self.differ(kind, id, known, stored);
    }
}

/// A click's place in the rollups.
fn click_cell(program: Name, referrer: Name, channel: Name, at_ms: i64, verdict: Name) -> CellKey {
    CellKey {
        program,
        referrer,
        channel,
        period: at_ms.div_euclid(QUARTER_MS),
        verdict,
        currency: Name::EMPTY,
    }
}

/// A conversion's place in the rollups.
fn conversion_cell(program: Name, referrer: Name, channel: Name, at_ms: i64, currency: Name) -> CellKey {
    CellKey {
        program,
        referrer,
        channel,
        period: at_ms.div_euclid(QUARTER_MS),
        verdict: Name::EMPTY,
        currency,
    }
}
