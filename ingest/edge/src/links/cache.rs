//! One core's own way to links: no lock, and nothing written that another core reads.
//!
//! The table's look-up takes a shard's lock and counts a reference, and both are cache lines that travel
//! between cores: most for the one link that everybody clicks. Here a core keeps the links it met in sets
//! chosen by a hash of the key. A link that is replaced in the table says so itself, so what is kept is never
//! stale.

use std::sync::Arc;

use super::{LinkTable, ResolvedLink};
use crate::fold;

/// Sets of a core: 4 MiB of memory, room for 200,000 links.
pub const SETS: usize = 1 << 16;
/// Links of a set, as many as fit a cache line. What is over takes turns.
const WAYS: usize = 3;

/// A core's links.
#[derive(Debug)]
pub struct LinkCache {
    table: Arc<LinkTable>,
    sets: Box<[Set]>,
}

/// One cache line. Tags tell the links apart without a look at them.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Set {
    links: [Option<Arc<ResolvedLink>>; WAYS],
    tags: [u32; WAYS],
}

/// Where a key's link would be.
#[derive(Clone, Copy, Debug)]
pub struct CacheSlot {
    set: usize,
    tag: u32,
}

impl Set {
    /// The way of this tag; if there is none, an empty one; if there is none, one to be given up.
    fn way(&self, tag: u32) -> usize {
        let tagged = (0..WAYS).find(|way| self.tags[*way] == tag && self.links[*way].is_some());
        let empty = || self.links.iter().position(Option::is_none);
        tagged.or_else(empty).unwrap_or(tag as usize % WAYS)
    }
}

/// A look-up goes in three steps, so that the caller can do something else while memory answers: of links
/// asked for at random neither set nor link is in the processor's caches, and each is worth 100 to 200 ns.
impl LinkCache {
    /// An empty cache before `table`; `sets` is a power of two.
    #[must_use]
    pub fn new(table: Arc<LinkTable>, sets: usize) -> LinkCache {
        assert!(sets.is_power_of_two(), "sets are chosen by bits of a hash");
        LinkCache { table, sets: vec![Set::default(); sets].into() }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &LinkTable {
        &self.table
    }

    /// First: has the key's set brought near.
    #[must_use]
    pub fn seek(&self, key: &str) -> CacheSlot {
        let hash = fold::hash(0, key.as_bytes());
        let place = CacheSlot { set: hash as usize & (self.sets.len() - 1), tag: (hash >> 32) as u32 };
        prefetch(&self.sets[place.set]);
        place
    }

    /// Second: has the link that seems to be the key's brought near.
    pub fn fetch(&self, place: CacheSlot) {
        let set = &self.sets[place.set];
        if let Some(link) = &set.links[set.way(place.tag)] {
            prefetch(&**link);
        }
    }

    /// Last: the link of this key, as the table has it.
    pub fn link(&mut self, place: CacheSlot, key: &str) -> Option<&ResolvedLink> {
        let set = &mut self.sets[place.set];
        let way = set.way(place.tag);
        let is_it = |link: &Arc<ResolvedLink>| link.key() == key.as_bytes() && !link.is_replaced();
        if !set.links[way].as_ref().is_some_and(is_it) {
            set.links[way] = Some(self.table.link(key)?);
            set.tags[way] = place.tag;
        }
        set.links[way].as_deref()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::TableLimits;
    use whence_schemas::event::{Link, RegistryEntry, registry_entry::Entry};

    fn put(table: &LinkTable, version: u64, code: &str) {
        let link = Link {
            host: "go.example".into(),
            code: code.into(),
            program: "demo".into(),
            destination: "https://shop.example/".into(),
            ..Link::default()
        };
        table.apply(&RegistryEntry { version, entry: Some(Entry::Link(link)), ..RegistryEntry::default() });
    }

    fn found<'c>(cache: &'c mut LinkCache, key: &str) -> Option<&'c ResolvedLink> {
        let place = cache.seek(key);
        cache.fetch(place);
        cache.link(place, key)
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
    fn links_of_one_set_share_it_and_take_turns() {
        let table = Arc::new(LinkTable::new(TableLimits::default()));
        let mut cache = LinkCache::new(Arc::clone(&table), 1);
        for code in 0..10 {
            put(&table, code + 1, &code.to_string());
        }
        for code in (0..10).chain(0..10).chain([0, 0, 9, 9]) {
            let key = format!("go.example/{code}");
            assert_eq!(found(&mut cache, &key).map(ResolvedLink::key), Some(key.as_bytes()));
            assert!(found(&mut cache, "go.example/c").is_none());
        }
    }

    #[test]
    fn a_set_is_one_cache_line() {
        assert_eq!(size_of::<Set>(), 64);
    }
}
