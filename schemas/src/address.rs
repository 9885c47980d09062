//! Addresses and visitors, made unreadable before they reach the journal. Pure.
//!
//! Hashes are SipHash-2-4 (Aumasson and Bernstein, 2012), a keyed function made for short inputs. Its keys
//! come from the deployment's secret by HMAC-SHA256: one for each day (UTC) for addresses, so that nobody
//! is followed from one day to the next, and one for good for visitor cookies, which are random already.
//! All edges of a deployment share the secret, so one address has one hash wherever it clicks.

use std::{fmt, net::IpAddr};

use crate::time::UnixMs;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use siphasher::sip::SipHasher24;

const DAY_MS: i64 = 86_400_000;

/// The secret that hashes are keyed with.
#[derive(Clone)]
pub struct AddressHasher(Hmac<Sha256>);

impl fmt::Debug for AddressHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressHasher")
    }
}

impl AddressHasher {
    /// A hasher with these 32 secret random bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> AddressHasher {
        AddressHasher(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    fn key(&self, purpose: &str, day: i64) -> SipHasher24 {
        let mac = self.0.clone().chain_update(purpose).chain_update([0]).chain_update(day.to_be_bytes());
        let bytes = mac.finalize().into_bytes();
        SipHasher24::new_with_key(bytes[..16].try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The keys for clicks of this moment's day.
    #[must_use]
    pub fn keys_at(&self, now: UnixMs) -> DayKeys {
        let day = now.0.div_euclid(DAY_MS);
        DayKeys { day, address: self.key("address", day), visitor: self.key("visitor", 0) }
    }
}

/// An address, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressHashes {
    /// Of the whole address.
    pub address: u64,
    /// Of the /24 (IPv4) or the /48 (IPv6) that it is in.
    pub prefix: u64,
}

/// One day's keys.
#[derive(Clone)]
pub struct DayKeys {
    day: i64,
    address: SipHasher24,
    visitor: SipHasher24,
}

impl fmt::Debug for DayKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DayKeys({})", self.day)
    }
}

impl DayKeys {
    /// Whether they are those of this moment.
    #[must_use]
    pub fn are_of(&self, now: UnixMs) -> bool {
        now.0.div_euclid(DAY_MS) == self.day
    }

    /// The hashes of an address. An IPv4 address in IPv6 clothes is an IPv4 address.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> AddressHashes {
        // The first byte keeps the four kinds of input apart.
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                AddressHashes {
                    address: present(self.address.hash(&[4, a, b, c, d])),
                    prefix: present(self.address.hash(&[24, a, b, c])),
                }
            }
            IpAddr::V6(v6) => {
                let mut input = [6; 17];
                input[1..].copy_from_slice(&v6.octets());
                let address = present(self.address.hash(&input));
                input[0] = 48;
                AddressHashes { address, prefix: present(self.address.hash(&input[..7])) }
            }
        }
    }

    /// The hash of a visitor's cookie. Nobody is followed from one program to another either.
    #[must_use]
    pub fn visitor(&self, program: &str, id: &[u8]) -> u64 {
        let mut input = [0; 128];
        let len = program.len() + 1 + id.len();
        debug_assert!(len <= input.len(), "programs have 64 bytes and ids 32");
        input[..program.len()].copy_from_slice(program.as_bytes());
        input[program.len() + 1..len].copy_from_slice(id);
        present(self.visitor.hash(&input[..len]))
    }
}

/// 0 means "none" in records.
fn present(hash: u64) -> u64 {
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixMs = UnixMs(20_000 * DAY_MS + DAY_MS / 2);

    fn keys() -> DayKeys {
        AddressHasher::new(&[7; 32]).keys_at(NOON)
    }

    fn address(text: &str) -> AddressHashes {
        keys().address(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_another_hash_on_the_next_day_and_in_another_deployment() {
        let ip = "203.0.113.9".parse().unwrap();
        let tomorrow = AddressHasher::new(&[7; 32]).keys_at(NOON.plus_ms(DAY_MS));
        let elsewhere = AddressHasher::new(&[8; 32]).keys_at(NOON);
        assert_ne!(keys().address(ip), tomorrow.address(ip));
        assert_ne!(keys().address(ip), elsewhere.address(ip));
        assert_eq!(
            keys().visitor("demo", b"x"),
            tomorrow.visitor("demo", b"x"),
            "a visitor is one for a year"
        );
        assert_ne!(keys().visitor("demo", b"x"), elsewhere.visitor("demo", b"x"));
    }

    #[test]
    fn a_day_ends_at_midnight_utc() {
        let keys = keys();
        assert!(keys.are_of(NOON.plus_ms(DAY_MS / 2 - 1)) && keys.are_of(NOON.plus_ms(-DAY_MS / 2)));
        assert!(!keys.are_of(NOON.plus_ms(DAY_MS / 2)) && !keys.are_of(NOON.plus_ms(-DAY_MS / 2 - 1)));
    }

    #[test]
    fn neighbours_share_the_prefix_only() {
        for (one, same, other) in [
            ("203.0.113.9", "203.0.113.10", "203.0.114.9"),
            ("2001:db8:1:2::1", "2001:db8:1:3::2", "2001:db8:2:2::1"),
        ] {
            assert_eq!(address(one).prefix, address(same).prefix);
            assert_ne!(address(one).address, address(same).address);
            assert_ne!(address(one).prefix, address(other).prefix);
        }
        assert_eq!(address("::ffff:203.0.113.9"), address("203.0.113.9"));
    }

    #[test]
    fn programs_know_a_visitor_by_different_hashes() {
        assert_ne!(keys().visitor("a", b"x"), keys().visitor("b", b"x"));
    }
}
