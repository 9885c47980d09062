//! Places for connections: so many of each kind, and when a kind has no more, its longest idle one makes
//! room. Idle is a connection without a request in progress, an answer that is still read included.
//!
//! A connection begins as a stranger's and becomes the owner's or the reader's with its first request that
//! says so. So whoever opens connections, however many, pushes out other strangers, and never a process or
//! a person that is known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use crate::metrics::{CONNECTIONS, EVICTED, REFUSED};
use crate::rights::Identity;

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stranger,
    Known(Identity),
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Known(identity) => identity.label(),
        }
    }
}

/// How many places of each kind there are.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Of those who have not said who they are.
    pub strangers: usize,
    /// Of the owner.
    pub owner: usize,
    /// Of the reader.
    pub reader: usize,
}

impl Room {
    fn of(self, kind: Kind) -> usize {
        match kind {
            Kind::Stranger => self.strangers,
            Kind::Known(Identity::Owner) => self.owner,
            Kind::Known(Identity::Reader) => self.reader,
        }
    }
}

/// All places of a listener.
#[derive(Debug)]
pub struct ConnectionSlots {
    room: Room,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: Vec<Seat>,
    /// Grows with every sign of life: who has the smallest has been idle longest.
    now: u64,
}

#[derive(Debug)]
struct Seat {
    id: u64,
    kind: Kind,
    requests: usize,
    since: u64,
    leave: CancellationToken,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    places: Arc<ConnectionSlots>,
    id: u64,
    leave: CancellationToken,
}

/// A request in progress, until dropped.
#[derive(Debug)]
pub struct Busy {
    place: Arc<ConnectionSlot>,
}

impl ConnectionSlots {
    /// Places for so many.
    #[must_use]
    pub fn new(room: Room) -> Arc<Self> {
        Arc::new(Self { room, seats: Mutex::default() })
    }

    /// A stranger's place. `None` if all are taken and none is idle.
    pub fn take(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let mut seats = self.seats();
        if !seats.make_room(Kind::Stranger, self.room.strangers, None) {
            counter!(REFUSED, "bound" => "strangers").increment(1);
            return None;
        }
        seats.now += 1;
        let (id, leave) = (seats.now, CancellationToken::new());
        seats.taken.push(Seat { id, kind: Kind::Stranger, requests: 0, since: id, leave: leave.clone() });
        gauge!(CONNECTIONS).increment(1.0);
        Some(ConnectionSlot { places: Arc::clone(self), id, leave })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Whether there is a place of this kind for one more than `except`; the longest idle one is told to
    /// leave for it.
    fn make_room(&mut self, kind: Kind, places_max: usize, except: Option<u64>) -> bool {
        let others = |seat: &&mut Seat| seat.kind == kind && Some(seat.id) != except;
        if self.taken.iter_mut().filter(others).count() < places_max {
            return true;
        }
        let idle = self.taken.iter_mut().filter(others).filter(|seat| seat.requests == 0);
        let Some(longest) = idle.min_by_key(|seat| seat.since) else {
            return false;
        };
        longest.leave.cancel();
        let id = longest.id;
        self.taken.retain(|seat| seat.id != id);
        gauge!(CONNECTIONS).decrement(1.0);
        counter!(EVICTED, "kind" => kind.label()).increment(1);
        true
    }

    fn seat(&mut self, id: u64) -> Option<&mut Seat> {
        self.taken.iter_mut().find(|seat| seat.id == id)
    }
}

impl ConnectionSlot {
    /// Resolves when the connection has to make room.
    pub fn leave(&self) -> CancellationToken {
        self.leave.clone()
    }

    /// A request begins.
    pub fn begin(self: &Arc<Self>) -> Busy {
        if let Some(seat) = self.places.seats().seat(self.id) {
            seat.requests += 1;
        }
        Busy { place: Arc::clone(self) }
    }

    /// The connection is somebody's. `false` if there are too many of theirs, and none is idle.
    #[must_use]
    pub fn belongs_to(&self, identity: Identity) -> bool {
        let mut seats = self.places.seats();
        let kind = Kind::Known(identity);
        if seats.seat(self.id).is_none_or(|seat| seat.kind == kind) {
            return true;
        }
        if !seats.make_room(kind, self.places.room.of(kind), Some(self.id)) {
            counter!(REFUSED, "bound" => "connections").increment(1);
            return false;
        }
        if let Some(seat) = seats.seat(self.id) {
            seat.kind = kind;
        }
        true
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut seats = self.places.seats();
        let before = seats.taken.len();
        seats.taken.retain(|seat| seat.id != self.id);
        if seats.taken.len() < before {
            gauge!(CONNECTIONS).decrement(1.0);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut seats = self.place.places.seats();
        seats.now += 1;
        let now = seats.now;
        if let Some(seat) = seats.seat(self.place.id) {
            (seat.requests, seat.since) = (seat.requests.saturating_sub(1), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Arc<ConnectionSlots> {
        ConnectionSlots::new(Room { strangers: 2, owner: 1, reader: 1 })
    }

    fn taken(places: &Arc<ConnectionSlots>) -> Arc<ConnectionSlot> {
        Arc::new(places.take().unwrap())
    }

    #[test]
    fn the_longest_idle_stranger_makes_room_for_the_next() {
        let places = places();
        let (first, second) = (taken(&places), taken(&places));
        // A request has just ended on the first: the second is idle for longer.
        drop(first.begin());
        let third = taken(&places);
        let told = [&first, &second, &third].map(|place| place.leave().is_cancelled());
        assert_eq!(told, [false, true, false]);
    }

    #[test]
    fn a_request_in_progress_is_never_pushed_out() {
        let places = places();
        let (first, second) = (taken(&places), taken(&places));
        let busy = [first.begin(), second.begin()];
        assert!(places.take().is_none());
        drop(busy);
        assert!(places.take().is_some());
    }

    #[test]
    fn strangers_never_push_out_who_is_known_and_each_kind_has_its_own_places() {
        let places = places();
        let (owner, reader) = (taken(&places), taken(&places));
        assert!(owner.belongs_to(Identity::Owner) && reader.belongs_to(Identity::Reader));
        let crowd: Vec<_> = (0..100).map(|_| taken(&places)).collect();
        assert_eq!(crowd.iter().filter(|place| !place.leave().is_cancelled()).count(), 2);
        assert!(!owner.leave().is_cancelled() && !reader.leave().is_cancelled());
        // A second reader pushes out the first, and no owner.
        let busy = crowd[99].begin();
        assert!(crowd[99].belongs_to(Identity::Reader));
        assert!(reader.leave().is_cancelled() && !owner.leave().is_cancelled());
        // While it asks, there is no place for a third.
        assert!(!crowd[98].belongs_to(Identity::Reader));
        drop(busy);
        assert!(crowd[98].belongs_to(Identity::Reader));
    }
}
