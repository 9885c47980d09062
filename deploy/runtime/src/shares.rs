//! What one network may take of what is there for all: requests of a kind in a minute, and (see
//! [`seats`](crate::seats)) connections.
//!
//! A network is the /24 of an IPv4 or the /48 of an IPv6 address: what one customer of a provider has, as a
//! rule. Loopback is no exception. Behind a proxy whose networks are configured, the address is the forwarded
//! one; who calls must see to that.
//!
//! A share of requests is a bucket (the generic cell rate algorithm, ITU-T I.371): it holds a minute's share,
//! and fills evenly. What is remembered of a network is the moment at which its bucket is full again, 8 bytes;
//! a network whose bucket is full is as good as forgotten. There is room for a fixed number of them: in a
//! flood from more networks than that, some that are in debt are forgotten and counted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashmap::{DashMap, Entry};
use hyper::HeaderMap;
use ipnet::IpNet;

use crate::http::forwarded::{self, ForwardedHeader};
use crate::seldom::Seldom;

whence_metrics::declare! {
    /// Requests answered 429 because their network had used up its share.
    counter SHARE_BEYOND: "whence_share_beyond_total" { share };
    /// Networks whose use of a share was forgotten because there were too many of them.
    counter SHARE_NETWORKS_FORGOTTEN: "whence_share_networks_forgotten_total" { share };
}

crate::settings! {
    /// Shares of one network
    pub struct ShareSettings {
        /// Part of a listener's connections, in percent, that is kept free of networks (/24 of IPv4, /48 of IPv6)
        /// which have that many already.
        ///
        /// Beyond it a network's next connection costs an idle one of the network that has the most. The networks
        /// of `trusted-proxies` have no share, and none of their connections is closed.
        pub share_connections_percent: usize = "25" in 1..=100,
        /// Wrong API keys that one network may send in a minute; more are answered 429.
        ///
        /// A request with a valid key is answered whatever its network has sent.
        pub share_wrong_keys: u32 = "60" in 1..=1_000_000,
        /// Requests that prove nothing (no key, no signature, no such path) that one network may send to the API
        /// and the console in a minute; more are answered 429.
        pub share_unproved_requests: u32 = "600" in 1..=1_000_000,
        /// Clicks on codes that no link has that one network may make in a minute; more are answered 429.
        ///
        /// What is beyond is not a click of its own: every ten seconds one record holds how many there were.
        pub share_unknown_codes: u32 = "300" in 1..=1_000_000,
    }
}

impl ShareSettings {
    /// The shares of those who call, for all listeners of a process that people and programs call with a key.
    #[must_use]
    pub fn callers(&self, proxies: Vec<IpNet>, forwarded_header: ForwardedHeader) -> Callers {
        Callers {
            connections_percent: self.share_connections_percent,
            proxies,
            hosts: Vec::new(),
            forwarded_header,
            wrong_keys: Arc::new(Share::per_minute("wrong_keys", self.share_wrong_keys)),
            unproved: Arc::new(Share::per_minute("unproved_requests", self.share_unproved_requests)),
        }
    }
}

/// What callers of a network share: one for all listeners of a process. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Callers {
    /// A network's share of a listener's connections, in percent.
    pub connections_percent: usize,
    /// Networks of proxies.
    pub proxies: Vec<IpNet>,
    /// Names by which a listener on loopback may be called, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// The header in which they name the client that they forward.
    pub forwarded_header: ForwardedHeader,
    /// Requests with a key that is not valid.
    pub wrong_keys: Arc<Share>,
    /// Requests that prove nothing.
    pub unproved: Arc<Share>,
}

impl Callers {
    /// The same, who may call by these names.
    #[must_use]
    pub fn called(mut self, hosts: &[String]) -> Self {
        self.hosts = hosts.to_vec();
        self
    }

    /// The network of the sender of a request; behind a configured proxy, of the client that it forwards.
    #[must_use]
    pub fn network_of(&self, peer: IpAddr, headers: &HeaderMap) -> Prefix {
        Prefix::of(forwarded::origin(peer, headers, &self.proxies, self.forwarded_header).address)
    }
}

impl Default for Callers {
    /// The shares that nobody has set, and no proxy.
    fn default() -> Self {
        crate::settings::defaults::<ShareSettings>()
            .expect("all have defaults")
            .callers(Vec::new(), ForwardedHeader::XForwardedFor)
    }
}

/// The time in which a share is used up and filled again.
const MINUTE: Duration = Duration::from_secs(60);
/// Networks that a share remembers: 2 MiB of memory.
const NETWORKS_MAX: usize = 1 << 16;

/// A network: the /24 or /48 of an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(u64);

/// Beyond all 48 bits of an IPv6 network.
const IPV4: u64 = 1 << 63;

impl Prefix {
    /// The network of an address. An IPv4 address that is written as an IPv6 one is the same.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(IPV4 | u64::from(v4.to_bits() >> 8)),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 80) as u64),
        }
    }

    /// The network's first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        match self.0 & IPV4 {
            0 => Ipv6Addr::from_bits(u128::from(self.0) << 80).into(),
            _ => Ipv4Addr::from_bits((self.0 as u32) << 8).into(),
        }
    }

    #[cfg(test)]
    pub(crate) const fn test(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            IpAddr::V4(v4) => write!(f, "{v4}/24"),
            IpAddr::V6(v6) => write!(f, "{v6}/48"),
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The network has used its share up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Whole seconds after which there is something of it again; for `Retry-After`.
    pub retry_after_s: u32,
}

/// The shares of one kind of requests.
#[derive(Debug)]
pub struct Share {
    name: &'static str,
    /// A bucket's worth.
    burst: Duration,
    /// One request's.
    cost: Duration,
    started: Instant,
    /// When the bucket is full again, in nanoseconds after `started`.
    full_at: DashMap<Prefix, u64>,
    networks: AtomicUsize,
    networks_max: usize,
    said: Seldom,
    beyond: metrics::Counter,
    forgotten: metrics::Counter,
}

impl Share {
    /// `per_minute` requests of the kind `name` for each network. `name` is a label of metrics.
    ///
    /// # Panics
    /// If `per_minute` is 0.
    #[must_use]
    pub fn per_minute(name: &'static str, per_minute: u32) -> Self {
        Self::bounded(name, per_minute, NETWORKS_MAX)
    }

    fn bounded(name: &'static str, per_minute: u32, networks_max: usize) -> Self {
        Self {
            name,
            burst: MINUTE,
            cost: MINUTE / per_minute,
            started: Instant::now(),
            full_at: DashMap::new(),
            networks: AtomicUsize::new(0),
            networks_max,
            said: Seldom::new(),
            beyond: metrics::counter!(SHARE_BEYOND, "share" => name),
            forgotten: metrics::counter!(SHARE_NETWORKS_FORGOTTEN, "share" => name),
        }
    }

    /// Takes one request of the network's share.
    ///
    /// # Errors
    /// If it is used up: counted, and logged now and then.
    pub fn take(&self, network: Prefix) -> Result<(), Beyond> {
        self.take_at(network, self.started.elapsed()).inspect_err(|_| {
            self.beyond.increment(1);
            if let Some(times) = self.said.times() {
                tracing::warn!(times, share = self.name, %network, "a network has used up its share");
            }
        })
    }

    fn take_at(&self, network: Prefix, now: Duration) -> Result<(), Beyond> {
        let now_ns = nanos(now);
        let charge = |full_at: u64| {
            let after = full_at.max(now_ns).saturating_add(nanos(self.cost));
            let over = after.saturating_sub(now_ns.saturating_add(nanos(self.burst)));
            if over == 0 { Ok(after) } else { Err(Duration::from_nanos(over)) }
        };
        let charged = match self.full_at.entry(network) {
            Entry::Occupied(mut known) => charge(*known.get()).map(|after| {
                known.insert(after);
                false
            }),
            Entry::Vacant(unknown) => charge(0).map(|after| {
                unknown.insert(after);
                true
            }),
        };
        match charged {
            Ok(is_new) => {
                if is_new && self.networks.fetch_add(1, Ordering::Relaxed) >= self.networks_max {
                    self.forget(now_ns);
                }
                Ok(())
            }
            Err(over) => {
                let seconds = over.as_nanos().div_ceil(1_000_000_000);
                Err(Beyond { retry_after_s: u32::try_from(seconds).unwrap_or(u32::MAX) })
            }
        }
    }

    /// Makes room for half as many as there may be, so that the walk costs each newcomer next to nothing.
    #[cold]
    fn forget(&self, now_ns: u64) {
        self.full_at.retain(|_, full_at| *full_at > now_ns);
        let mut too_many = self.full_at.len().saturating_sub(self.networks_max / 2);
        if too_many > 0 {
            self.forgotten.increment(too_many as u64);
            self.full_at.retain(|_, _| {
                let stays = too_many == 0;
                too_many = too_many.saturating_sub(1);
                stays
            });
        }
        self.networks.store(self.full_at.len(), Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Prefix {
        Prefix::of(text.parse().unwrap())
    }

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn neighbours_are_one_network_and_loopback_is_no_exception() {
        for (one, same, other, text) in [
            ("203.0.113.9", "203.0.113.200", "203.0.114.9", "203.0.113.0/24"),
            ("127.0.1.1", "127.0.1.2", "127.0.2.1", "127.0.1.0/24"),
            ("2001:db8:1:2::1", "2001:db8:1:3::2", "2001:db8:2:2::1", "2001:db8:1::/48"),
            ("::1", "::2", "0:0:1::1", "::/48"),
        ] {
            assert_eq!(network(one), network(same));
            assert_ne!(network(one), network(other));
            assert_eq!(network(one).to_string(), text);
        }
        assert_eq!(network("::ffff:203.0.113.9"), network("203.0.113.9"));
        assert_ne!(network("0.0.0.0"), network("::"));
    }

    #[test]
    fn a_network_has_its_share_at_once_and_then_as_it_fills_again() {
        let share = Share::per_minute("test", 60);
        let take = |now| share.take_at(network("127.0.1.1"), now);
        assert!((0..60).all(|_| take(NOW).is_ok()));
        assert_eq!(take(NOW), Err(Beyond { retry_after_s: 1 }));
        assert!(share.take_at(network("127.0.2.1"), NOW).is_ok(), "another's is its own");
        let later = NOW + Duration::from_secs(10);
        assert_eq!((0..60).filter(|_| take(later).is_ok()).count(), 10);
        let much_later = NOW + Duration::from_secs(1000);
        assert_eq!(
            (0..600).filter(|_| take(much_later).is_ok()).count(),
            60,
            "no more than one share is saved"
        );
    }

    #[test]
    fn being_refused_takes_nothing() {
        let share = Share::per_minute("test", 60);
        let take = |now| share.take_at(network("127.0.1.1"), now);
        assert_eq!((0..10_000).filter(|_| take(NOW).is_ok()).count(), 60);
        assert!(take(NOW + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn there_is_room_for_so_many_networks_and_those_in_debt_go_last() {
        let share = Share::bounded("test", 60, 100);
        let nth = |n: u32| Prefix::of(IpAddr::V4(Ipv4Addr::from_bits(n << 8)));
        let in_debt = nth(1 << 20);
        while share.take_at(in_debt, NOW).is_ok() {}
        // Their buckets are full again after a second: ten are in debt at a time.
        for n in 0..500 {
            share.take_at(nth(n), NOW + Duration::from_millis(100) * n).unwrap();
            assert!(share.full_at.len() <= 101, "{n}");
        }
        assert!(share.full_at.contains_key(&in_debt));
        // All in debt at once: some are forgotten.
        for n in 0..1_000 {
            share.take_at(nth(n), NOW).unwrap();
            assert!(share.full_at.len() <= 101, "{n}");
        }
    }
}
