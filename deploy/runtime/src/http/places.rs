//! The places of one listener whose connections run on many threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::seats::{Guest, Seating, Seats};

/// Whoever is told to leave does so in its next turn. A newcomer that waits longer than this for it is refused:
/// the threads have no time for it either.
const TURN_MAX: Duration = Duration::from_secs(1);

/// The places.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    seats: Mutex<Seats<CancellationToken>>,
    left: Notify,
}

impl ConnectionSlots {
    pub(super) fn new(places_max: usize, share_percent: usize) -> Arc<Self> {
        Arc::new(Self { seats: Mutex::new(Seats::new(places_max, share_percent)), left: Notify::new() })
    }

    /// A place for `guest`, which somebody may have to leave for it; `None` if nobody can, or not in time.
    pub(super) async fn seat(self: &Arc<Self>, guest: Guest) -> Option<ConnectionSlot> {
        timeout(TURN_MAX, self.seat_for(guest)).await.ok().flatten()
    }

    async fn seat_for(self: &Arc<Self>, guest: Guest) -> Option<ConnectionSlot> {
        let told = CancellationToken::new();
        loop {
            // Taken before looking, so that who leaves in between is not missed.
            let left = self.left.notified();
            let seating = {
                let mut seats = self.lock();
                let seating = seats.take(guest, told.clone());
                if let Seating::After(seat) = seating {
                    seats.kept(seat).cancel();
                }
                seating
            };
            match seating {
                Seating::Seat(seat) => return Some(ConnectionSlot { places: Arc::clone(self), seat, told }),
                Seating::After(_) | Seating::Soon => left.await,
                Seating::Full => return None,
            }
        }
    }

    /// Tells somebody to leave although nobody has come for the place.
    pub(super) fn make_room(&self) {
        let mut seats = self.lock();
        if let Some(seat) = seats.make_room() {
            seats.kept(seat).cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seats<CancellationToken>> {
        // Nothing under the lock leaves the seats half changed.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    places: Arc<ConnectionSlots>,
    seat: usize,
    /// Cancelled when the connection is to leave for another one.
    pub(super) told: CancellationToken,
}

impl ConnectionSlot {
    /// Something came, or an answer is not taken.
    pub(super) fn begun(&self) {
        self.places.lock().begun(self.seat);
    }

    /// A request is being answered.
    pub(super) fn served(&self) {
        self.places.lock().served(self.seat);
    }

    /// Whether a request is being answered.
    pub(super) fn is_served(&self) -> bool {
        self.places.lock().is_served(self.seat)
    }

    /// The request is answered.
    pub(super) fn heard(&self) {
        self.places.lock().heard(self.seat);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.places.lock().leave(self.seat);
        self.places.left.notify_one();
    }
}
