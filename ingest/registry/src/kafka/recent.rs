//! The random words of the transactions read last, by which a writer knows its own again. Pure.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// Far more transactions than can be committed within one write's time.
const RECENT_MAX: usize = 4096;

/// Names one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonce([u8; 16]);

impl Nonce {
    pub(super) fn draw() -> Nonce {
        Nonce(Uuid::now_v7().into_bytes())
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Nonce> {
        Some(Nonce(bytes.try_into().ok()?))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The last transactions, newest at the back.
#[derive(Debug, Default)]
pub(super) struct RecentTransactions(Mutex<VecDeque<Nonce>>);

impl RecentTransactions {
    /// A record of this transaction was read. The records of one come one after another.
    pub(super) fn note(&self, nonce: Nonce) {
        let mut recent = self.lock();
        if recent.back() == Some(&nonce) {
            return;
        }
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(nonce);
    }

    pub(super) fn has(&self, nonce: Nonce) -> bool {
        self.lock().iter().rev().any(|recent| *recent == nonce)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Nonce>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_remembered_than_the_limit() {
        let recent = RecentTransactions::default();
        let nonces: Vec<Nonce> = (0..=RECENT_MAX as u128).map(|n| Nonce(n.to_be_bytes())).collect();
        for nonce in &nonces {
            recent.note(*nonce);
            recent.note(*nonce);
        }
        assert!(!recent.has(nonces[0]));
        assert!(recent.has(nonces[1]) && recent.has(nonces[RECENT_MAX]));
        assert_eq!(recent.lock().len(), RECENT_MAX);
    }
}
