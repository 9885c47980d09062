//! Places to run a statement in, and a bounded queue before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::reply::Failure;
use crate::metrics::REFUSED;

/// A number of places for statements of one kind.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    places_max: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait_max: Duration,
}

impl Gate {
    /// A gate with `places_max` places, before which `waiting_max` may wait for `wait_max` each.
    #[must_use]
    pub fn new(places_max: usize, waiting_max: usize, wait_max: Duration) -> Self {
        let places = Arc::new(Semaphore::new(places_max));
        Self { places, places_max, waiting: AtomicUsize::new(0), waiting_max, wait_max }
    }

    /// Waits for a place; the permit is the place.
    ///
    /// # Errors
    /// 202, if too many wait already or the wait is over.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let waiting = Waiting::join(&self.waiting);
        if waiting.before >= self.waiting_max {
            return Err(self.full("waiting"));
        }
        match timeout(self.wait_max, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(self.full("wait_time")),
        }
    }

    fn full(&self, bound: &'static str) -> Failure {
        counter!(REFUSED, "bound" => bound).increment(1);
        let message = format!("Too many simultaneous queries. Maximum: {}", self.places_max);
        Failure::busy(202, "TOO_MANY_SIMULTANEOUS_QUERIES", &message)
    }
}

/// One in the queue, until dropped.
struct Waiting<'gate> {
    waiting: &'gate AtomicUsize,
    before: usize,
}

impl<'gate> Waiting<'gate> {
    fn join(waiting: &'gate AtomicUsize) -> Self {
        Self { waiting, before: waiting.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_is_refused_at_once() {
        let gate = Gate::new(1, 0, Duration::from_secs(3600));
        let place = gate.enter().await.unwrap();
        let refused = gate.enter().await.unwrap_err();
        assert_eq!((refused.exception.code, refused.status.as_u16()), (202, 503));
        drop(place);
        drop(gate.enter().await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_over_is_refused_and_leaves_the_queue() {
        let gate = Gate::new(1, 1, Duration::from_secs(5));
        let _place = gate.enter().await.unwrap();
        assert_eq!(gate.enter().await.unwrap_err().exception.code, 202);
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }
}
