//! File descriptors: how many the process may have, and that all that it promises fits.
//!
//! A connection is a descriptor, and so is a journal's next file: a process that runs out of them because
//! strangers have connected can write nothing down any more. Hence a plan at the start: what the process needs
//! for itself is set aside, and the places of all listeners together get the rest at most. What the operator
//! has not set is made smaller to fit; what the operator has set and does not fit is refused.

use std::fmt;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of this process, and of those that it starts, to the hard one. Returns how many
/// descriptors there may be from now on.
///
/// # Errors
/// The system's, which has no reason for one.
pub fn raise() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Whether something failed because there are no descriptors left, of the process or of the machine.
#[must_use]
pub fn are_exhausted(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

/// Connections that one listener asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The setting that says how many.
    pub setting: &'static str,
    /// What it says, for each of [`Self::listeners`].
    pub connections: usize,
    /// As many sockets have so many connections each.
    pub listeners: usize,
    /// The operator has set it: it is not made smaller.
    pub is_set: bool,
    /// The least that is of any use, for each of them.
    pub least: usize,
    /// One part in so many of what is left by those before goes to it.
    pub one_in: u64,
}

/// What a process needs descriptors for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    reserve: Vec<(&'static str, u64)>,
    wanted: Vec<Wanted>,
}

/// How many connections each listener may have, by its setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitted {
    connections: Vec<(&'static str, usize)>,
    /// Settings that have less than they say, with that and what they have.
    pub smaller: Vec<(&'static str, usize, usize)>,
}

/// The limit of open files is too low. The text has the numbers and says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooFew {
    limit: u64,
    needed: u64,
    parts: Vec<(&'static str, u64)>,
}

impl Plan {
    /// Sets `descriptors` aside for `what`.
    #[must_use]
    pub fn reserve(mut self, what: &'static str, descriptors: usize) -> Self {
        self.reserve.push((what, descriptors as u64));
        self
    }

    /// Wants places for connections. Who is asked for last gets what the others leave.
    #[must_use]
    pub fn want(mut self, wanted: Wanted) -> Self {
        self.wanted.push(wanted);
        self
    }

    /// Makes all of it fit into `limit` descriptors.
    ///
    /// # Errors
    /// If it does not with the least of what the operator has not set.
    pub fn fit(&self, limit: u64) -> Result<Fitted, TooFew> {
        let least = |wanted: &Wanted| {
            let each = if wanted.is_set { wanted.connections } else { wanted.least.min(wanted.connections) };
            each as u64 * wanted.listeners as u64
        };
        let asked = self.wanted.iter().map(|wanted| (wanted.setting, least(wanted)));
        let parts: Vec<(&'static str, u64)> = self.reserve.iter().copied().chain(asked).collect();
        let needed = parts.iter().map(|(_, descriptors)| descriptors).sum();
        let Some(mut room) = limit.checked_sub(needed) else { return Err(TooFew { limit, needed, parts }) };
        let mut fitted = Fitted::default();
        for wanted in &self.wanted {
            let mut connections = wanted.connections;
            if !wanted.is_set {
                let more = room / wanted.one_in / wanted.listeners as u64;
                let more = usize::try_from(more).unwrap_or(usize::MAX);
                let least = wanted.least.min(wanted.connections);
                connections = connections.min(least.saturating_add(more));
                room -= (connections - least) as u64 * wanted.listeners as u64;
            }
            fitted.connections.push((wanted.setting, connections));
            if connections < wanted.connections {
                fitted.smaller.push((wanted.setting, wanted.connections, connections));
            }
        }
        Ok(fitted)
    }
}

impl Fitted {
    /// The connections of the listener with this setting.
    ///
    /// # Panics
    /// If none was wanted for it.
    #[must_use]
    pub fn connections(&self, setting: &str) -> usize {
        let found = self.connections.iter().find(|(of, _)| *of == setting);
        found.expect("it was wanted").1
    }
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, needed, parts } = self;
        write!(f, "{needed} file descriptors are needed and {limit} are allowed:")?;
        for (at, (what, descriptors)) in parts.iter().enumerate() {
            write!(f, "{} {descriptors} for {what}", if at == 0 { "" } else { "," })?;
        }
        write!(f, "; raise the hard limit (`ulimit -Hn`, LimitNOFILE= of systemd) or lower these settings")
    }
}

impl std::error::Error for TooFew {}

#[cfg(test)]
mod tests {
    use super::*;

    const API: Wanted = Wanted {
        setting: "api-connections-max",
        connections: 1000,
        listeners: 1,
        is_set: false,
        least: 8,
        one_in: 8,
    };
    const EDGE: Wanted = Wanted {
        setting: "edge-connections-max",
        connections: 20_000,
        listeners: 2,
        is_set: false,
        least: 8,
        one_in: 1,
    };

    fn plan(api: Wanted, edge: Wanted) -> Plan {
        Plan::default().reserve("journals", 100).want(api).want(edge)
    }

    fn descriptors(plan: &Plan, fitted: &Fitted) -> u64 {
        let places = plan.wanted.iter().map(|wanted| fitted.connections(wanted.setting) * wanted.listeners);
        places.sum::<usize>() as u64 + plan.reserve.iter().map(|(_, descriptors)| descriptors).sum::<u64>()
    }

    #[test]
    fn everything_fits_whatever_the_limit_and_nothing_has_less_than_its_least() {
        let plan = plan(API, EDGE);
        for limit in 0..60_000 {
            match plan.fit(limit) {
                Ok(fitted) => {
                    assert!(descriptors(&plan, &fitted) <= limit, "{limit}: {fitted:?}");
                    assert!(fitted.connections(API.setting) >= 8 && fitted.connections(EDGE.setting) >= 8);
                }
                Err(too_few) => assert!(limit < 124 && too_few.needed == 124, "{limit}: {too_few}"),
            }
        }
        assert_eq!(plan.fit(41_100).unwrap().smaller, []);
        let fitted = plan.fit(1024).unwrap();
        assert_eq!((fitted.connections(API.setting), fitted.connections(EDGE.setting)), (120, 402));
        assert_eq!(fitted.smaller, [(API.setting, 1000, 120), (EDGE.setting, 20_000, 402)]);
    }

    #[test]
    fn what_is_set_is_kept_or_refused_with_the_numbers() {
        let set = Wanted { is_set: true, ..EDGE };
        assert_eq!(plan(API, set).fit(41_100).unwrap().connections(EDGE.setting), 20_000);
        let refused = plan(API, set).fit(20_000).unwrap_err().to_string();
        assert_eq!(
            refused,
            "40108 file descriptors are needed and 20000 are allowed: 100 for journals, 8 for \
             api-connections-max, 40000 for edge-connections-max; raise the hard limit (`ulimit -Hn`, \
             LimitNOFILE= of systemd) or lower these settings"
        );
        let few = Wanted { connections: 4, is_set: false, ..EDGE };
        assert_eq!(plan(API, few).fit(1024).unwrap().connections(EDGE.setting), 4, "less than the least");
    }

    #[test]
    fn the_soft_limit_is_the_hard_one_afterwards() {
        let limit = raise().unwrap();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!((current, maximum.unwrap_or(u64::MAX)), (maximum, limit));
    }
}
