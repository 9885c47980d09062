//! Differences between what is known and what is stored: all are counted, the first of each kind kept.

use serde::Serialize;
use std::collections::BTreeMap;

/// A kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An answered click is not stored.
    ClickMissing,
    /// A stored click that nobody asked for.
    ClickExtra,
    /// A click whose rows do not add up to one.
    ClickMultiple,
    /// A click stored with another program, referrer, link, channel, verdict or time.
    ClickWrong,
    /// An accepted lead is not stored.
    LeadMissing,
    /// A stored lead that nobody sent, or that was refused.
    LeadExtra,
    /// A lead whose rows do not add up to one.
    LeadMultiple,
    /// A lead stored with another program or time.
    LeadWrong,
    /// A lead credited to somebody else, or for another reason.
    LeadCredit,
    /// An accepted qualification is not stored.
    QualificationMissing,
    /// A stored qualification that nobody sent, or that was refused.
    QualificationExtra,
    /// A qualification whose rows do not add up to one.
    QualificationMultiple,
    /// A qualification stored with another program, name, time or price.
    QualificationWrong,
    /// A qualification matched with another lead, credited to somebody else, or with another value left.
    QualificationCredit,
    /// A lead or qualification that should stand for its person and does not, or the other way round.
    Person,
    /// An accepted event of another kind (a refund, a reinstatement, …) is not stored.
    EventMissing,
    /// A stored event of another kind that nobody sent, or that was refused.
    EventExtra,
    /// An event of another kind whose rows do not add up to one.
    EventMultiple,
    /// An event of another kind stored with another program, time or content.
    EventWrong,
    /// Something else came of a refund, a reinstatement or a decision.
    Outcome,
    /// What a referrer gets for a lead.
    Reward,
    /// What `rewards_daily` says that a referrer gets.
    RewardsDaily,
    /// More or fewer rejects as duplicates than were sent.
    Duplicates,
    /// A reject for another reason than a duplicate.
    Reject,
    /// A group of the raw rows.
    Raw,
    /// A group of `funnel_quarter_hourly`.
    QuarterHourly,
    /// A group of `funnel_daily`.
    Daily,
    /// A group of the view `funnel`.
    Funnel,
    /// A row of the view `unmatched`.
    Unmatched,
    /// Offsets without an outcome, or with several.
    Reconciliation,
    /// The view `reconciliation` says something else than the offsets stored.
    ReconciliationView,
    /// An answer of the edge or the API that such a request should not get.
    Answer,
    /// The API named an event otherwise than the contract does.
    EventId,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its kind.
    pub kind: Kind,
    /// What it is about.
    pub about: String,
    /// What the ledger says.
    pub known: String,
    /// What ClickHouse says.
    pub stored: String,
}

/// All differences, counted, and the first few of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// How many of each kind; kinds without any are absent.
    pub counts: BTreeMap<Kind, u64>,
    /// The first of each kind.
    pub first: Vec<Difference>,
    #[serde(skip)]
    kept_max: u64,
}

impl Differences {
    /// None yet; `kept_max` of each kind will be kept whole.
    #[must_use]
    pub fn keeping(kept_max: u64) -> Differences {
        Differences { kept_max, ..Differences::default() }
    }

    /// Counts one. `say` gives what it is about, what is known and what is stored; it is called only
    /// if this one is kept.
    pub fn add(&mut self, kind: Kind, say: impl FnOnce() -> [String; 3]) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= self.kept_max {
            let [about, known, stored] = say();
            self.first.push(Difference { kind, about, known, stored });
        }
    }

    /// All, of every kind.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many of this kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_of_each_kind_kept() {
        let mut differences = Differences::keeping(1);
        for n in 0..3 {
            differences.add(Kind::ClickMissing, || [n.to_string(), String::new(), String::new()]);
        }
        differences.add(Kind::Raw, || ["r".into(), String::new(), String::new()]);
        assert_eq!((differences.total(), differences.count(Kind::ClickMissing)), (4, 3));
        let kept: Vec<_> = differences.first.iter().map(|d| d.about.as_str()).collect();
        assert_eq!(kept, ["0", "r"]);
    }
}
