//! When a message that an endpoint did not take is tried again, and when it is given up. Pure: times and chance
//! come in.

use std::time::Duration;
use whence_schemas::time::UnixMs;

/// Exponential backoff with jitter, for a bounded time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Wait after the first try; doubles with every further one.
    pub first: Duration,
    /// The longest wait, also where the endpoint asks for a longer one.
    pub max: Duration,
    /// A message is given up this long after its first try: the last one is then.
    pub give_up_after: Duration,
}

impl RetryPolicy {
    /// When to try again what has just failed for the `tries`-th time, at `now`; `None`: give it up. Half of the
    /// wait is left to `chance` (0 to 1), so that what failed together does not come back together. `asked` is what
    /// the endpoint asked for.
    #[must_use]
    pub fn again_at(
        &self,
        tries: u32,
        first_at: UnixMs,
        now: UnixMs,
        chance: f64,
        asked: Option<Duration>,
    ) -> Option<UnixMs> {
        let give_up_at = first_at.plus_ms(ms(self.give_up_after));
        if now >= give_up_at {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << tries.saturating_sub(1).min(30));
        let wait = doubled.min(self.max).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        let wait = wait.max(asked.unwrap_or_default().min(self.max));
        Some(now.plus_ms(ms(wait).max(1)).min(give_up_at))
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first: Duration::from_secs(5),
        max: Duration::from_secs(3600),
        give_up_after: Duration::from_secs(86_400),
    };

    #[test]
    fn a_dead_endpoint_is_tried_for_a_day_and_the_last_time_at_its_end() {
        for (chance, tries_expected) in [(0.0, 58), (1.0, 34)] {
            let (mut now, mut tries) = (UnixMs(0), 1);
            while let Some(next) = POLICY.again_at(tries, UnixMs(0), now, chance, None) {
                now = next;
                tries += 1;
            }
            assert_eq!((now, tries), (UnixMs(86_400_000), tries_expected), "{chance}");
        }
    }

    proptest! {
        #[test]
        fn waits_are_bounded_and_grow(tries in 1u32..100, at in 0i64..86_400_000, chance in 0.0f64..1.0, asked in proptest::option::of(0u64..10_000_000)) {
            let asked = asked.map(Duration::from_millis);
            let again = POLICY.again_at(tries, UnixMs(0), UnixMs(at), chance, asked).unwrap();
            let wait = again.0 - at;
            prop_assert!((1..=3_600_000).contains(&wait) && again.0 <= 86_400_000);
            let least = (5000i64 << tries.min(20).saturating_sub(1)).min(3_600_000) / 2;
            prop_assert!(again.0 == 86_400_000 || wait >= least, "{wait} {least}");
            if let Some(asked) = asked {
                prop_assert!(again.0 == 86_400_000 || wait >= asked.as_millis().min(3_600_000) as i64);
            }
        }
    }
}
