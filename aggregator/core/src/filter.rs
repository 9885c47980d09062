//! Bloom filters that grow: a negative is certain, a positive must be confirmed exactly.
//!
//! A filter that is full would answer "maybe" ever more often, so another one of twice the size is
//! added behind it; an id is looked up in all of them and added to the newest.

use bloomfilter::Bloom;

/// How filters are sized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FilterSettings {
    /// Share of false positives of one full filter, above 0 and below 1.
    pub false_positive_rate: f64,
    /// Ids of the first filter.
    pub first_capacity: usize,
    /// Bytes that the filters of a partition may take.
    pub bytes_max: usize,
}

impl Default for FilterSettings {
    fn default() -> Self {
        FilterSettings { false_positive_rate: 1e-4, first_capacity: 1 << 18, bytes_max: 256 << 20 }
    }
}

/// A set of ids that only knows who is certainly not in it.
pub struct GrowingFilter {
    settings: FilterSettings,
    filters: Vec<Bloom<u128>>,
    capacity: usize,
    added: usize,
    bytes: usize,
}

impl GrowingFilter {
    /// An empty one, sized for `expected` ids, or for as many as fit into the bound: beyond them it says "maybe"
    /// more often. (Bits of a bloom filter: n ln(1/p) / ln²2.)
    #[must_use]
    pub fn new(settings: FilterSettings, expected: usize) -> GrowingFilter {
        let bits = settings.bytes_max as f64 * 8.0;
        let within_bound = bits * std::f64::consts::LN_2.powi(2) / -settings.false_positive_rate.ln();
        let capacity = settings.first_capacity.max(expected.min(within_bound as usize)).max(1);
        let mut filter = GrowingFilter { settings, filters: Vec::new(), capacity, added: 0, bytes: 0 };
        filter.grow(capacity);
        filter
    }

    fn grow(&mut self, capacity: usize) {
        let bits_bytes = Bloom::<u128>::compute_bitmap_size(capacity, self.settings.false_positive_rate);
        let seed = seed(self.filters.len());
        let bloom = Bloom::new_for_fp_rate_with_seed(capacity, self.settings.false_positive_rate, &seed)
            .expect("capacity and rate are above 0");
        self.filters.push(bloom);
        self.bytes += bits_bytes;
        self.capacity = capacity;
        self.added = 0;
    }

    /// Adds an id. `false`: it was certainly not there before. `true`: maybe it was.
    pub fn check_and_add(&mut self, id: u128) -> bool {
        let (newest, older) = self.filters.split_last_mut().expect("there is always one");
        if older.iter().any(|filter| filter.check(&id)) || newest.check_and_set(&id) {
            return true;
        }
        self.added += 1;
        if self.added >= self.capacity && self.bytes < self.settings.bytes_max {
            self.grow(self.capacity * 2);
        }
        false
    }

    /// Bytes of the bit maps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A seed of its own for each filter of a chain. It need not be secret: ids are made here, not by
/// visitors, and every positive is confirmed. Its two halves key two hash functions and must differ.
fn seed(number: usize) -> [u8; 32] {
    std::array::from_fn(|at| (at as u8).wrapping_mul(37) ^ (number as u8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(first_capacity: usize, bytes_max: usize) -> FilterSettings {
        FilterSettings { false_positive_rate: 0.01, first_capacity, bytes_max }
    }

    /// Ids without a pattern.
    fn id(n: u128) -> u128 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn the_realised_rate_stays_near_the_nominal_one_while_it_grows() {
        let mut filter = GrowingFilter::new(settings(1000, usize::MAX), 0);
        let maybe = (0..50_000).filter(|n| filter.check_and_add(id(*n))).count();
        // Each of the seven filters it grows to adds its own share.
        assert!(maybe < 50_000 * 7 / 100, "{maybe} of 50,000");
    }

    #[test]
    fn what_it_expects_does_not_take_it_past_its_bound() {
        let filter = GrowingFilter::new(settings(100, 10_000), 1 << 30);
        assert!((9_000..=10_001).contains(&filter.bytes()), "{}", filter.bytes());
    }

    #[test]
    fn it_stops_growing_at_its_bound_and_still_forgets_nothing() {
        let mut filter = GrowingFilter::new(settings(100, 1000), 0);
        (0..5000).for_each(|n| {
            filter.check_and_add(id(n));
        });
        assert!(filter.bytes() < 3000, "{}", filter.bytes());
        assert!((0..5000).all(|n| filter.check_and_add(id(n))));
    }

    proptest! {
        #[test]
        fn what_was_added_is_never_called_new(ids in proptest::collection::vec(any::<u128>(), 1..500)) {
            let mut filter = GrowingFilter::new(settings(10, usize::MAX), 0);
            for id in &ids {
                filter.check_and_add(*id);
            }
            for id in &ids {
                prop_assert!(filter.check_and_add(*id));
            }
        }
    }
}
