//! Up to when everything is in. Pure: knows no Kafka, no journal and no clock.
//!
//! Each edge says a time before which it has received nothing that Kafka does not have ([`Said`]). The least of all edges'
//! times is what Kafka has; where its partitions ended after that was said, and what of them is committed, says when
//! ClickHouse has it, too. An edge that says no more keeps its last time: it holds everything back until it is there again,
//! or until somebody says that it is gone for good.
//!
//! Clicks of a program are in all partitions of clicks, its conversions in one: a partition of conversions that stands holds
//! back its programs and no others ([`Scope`]).

use crate::position::Partition;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use whence_schemas::{time::UnixMs, topics::Stream};

/// An edge that has said nothing for so long is away: it says something every few seconds.
pub const SILENT_MAX: Duration = Duration::from_secs(30);
/// Edges that are known, at most.
pub const EDGES_MAX: usize = 10_000;

/// What an edge says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// All that it received before this has been taken by Kafka.
    pub through: UnixMs,
    /// When it said so, by its own clock.
    pub at: UnixMs,
    /// The edge has ended, and this is all that it ever had.
    pub has_ended: bool,
    /// Clicks that Kafka has acknowledged to it, each once.
    pub clicks_shipped: u64,
    /// Events that Kafka has acknowledged to it, each once.
    pub events_shipped: u64,
}

/// What keeps a time where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// No edge has ever said anything.
    Nobody,
    /// An edge says nothing any more.
    EdgeAway {
        /// Its name.
        edge: String,
        /// When it spoke last.
        since: UnixMs,
        /// Kafka has all that it had: retiring it loses nothing.
        has_ended: bool,
    },
    /// An edge has records that Kafka does not have.
    EdgeBehind {
        /// Its name.
        edge: String,
        /// Since when they wait.
        since: UnixMs,
    },
    /// A partition's records are not all committed.
    Partition {
        /// Which.
        partition: Partition,
        /// What Kafka has that is not committed is from after this.
        since: UnixMs,
    },
}

impl HeldBy {
    /// Since when.
    #[must_use]
    pub fn since(&self) -> UnixMs {
        match self {
            HeldBy::Nobody => UnixMs(0),
            HeldBy::EdgeAway { since, .. }
            | HeldBy::EdgeBehind { since, .. }
            | HeldBy::Partition { since, .. } => *since,
        }
    }
}

impl std::fmt::Display for HeldBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HeldBy::Nobody => write!(f, "no edge has said anything yet"),
            HeldBy::EdgeAway { edge, since, has_ended } => {
                let kept = match has_ended {
                    true => "all that it had is here",
                    false => "what its journals hold is not known",
                };
                write!(
                    f,
                    "edge {edge} says nothing since {}; {kept}; if it is gone for good: whence edges retire {edge}",
                    since.rfc3339()
                )
            }
            HeldBy::EdgeBehind { edge, since } => {
                write!(f, "edge {edge} has records since {} that kafka does not have", since.rfc3339())
            }
            HeldBy::Partition { partition, since } => {
                write!(f, "{partition} has records since {} that are not stored", since.rfc3339())
            }
        }
    }
}

/// What a time is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All programs.
    #[default]
    Everything,
    /// The programs whose conversions are in this partition.
    Conversions(u32),
}

impl Scope {
    fn has(self, partition: Partition) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Conversions(number) => partition.stream == Stream::Clicks || partition.number == number,
        }
    }
}

/// A time, and the ends of a scope's partitions that were seen after all edges had said it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Open {
    through: UnixMs,
    ends: BTreeMap<Partition, u64>,
}

/// How far a scope is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reached {
    open: Option<Open>,
    through: UnixMs,
}

/// Up to when everything is in, by what edges and Kafka have said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    edges: BTreeMap<String, Said>,
    /// Everything is always among them.
    scopes: BTreeMap<Scope, Reached>,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::from(&BTreeMap::new())
    }
}

impl Clock {
    /// What was known before is not given up.
    #[must_use]
    pub fn from(known: &BTreeMap<Scope, UnixMs>) -> Clock {
        let known = known.iter().map(|(scope, through)| (*scope, Reached { open: None, through: *through }));
        let mut scopes: BTreeMap<_, _> = known.collect();
        scopes.entry(Scope::Everything).or_default();
        Clock { edges: BTreeMap::new(), scopes }
    }

    /// An edge says something; of two the later counts, whichever comes first. `false`: there are too many.
    pub fn say(&mut self, edge: &str, said: Said) -> bool {
        if !self.edges.contains_key(edge) && self.edges.len() >= EDGES_MAX {
            return false;
        }
        let known = self.edges.entry(edge.to_owned()).or_insert(said);
        if said.at >= known.at {
            *known = said;
        }
        true
    }

    /// An edge is gone for good.
    pub fn retire(&mut self, edge: &str) {
        self.edges.remove(edge);
    }

    /// The edges, by name.
    #[must_use]
    pub fn edges(&self) -> &BTreeMap<String, Said> {
        &self.edges
    }

    /// What Kafka has from all edges; `None` without any.
    #[must_use]
    pub fn shipped(&self) -> Option<UnixMs> {
        self.edges.values().map(|said| said.through).min()
    }

    /// Whether the ends of the partitions are wanted: those that were wanted before are reached somewhere.
    #[must_use]
    pub fn wants_ends(&self) -> bool {
        let shipped = self.shipped();
        self.scopes
            .values()
            .any(|scope| scope.open.is_none() && shipped.is_some_and(|shipped| shipped > scope.through))
    }

    /// Partitions ended here, and that was looked at after [`Self::shipped`] had been so much.
    pub fn end(&mut self, shipped: UnixMs, ends: &BTreeMap<Partition, u64>) {
        let conversions = ends.keys().filter(|partition| partition.stream == Stream::Conversions);
        let scopes = conversions.map(|partition| Scope::Conversions(partition.number));
        let scopes: BTreeSet<Scope> = scopes.chain([Scope::Everything]).collect();
        // Those of a Kafka that had more partitions are nobody's.
        self.scopes.retain(|scope, _| scopes.contains(scope));
        for scope in scopes {
            let reached = self.scopes.entry(scope).or_default();
            if reached.open.is_none() && shipped > reached.through {
                let of = ends.iter().filter(|(partition, _)| scope.has(**partition));
                let ends = of.map(|(partition, end)| (*partition, *end)).collect();
                reached.open = Some(Open { through: shipped, ends });
            }
        }
    }

    /// So much of each partition is committed. A partition that is not named has nothing committed.
    pub fn commit(&mut self, committed: &BTreeMap<Partition, u64>) {
        for reached in self.scopes.values_mut() {
            if let Some(open) = reached.open.take_if(|open| behind(open, committed).is_none()) {
                reached.through = reached.through.max(open.through);
            }
        }
    }

    /// What there are times of.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.scopes.keys().copied()
    }

    /// Everything of this received before this is in.
    #[must_use]
    pub fn through(&self, scope: Scope) -> UnixMs {
        self.scopes.get(&scope).map_or(UnixMs(0), |reached| reached.through)
    }

    /// Why it is not later; `None` while it follows the clock.
    #[must_use]
    pub fn held_by(&self, scope: Scope, committed: &BTreeMap<Partition, u64>, now: UnixMs) -> Option<HeldBy> {
        let through = self.through(scope);
        let Some((edge, said)) = self.edges.iter().min_by_key(|(_, said)| (said.through, said.at)) else {
            return Some(HeldBy::Nobody);
        };
        let is_late =
            |at: UnixMs| now.ms_since(at) > i64::try_from(SILENT_MAX.as_millis()).unwrap_or(i64::MAX);
        if !is_late(through) {
            return None;
        }
        if is_late(said.at) {
            let (edge, since, has_ended) = (edge.clone(), said.at, said.has_ended);
            return Some(HeldBy::EdgeAway { edge, since, has_ended });
        }
        if is_late(said.through) {
            return Some(HeldBy::EdgeBehind { edge: edge.clone(), since: said.through });
        }
        let open = self.scopes.get(&scope)?.open.as_ref()?;
        Some(HeldBy::Partition { partition: behind(open, committed)?, since: through })
    }
}

/// A partition of which not all that was seen is committed.
fn behind(open: &Open, committed: &BTreeMap<Partition, u64>) -> Option<Partition> {
    let is_behind =
        |(partition, end): &(&Partition, &u64)| committed.get(partition).copied().unwrap_or(0) < **end;
    open.ends.iter().find(is_behind).map(|(partition, _)| *partition)
}

#[cfg(test)]
mod tests;
