//! Who an event is about, without saying who: keyed hashes of lead ids and aliases.
//!
//! A key is the first 16 bytes of HMAC-SHA256 under the deployment's identity secret over
//! `program 0x00 kind 0x00 value`. The same person in two programs has two unrelated keys. Raw
//! values stay in the process that received them.

mod alias;

pub use alias::{AliasError, AliasKind, mail_domain, normalise};

use crate::ids::{LinkHost, ProgramId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// A keyed hash of a lead id or alias.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectKey(pub [u8; 16]);

impl fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SubjectKey {
    /// The key in these bytes, or `None` where they are not 16.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<SubjectKey> {
        bytes.try_into().ok().map(SubjectKey)
    }
}

/// The deployment's identity secret. It must never change: a new one makes every person unknown.
#[derive(Clone)]
pub struct IdentityHasher(Hmac<Sha256>);

impl fmt::Debug for IdentityHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityHasher")
    }
}

impl IdentityHasher {
    /// A hasher with these 32 secret random bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> IdentityHasher {
        IdentityHasher(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    /// What proves that a program's host is its operator's, where it stands in the host's DNS: nobody else can
    /// make it, and for each program and host it is another one. `program 0x00 host-proof 0x00 host`, 32
    /// hexadecimal digits.
    #[must_use]
    pub fn host_proof(&self, program: &ProgramId, host: &LinkHost) -> String {
        SubjectKey(self.hash(&[program.as_str(), "host-proof"], host.as_str())).to_string()
    }

    /// The key of a value that [`normalise`] gave.
    #[must_use]
    pub fn key(&self, program: &ProgramId, kind: AliasKind, normalised: &str) -> SubjectKey {
        SubjectKey(self.hash(&[program.as_str(), kind.word()], normalised))
    }

    /// The bits of a [`digest`](crate::digest) of what was said of this program: the first 8 bytes of HMAC-SHA-256 over
    /// `program 0x00 digest 0x00 said`, little-endian.
    #[must_use]
    pub fn digest(&self, program: &ProgramId, said: &[u8]) -> u64 {
        let mut mac = self.0.clone();
        mac.update(program.as_str().as_bytes());
        mac.update(b"\0digest\0");
        mac.update(said);
        let hash = mac.finalize().into_bytes();
        let first = hash.first_chunk().expect("HMAC-SHA-256 gives 32 bytes");
        u64::from_le_bytes(*first)
    }

    fn hash(&self, parts: &[&str], last: &str) -> [u8; 16] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        mac.update(last.as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_program_kind_and_secret() {
        let (one, two) = (IdentityHasher::new(&[1; 32]), IdentityHasher::new(&[2; 32]));
        let (a, b): (ProgramId, ProgramId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let key = one.key(&a, AliasKind::Lead, "42");
        assert_eq!(key, one.key(&a, AliasKind::Lead, "42"));
        assert_ne!(key, one.key(&b, AliasKind::Lead, "42"));
        assert_ne!(key, one.key(&a, AliasKind::Customer, "42"));
        assert_ne!(key, two.key(&a, AliasKind::Lead, "42"));
        assert_eq!(key.to_string(), "abc8774147af9d83ea66434a5090f6c9");
    }
}
