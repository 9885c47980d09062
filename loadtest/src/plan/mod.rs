//! What to send and when: seeded, pure, and aware of what each request is because it makes it.
//!
//! | module | what it does |
//! |---|---|
//! | [`arrivals`] | when clicks are due |
//! | [`agents`] | the headers of people, bots, previews and prefetches |
//! | [`clicks`] | which link, which visitor, as what |
//! | [`visitors`] | people who come back, with their cookies and tokens |
//! | [`stories`] | what follows a click: leads, qualifications, repeats, nonsense |
//!
//! It knows no HTTP client and no clock.

pub mod agents;
pub mod arrivals;
pub mod clicks;
pub mod stories;
pub mod visitors;

/// The generator of everything random, one a worker. Its algorithm is fixed, so a seed keeps its meaning.
pub type Random = rand::rngs::Xoshiro256PlusPlus;

/// A generator for this part of a run.
#[must_use]
pub fn random(seed: u64, part: u64) -> Random {
    use rand::SeedableRng as _;
    Random::seed_from_u64(seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
