//! One core's own way to links: no lock, and nothing written that another core reads.
//!
//! The table's look-up takes a shard's lock and counts a reference, and both are cache lines that travel
//! between cores: most for the one link that everybody clicks. Here a core keeps the links it met in slots
//! chosen by a hash of the key. A link that is replaced in the table says so itself, so what is kept is never
//! stale.

use std::sync::Arc;

use super::{LinkTable, ResolvedLink};

/// Slots of a core: 4 MiB of memory when all are used. Two links of one slot take turns.
pub const SLOTS: usize = 1 << 18;

/// A core's links.
#[derive(Debug)]
pub struct LinkCache {
    table: Arc<LinkTable>,
    slots: Box<[Option<Arc<ResolvedLink>>]>,
}

/// Where a key's link would be.
#[derive(Clone, Copy, Debug)]
pub struct Slot(usize);

/// A look-up goes in three steps, so that the caller can do something else while memory answers: of links
/// asked for at random neither slot nor link is in the processor's caches, and each is worth 100 to 200 ns.
impl LinkCache {
    /// An empty cache before `table`; `slots` is a power of two.
    #[must_use]
    pub fn new(table: Arc<LinkTable>, slots: usize) -> LinkCache {
        assert!(slots.is_power_of_two(), "slots are chosen by bits of a hash");
        LinkCache { table, slots: vec![None; slots].into() }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &LinkTable {
        &self.table
    }

    /// First: has the key's slot brought near.
    #[must_use]
    pub fn seek(&self, key: &str) -> Slot {
        let slot = hash(key.as_bytes()) as usize & (self.slots.len() - 1);
        prefetch(&self.slots[slot]);
        Slot(slot)
    }

    /// Second: has the link in the slot brought near, whichever it is.
    pub fn fetch(&self, slot: Slot) {
        if let Some(link) = &self.slots[slot.0] {
            prefetch(&**link);
        }
    }

    /// Last: the link of this key, as the table has it.
    pub fn link(&mut self, slot: Slot, key: &str) -> Option<&ResolvedLink> {
        let slot = &mut self.slots[slot.0];
        let is_it = |link: &Arc<ResolvedLink>| link.key() == key.as_bytes() && !link.is_replaced();
        if !slot.as_ref().is_some_and(is_it) {
            *slot = Some(self.table.link(key)?);
        }
        slot.as_deref()
    }
}

/// Has what `value` points at brought into the first-level cache, without waiting for it.
fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE_BYTES: usize = 64;
        let start = std::ptr::from_ref(value).cast::<i8>();
        // The longest links have more lines than are worth having before they are asked for.
        for line in (0..size_of_val(value).min(6 * LINE_BYTES)).step_by(LINE_BYTES) {
            // SAFETY: prefetching reads nothing that the program could see, and cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Multiply and fold, eight bytes at a time (as in wyhash). Not keyed: who finds keys of one slot makes
/// his own requests a little slower.
fn hash(key: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let fold = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(ODD);
        (product >> 64) as u64 ^ product as u64
    };
    let (words, rest) = key.as_chunks::<8>();
    let state =
        words.iter().fold(ODD ^ key.len() as u64, |state, word| fold(state, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(fold(state, u64::from_le_bytes(last)), ODD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::links::TableLimits;
    use whence_schemas::event::{Link, RegistryEntry, registry_entry::Entry};

    fn put(table: &LinkTable, version: u64, code: &str) {
        let link = Link {
            host: "go.example".into(),
            code: code.into(),
            program: "demo".into(),
            destination: "https://shop.example/".into(),
            ..Link::default()
        };
        table.apply(&RegistryEntry { version, changed_at_ms: 0, entry: Some(Entry::Link(link)) });
    }

    fn found<'c>(cache: &'c mut LinkCache, key: &str) -> Option<&'c ResolvedLink> {
        let slot = cache.seek(key);
        cache.fetch(slot);
        cache.link(slot, key)
    }

    #[test]
    fn a_change_in_the_table_is_seen_at_once() {
        let table = Arc::new(LinkTable::new(TableLimits::default()));
        let mut cache = LinkCache::new(Arc::clone(&table), 8);
        assert!(found(&mut cache, "go.example/a").is_none());
        for version in 1..5 {
            put(&table, version, "a");
            for _ in 0..2 {
                assert_eq!(found(&mut cache, "go.example/a").map(|link| link.version), Some(version));
            }
        }
    }

    #[test]
    fn links_of_one_slot_take_turns() {
        let table = Arc::new(LinkTable::new(TableLimits::default()));
        let mut cache = LinkCache::new(Arc::clone(&table), 1);
        put(&table, 1, "a");
        put(&table, 2, "b");
        for _ in 0..3 {
            assert_eq!(found(&mut cache, "go.example/a").unwrap().key(), b"go.example/a");
            assert_eq!(found(&mut cache, "go.example/b").unwrap().key(), b"go.example/b");
            assert!(found(&mut cache, "go.example/c").is_none());
        }
    }

    #[test]
    fn keys_that_differ_little_spread_over_the_slots() {
        let slots: std::collections::HashSet<u64> =
            (0..1000).map(|n| hash(format!("go.example/l{n}").as_bytes()) & 0xffff).collect();
        assert!(slots.len() > 950, "{}", slots.len());
    }
}
