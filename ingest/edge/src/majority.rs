//! Whether one network makes more than half of all requests: as a rule a proxy that nobody has configured, whose
//! clients have one share between them all.
//!
//! Boyer and Moore's vote (1981) finds who may have more than half in one pass and with one counter; the
//! next interval counts that network exactly.

use std::time::Duration;

use ipnet::IpNet;
use whence_runtime::{seats::Guest, seldom::Seldom, shares::Prefix};

use super::meters::HAND_OVER_EVERY;

/// Between two lines.
const TELL_EVERY: Duration = Duration::from_secs(3600);
const INTERVAL: Duration = Duration::from_secs(60);
/// Fewer say nothing.
const REQUESTS_MIN: u64 = 200;

/// One core's vote.
#[derive(Debug, Default)]
pub struct Majority {
    candidate: Option<Prefix>,
    votes: u64,
    /// The candidate of the interval before, and its requests in this one.
    watched: Option<Prefix>,
    of_watched: u64,
    requests: u64,
    ticks: u32,
}

impl Majority {
    /// A request of this network.
    pub fn note(&mut self, network: Prefix) {
        self.requests += 1;
        self.of_watched += u64::from(self.watched == Some(network));
        if self.candidate == Some(network) {
            self.votes += 1;
        } else if self.votes == 0 {
            (self.candidate, self.votes) = (Some(network), 1);
        } else {
            self.votes -= 1;
        }
    }

    /// The network that made more than half of an interval's requests, and its share in percent; to be called
    /// every [`HAND_OVER_EVERY`].
    pub fn due(&mut self) -> Option<(Prefix, u64)> {
        self.ticks += 1;
        if HAND_OVER_EVERY * self.ticks < INTERVAL {
            return None;
        }
        let Majority { candidate, watched, of_watched, requests, .. } = std::mem::take(self);
        self.watched = candidate;
        let is_most = requests >= REQUESTS_MIN && of_watched > requests / 2;
        watched.filter(|_| is_most).map(|network| (network, of_watched * 100 / requests))
    }
}

/// The line that says so, for all cores.
#[derive(Debug)]
pub struct Told(Seldom);

impl Default for Told {
    fn default() -> Self {
        Told(Seldom::every(TELL_EVERY))
    }
}

impl Told {
    /// Logs that `network` makes most of the requests, unless it is a configured proxy's.
    pub fn tell(&self, network: Prefix, percent: u64, trusted: &[IpNet]) {
        let is_proxy = matches!(Guest::of(network.address(), trusted), Guest::Proxy);
        if !is_proxy && self.0.times().is_some() {
            tracing::warn!(
                %network,
                percent,
                "one network makes more than half of all requests and has one share of what is there for all: if it \
                 is a proxy or a load balancer, name its network in `trusted-proxies`"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u8) -> Prefix {
        Prefix::of([127, n, 0, 1].into())
    }

    fn interval(majority: &mut Majority, requests: &[u8], times: usize) -> Option<(Prefix, u64)> {
        for _ in 0..times {
            requests.iter().for_each(|n| majority.note(network(*n)));
        }
        let due: Vec<_> = (0..60).filter_map(|_| majority.due()).collect();
        assert!(due.len() <= 1);
        due.first().copied()
    }

    #[test]
    fn a_network_with_more_than_half_is_told_once_it_was_counted() {
        let mut majority = Majority::default();
        assert_eq!(interval(&mut majority, &[1, 2, 1, 3, 1], 1000), None, "the vote alone proves nothing");
        assert_eq!(interval(&mut majority, &[1, 2, 1, 3, 1], 1000), Some((network(1), 60)));
        assert_eq!(interval(&mut majority, &[1, 2, 1, 3], 1000), None, "half is not more than half");
        assert_eq!(interval(&mut majority, &[1], 199), None, "too few to say");
    }

    #[test]
    fn many_networks_have_no_majority() {
        let mut majority = Majority::default();
        for _ in 0..3 {
            assert_eq!(interval(&mut majority, &[1, 2, 3, 4, 5, 6], 1000), None);
        }
    }
}
