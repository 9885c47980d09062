//! Disjoint sets of keys.

use std::collections::BTreeMap;

/// Keys that were found to belong together (union-find with path halving). A key that was never joined is in no set.
pub(super) struct Sets<K> {
    of: BTreeMap<K, usize>,
    parents: Vec<usize>,
}

impl<K: Copy + Ord> Sets<K> {
    /// None yet.
    pub fn new() -> Sets<K> {
        Sets { of: BTreeMap::new(), parents: Vec::new() }
    }

    /// All of these are of one set; its number, which [`Sets::root`] makes final.
    pub fn join(&mut self, keys: impl IntoIterator<Item = K>) -> usize {
        let set = self.parents.len();
        self.parents.push(set);
        for key in keys {
            match self.of.get(&key) {
                None => _ = self.of.insert(key, set),
                Some(other) => {
                    let (root, mine) = (self.root(*other), self.root(set));
                    self.parents[mine] = root;
                }
            }
        }
        set
    }

    /// The set that a key is in, after all that was joined.
    pub fn set_of(&mut self, key: K) -> Option<usize> {
        let at = *self.of.get(&key)?;
        Some(self.root(at))
    }

    /// The set of this number as it is after all that was joined.
    pub fn root(&mut self, mut at: usize) -> usize {
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }
}
