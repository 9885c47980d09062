//! Which clicks of a block were there before.
//!
//! One growing filter for each hour of id time, loaded from the store when an hour is first met. Most
//! ids are certainly new. The rest is looked up exactly: first in this block, then in the last blocks
//! this process stored, then in the store, in one batched query. A few ids of an hour that is not
//! loaded are looked up without loading it.

use crate::{
    filter::{FilterSettings, GrowingFilter},
    position::Horizon,
    store::{Store, StoreError},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};
use whence_schemas::{
    rows::ClickRow,
    time::{HOUR_MS, UnixMs},
};

/// How clicks are deduplicated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DedupSettings {
    /// Sizes of the filters; `bytes_max` is for all hours of a partition together.
    pub filter: FilterSettings,
    /// An hour that is not loaded is loaded for this many ids in a block; fewer are looked up.
    pub load_from_ids: usize,
    /// Exact ids of this many past blocks are kept.
    pub recent_blocks: usize,
}

impl Default for DedupSettings {
    fn default() -> Self {
        DedupSettings { filter: FilterSettings::default(), load_from_ids: 64, recent_blocks: 4 }
    }
}

/// What deduplication did, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DedupTally {
    /// Ids that a filter was asked for.
    pub checked: u64,
    /// Of these, "maybe seen".
    pub maybe: u64,
    /// Of these, certainly not seen: the filter's false positives.
    pub false_positives: u64,
    /// Ids looked up in the store.
    pub looked_up: u64,
    /// Hours loaded from the store.
    pub hours_loaded: u64,
    /// Hours dropped because the filters had reached their bound.
    pub hours_dropped: u64,
}

/// A click id is random in its last 8 bytes: they are the hash.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            self.0 = self.0.rotate_left(5) ^ u64::from_le_bytes(eight).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (id >> 64) as u64;
    }
}

type IdSet = HashSet<u128, BuildHasherDefault<IdHasher>>;
type IdMap<V> = HashMap<u128, V, BuildHasherDefault<IdHasher>>;

struct Hour {
    filter: GrowingFilter,
    used_at: u64,
}

/// The filters of one partition of clicks.
pub struct ClickDedup {
    settings: DedupSettings,
    hours: BTreeMap<i64, Hour>,
    recent: VecDeque<IdSet>,
    blocks: u64,
    tally: DedupTally,
}

impl ClickDedup {
    /// With no hour loaded.
    #[must_use]
    pub fn new(settings: DedupSettings) -> ClickDedup {
        ClickDedup {
            settings,
            hours: BTreeMap::new(),
            recent: VecDeque::new(),
            blocks: 0,
            tally: DedupTally::default(),
        }
    }

    /// What was done since the last call.
    pub fn take_tally(&mut self) -> DedupTally {
        std::mem::take(&mut self.tally)
    }

    /// Bytes of all filters.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.hours.values().map(|hour| hour.filter.bytes()).sum()
    }

    /// The places in `clicks` of those whose id stands earlier in it or is stored before the horizon.
    ///
    /// Afterwards the filters know the block; should it then not be stored, this state must be dropped
    /// (every positive is confirmed, so that at worst costs look-ups).
    pub async fn duplicates<S: Store>(
        &mut self,
        before: &Horizon,
        clicks: &[ClickRow],
        store: &S,
    ) -> Result<HashSet<usize>, StoreError> {
        self.blocks += 1;
        self.load_hours(before, clicks, store).await?;
        let suspects = self.suspects(clicks);
        let duplicates = match suspects.is_empty() {
            true => HashSet::new(),
            false => self.confirm(before, clicks, suspects, store).await?,
        };
        self.remember(clicks);
        self.drop_hours();
        Ok(duplicates)
    }

    async fn load_hours<S: Store>(
        &mut self,
        before: &Horizon,
        clicks: &[ClickRow],
        store: &S,
    ) -> Result<(), StoreError> {
        let mut wanted: BTreeMap<i64, usize> = BTreeMap::new();
        for click in clicks {
            *wanted.entry(hour_of(click.ts)).or_default() += 1;
        }
        for (hour, ids) in wanted {
            if let Some(loaded) = self.hours.get_mut(&hour) {
                loaded.used_at = self.blocks;
            } else if ids >= self.settings.load_from_ids {
                let from = UnixMs(hour * HOUR_MS);
                let stored = store.click_ids(before, from, from.plus_ms(HOUR_MS)).await?;
                let mut filter = GrowingFilter::new(self.settings.filter, stored.len() + ids);
                for id in stored {
                    filter.check_and_add(id.0.as_u128());
                }
                self.tally.hours_loaded += 1;
                self.hours.insert(hour, Hour { filter, used_at: self.blocks });
            }
        }
        Ok(())
    }

    /// The ids that may have been seen before, in this block or earlier.
    fn suspects(&mut self, clicks: &[ClickRow]) -> IdMap<Suspect> {
        let mut suspects = IdMap::default();
        for click in clicks {
            let id = click.id.0.as_u128();
            let suspicion = match self.hours.get_mut(&hour_of(click.ts)) {
                Some(hour) => {
                    self.tally.checked += 1;
                    hour.filter.check_and_add(id).then_some(Suspect::ByFilter)
                }
                None => Some(Suspect::HourNotLoaded),
            };
            if let Some(suspicion) = suspicion {
                suspects.entry(id).or_insert(suspicion);
            }
        }
        suspects
    }

    async fn confirm<S: Store>(
        &mut self,
        before: &Horizon,
        clicks: &[ClickRow],
        suspects: IdMap<Suspect>,
        store: &S,
    ) -> Result<HashSet<usize>, StoreError> {
        let mut duplicates = HashSet::new();
        let mut in_block = IdSet::default();
        let mut open = Vec::new();
        for (at, click) in clicks.iter().enumerate() {
            let id = click.id.0.as_u128();
            if !suspects.contains_key(&id) {
                continue;
            }
            if !in_block.insert(id) || self.recent.iter().any(|block| block.contains(&id)) {
                duplicates.insert(at);
            } else {
                open.push(at);
            }
        }
        let names: Vec<_> = open.iter().map(|at| (clicks[*at].program.0.clone(), clicks[*at].id)).collect();
        let known =
            if names.is_empty() { HashSet::new() } else { store.clicks_known(before, &names).await? };
        duplicates.extend(open.iter().filter(|at| known.contains(&clicks[**at].id)));

        self.tally.looked_up += names.len() as u64;
        let repeated: IdSet = duplicates.iter().map(|at| clicks[*at].id.0.as_u128()).collect();
        for (id, suspect) in &suspects {
            if *suspect == Suspect::ByFilter {
                self.tally.maybe += 1;
                self.tally.false_positives += u64::from(!repeated.contains(id));
            }
        }
        Ok(duplicates)
    }

    fn remember(&mut self, clicks: &[ClickRow]) {
        if self.settings.recent_blocks == 0 {
            return;
        }
        let mut block = match self.recent.len() < self.settings.recent_blocks {
            true => IdSet::default(),
            false => self.recent.pop_front().expect("recent_blocks is above 0"),
        };
        block.clear();
        block.extend(clicks.iter().map(|click| click.id.0.as_u128()));
        self.recent.push_back(block);
    }

    /// Drops the hours that were used longest ago until the rest fits.
    fn drop_hours(&mut self) {
        while self.hours.len() > 1 && self.bytes() > self.settings.filter.bytes_max {
            let oldest =
                self.hours.iter().min_by_key(|(hour, state)| (state.used_at, **hour)).map(|(hour, _)| *hour);
            self.hours.remove(&oldest.expect("there is more than one"));
            self.tally.hours_dropped += 1;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Suspect {
    ByFilter,
    HourNotLoaded,
}

fn hour_of(ts: UnixMs) -> i64 {
    ts.0.div_euclid(HOUR_MS)
}
