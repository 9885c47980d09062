//! A quick hash for caches: multiply and fold, eight bytes at a time, as in wyhash.
//!
//! For caches only, which are bounded: who finds texts of one hash makes some requests a little slower, and
//! nothing grows.

use std::hash::{BuildHasher, Hasher};

/// 2^64 over the golden ratio, made odd.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The hash of `text`.
#[must_use]
pub fn hash(seed: u64, text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let start = seed ^ ODD ^ text.len() as u64;
    let state = words.iter().fold(start, |state, word| fold(state, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(fold(state, u64::from_le_bytes(last)), ODD)
}

fn fold(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * u128::from(ODD);
    (product >> 64) as u64 ^ product as u64
}

/// For a map of texts.
#[derive(Clone, Copy, Debug)]
pub struct FoldState(pub u64);

impl BuildHasher for FoldState {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        FoldHasher(self.0)
    }
}

/// See [`hash`].
#[derive(Clone, Copy, Debug)]
pub struct FoldHasher(u64);

impl Hasher for FoldHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(self.0, bytes);
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = fold(self.0, number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn texts_that_differ_little_differ_in_low_and_high_bits() {
        let hashes = || (0..1000).map(|n| hash(7, format!("go.example/l{n}").as_bytes()));
        let spread = |bits: fn(u64) -> u64| hashes().map(bits).collect::<HashSet<u64>>().len();
        assert!(spread(|hash| hash & 0xffff) > 950 && spread(|hash| hash >> 48) > 950);
        assert_ne!(hash(7, b"a"), hash(7, b"a\0"));
        assert_ne!(hash(7, b"a"), hash(8, b"a"));
    }
}
