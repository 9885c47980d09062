//! The open loop: arrivals have their times whether or not the system keeps up.

use super::Random;
use rand::RngExt as _;
use std::time::Duration;

/// When arrivals come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// Evenly spaced.
    Even,
    /// A Poisson process: independent of each other, as people are.
    Poisson,
}

/// The times of arrivals since the start, in order.
#[derive(Debug)]
pub struct Arrivals {
    rhythm: Rhythm,
    mean_gap_s: f64,
    left: u64,
    at_s: f64,
    random: Random,
}

impl Arrivals {
    /// `count` arrivals at `rate` a second (above 0), the first after `offset_s` seconds.
    #[must_use]
    pub fn new(rhythm: Rhythm, rate: f64, count: u64, offset_s: f64, random: Random) -> Arrivals {
        Arrivals { rhythm, mean_gap_s: 1.0 / rate, left: count, at_s: offset_s, random }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let at = Duration::from_secs_f64(self.at_s);
        self.at_s += match self.rhythm {
            Rhythm::Even => self.mean_gap_s,
            // The inverse of the exponential distribution's distribution function.
            Rhythm::Poisson => -self.mean_gap_s * (1.0 - self.random.random::<f64>()).ln(),
        };
        Some(at)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::random, *};

    fn times(rhythm: Rhythm, count: u64) -> Vec<f64> {
        Arrivals::new(rhythm, 1000.0, count, 0.5, random(1, 0)).map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn even_arrivals_keep_their_distance() {
        let times = times(Rhythm::Even, 3);
        for (time, expected) in times.iter().zip([0.5, 0.501, 0.502]) {
            assert!((time - expected).abs() < 1e-9, "{times:?}");
        }
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_its_spread() {
        let times = times(Rhythm::Poisson, 100_000);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 1000.0 - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() * 1000.0 - 1.0).abs() < 0.05, "an exponential's deviation is its mean");
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
    }
}
