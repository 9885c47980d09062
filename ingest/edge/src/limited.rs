//! Requests for unknown codes beyond a network's share: no record of their own, but counted, by host, in one
//! record an interval.
//!
//! Hosts are those that programs answer for, so there are as many as the registry has at most; a core counts
//! so many of them in an interval and the rest as refused only. What is counted when a process is killed is
//! lost: an interval's counts, of requests that led nowhere.

use std::{collections::HashMap, time::Duration};

use super::meters::HAND_OVER_EVERY;

whence_metrics::declare! {
    /// Requests for unknown codes answered 429 because their network had used up its share, by host.
    counter EDGE_UNKNOWN_CODES_LIMITED: "whence_edge_unknown_codes_limited_total" { host };
}

/// Between two records of a host.
const INTERVAL: Duration = Duration::from_secs(10);
/// Hosts of an interval.
const HOSTS_MAX: usize = 1000;
/// Hosts that have a metric of their own; the others share one.
const HOSTS_NAMED_MAX: usize = 100;

/// What one core has counted.
#[derive(Debug, Default)]
pub struct Limited {
    hosts: HashMap<Box<str>, u64>,
    named: HashMap<Box<str>, metrics::Counter>,
    ticks: u32,
}

impl Limited {
    /// One more on this host.
    pub fn count(&mut self, host: &str) {
        self.counter(host).increment(1);
        if let Some(count) = self.hosts.get_mut(host) {
            *count += 1;
        } else if self.hosts.len() < HOSTS_MAX {
            self.hosts.insert(host.into(), 1);
        }
    }

    fn counter(&mut self, host: &str) -> &metrics::Counter {
        let is_named = self.named.contains_key(host) || self.named.len() < HOSTS_NAMED_MAX;
        let host = if is_named { host } else { "other" };
        self.named
            .entry(host.into())
            .or_insert_with(|| metrics::counter!(EDGE_UNKNOWN_CODES_LIMITED, "host" => host.to_owned()))
    }

    /// What is to be recorded, if it is time: to be called every [`HAND_OVER_EVERY`].
    pub fn due(&mut self) -> HashMap<Box<str>, u64> {
        self.ticks += 1;
        if HAND_OVER_EVERY * self.ticks < INTERVAL { HashMap::new() } else { self.all() }
    }

    /// What is to be recorded, whether it is time or not.
    pub fn all(&mut self) -> HashMap<Box<str>, u64> {
        self.ticks = 0;
        std::mem::take(&mut self.hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_due_once_an_interval_and_then_begin_anew() {
        let mut limited = Limited::default();
        for _ in 0..3 {
            limited.count("go.example");
        }
        limited.count("in.example");
        let mut due = HashMap::new();
        for _ in 0..10 {
            assert!(due.is_empty());
            due = limited.due();
        }
        assert_eq!(due, HashMap::from([("go.example".into(), 3), ("in.example".into(), 1)]));
        limited.count("go.example");
        assert_eq!(limited.all(), HashMap::from([("go.example".into(), 1)]));
        assert!(limited.all().is_empty());
    }

    #[test]
    fn hosts_are_bounded() {
        let mut limited = Limited::default();
        for n in 0..3 * HOSTS_MAX {
            limited.count(&format!("{n}.example"));
        }
        assert_eq!((limited.hosts.len(), limited.named.len()), (HOSTS_MAX, HOSTS_NAMED_MAX + 1));
    }
}
