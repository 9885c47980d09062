//! Digests of events: numbers that tell another event under an id from the same one sent again.

/// The highest bit: what the digest is of was made of a provider's delivery, and is less than what other callers say.
const OF_DELIVERY: u64 = 1 << 63;

/// A digest from 64 random-looking bits. Never 0, which stands for an event without one.
#[must_use]
pub fn of(bits: u64, is_delivery: bool) -> u64 {
    let bits = (bits & !OF_DELIVERY).max(1);
    if is_delivery { bits | OF_DELIVERY } else { bits }
}

/// Whether two events under one id are known to say different things. Those of which nothing is known, or different
/// parts, are taken for the same.
#[must_use]
pub fn tell_apart(first: u64, second: u64) -> bool {
    first != 0 && second != 0 && first & OF_DELIVERY == second & OF_DELIVERY && first != second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_compared_is() {
        assert!(tell_apart(of(7, false), of(8, false)) && tell_apart(of(7, true), of(8, true)));
        assert!(!tell_apart(of(7, false), of(7, false)), "the same");
        assert!(!tell_apart(of(7, false), of(8, true)), "of different parts");
        assert!(!tell_apart(0, of(8, false)) && !tell_apart(of(8, true), 0), "nothing is known");
        assert_eq!((of(0, false), of(OF_DELIVERY, false)), (1, 1));
    }
}
