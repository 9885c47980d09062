//! Who sits on a listener's places: how many each network has, and who goes when there are none left.
//!
//! A newcomer always has a place while somebody can go for it. That is the connection that has been silent
//! longest of those without a request in progress. A network may have more than its share while more than one
//! share is free; after that one of those goes that are of the network with the most. So what is left of the
//! places is there for others, however many requests of one network are in progress. A proxy's connections
//! count for no network, and none of them goes.
//! Whoever is to go is told by the listener, which then seats the newcomer.
//!
//! Pure: it knows no socket, no clock and no task. What a listener keeps of a connection (`T`: how to tell it)
//! is kept here for it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::shares::Prefix;

/// Those who are to go next are looked up so many at a time: a look is a walk over all seats.
const LOOK: usize = 64;
/// Networks beyond their share whose next ones are remembered.
const LOOKS_MAX: usize = 64;

/// Whose share a connection counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guest {
    /// A network, which has a share.
    Of(Prefix),
    /// A proxy that is configured as one.
    Proxy,
}

impl Guest {
    /// Whose share a connection from `peer` counts against, where these are the networks of proxies.
    #[must_use]
    pub fn of(peer: IpAddr, proxies: &[IpNet]) -> Self {
        let peer = peer.to_canonical();
        match proxies.iter().any(|network| network.contains(&peer)) {
            true => Self::Proxy,
            false => Self::Of(Prefix::of(peer)),
        }
    }
}

/// Whether a newcomer can sit down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seating {
    /// In this seat.
    Seat(usize),
    /// Once somebody has left: the one in this seat is to be told so now.
    After(usize),
    /// Once somebody has left who was told already.
    Soon,
    /// No: there is nobody who could go.
    Full,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// Nothing: it may ask again, or never.
    Idle,
    /// A request has begun, or the answer is not taken: the connection is closed when no other is idle.
    Begun,
    /// A request is being answered: the connection stays.
    Served,
}

#[derive(Debug)]
struct Seat<T> {
    /// `None`: nobody sits here.
    guest: Option<Guest>,
    /// The last sign of life: see [`Seats::now`].
    since: u64,
    doing: Doing,
    is_told: bool,
    kept: T,
}

/// The seats of one listener, or of one core of it.
#[derive(Debug)]
pub struct Seats<T> {
    seats: Vec<Seat<T>>,
    free: Vec<usize>,
    places_max: usize,
    share_max: usize,
    /// Counts signs of life, so that of any two the later is known.
    now: u64,
    /// Taken seats by network; as many entries as seats at most.
    held: HashMap<Prefix, usize>,
    /// Who were the next to go when somebody looked last, of a network or (`None`) of all.
    next: HashMap<Option<Prefix>, VecDeque<Next>>,
    /// Seats of those who were told and are still there.
    leaving: usize,
    /// Seats of idle clients that are not proxies.
    idle: usize,
}

/// Somebody who may be the next to go, unless heard of since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    doing: Doing,
    since: u64,
    seat: usize,
}

impl<T> Seats<T> {
    /// `places_max` seats (one at least), of which one network may have `share_percent` of a hundred (one seat
    /// at least).
    #[must_use]
    pub fn new(places_max: usize, share_percent: usize) -> Self {
        let places_max = places_max.max(1);
        Self {
            seats: Vec::new(),
            free: Vec::new(),
            places_max,
            share_max: (places_max * share_percent.min(100) / 100).max(1),
            now: 0,
            held: HashMap::new(),
            next: HashMap::new(),
            leaving: 0,
            idle: 0,
        }
    }

    /// Seats taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.seats.len() - self.free.len()
    }

    /// A place for `guest`, of whose connection `kept` is kept.
    pub fn take(&mut self, guest: Guest, kept: T) -> Seating {
        if let Guest::Of(network) = guest
            && let Some(held) = self.held.get(&network)
            && *held >= self.share_max
            && self.places_max - self.taken() <= self.share_max
        {
            let most = self.held.iter().max_by_key(|(_, held)| **held).filter(|(_, most)| *most > held);
            return self.room(Some(most.map_or(network, |(most, _)| *most)));
        }
        let seat = match self.free.pop() {
            Some(seat) => seat,
            None if self.seats.len() < self.places_max => self.seats.len(),
            None => return self.room(None),
        };
        if let Guest::Of(network) = guest {
            *self.held.entry(network).or_default() += 1;
            self.idle += 1;
        }
        self.now += 1;
        let taken = Seat { guest: Some(guest), since: self.now, doing: Doing::Idle, is_told: false, kept };
        match self.seats.get_mut(seat) {
            Some(free) => *free = taken,
            None => self.seats.push(taken),
        }
        Seating::Seat(seat)
    }

    /// Who is to be told to go although nobody has come for the seat: the machine is out of what a connection
    /// needs.
    pub fn make_room(&mut self) -> Option<usize> {
        match self.room(None) {
            Seating::After(seat) => Some(seat),
            _ => None,
        }
    }

    /// Somebody who can go.
    #[cold]
    fn room(&mut self, of: Option<Prefix>) -> Seating {
        if self.leaving > 0 {
            return Seating::Soon;
        }
        let Some(seat) = self.next_to_go(of) else { return Seating::Full };
        self.seats[seat].is_told = true;
        self.leaving += 1;
        Seating::After(seat)
    }

    fn next_to_go(&mut self, of: Option<Prefix>) -> Option<usize> {
        let mut next = self.next.remove(&of).unwrap_or_default();
        let mut found = self.first_still_so(&mut next);
        // An old look says nothing of those who came to rest since: idle ones go before others.
        if found.is_none_or(|next| next.doing != Doing::Idle && self.idle > 0) {
            next = self.look(of);
            found = self.first_still_so(&mut next);
        }
        if !next.is_empty() {
            if self.next.len() >= LOOKS_MAX {
                self.next.clear();
            }
            self.next.insert(of, next);
        }
        found.map(|next| next.seat)
    }

    fn first_still_so(&self, next: &mut VecDeque<Next>) -> Option<Next> {
        std::iter::from_fn(|| next.pop_front()).find(|next| {
            let seat = &self.seats[next.seat];
            seat.guest.is_some() && !seat.is_told && (seat.doing, seat.since) == (next.doing, next.since)
        })
    }

    /// Those who go next, in their order.
    fn look(&self, of: Option<Prefix>) -> VecDeque<Next> {
        let may_go = |seat: &Seat<T>| {
            let is_meant = match seat.guest {
                Some(Guest::Of(network)) => of.is_none_or(|of| of == network),
                Some(Guest::Proxy) | None => false,
            };
            is_meant && !seat.is_told && seat.doing != Doing::Served
        };
        let seats = self.seats.iter().enumerate().filter(|(_, seat)| may_go(seat));
        let mut next: Vec<Next> = seats
            .map(|(seat, Seat { doing, since, .. })| Next { doing: *doing, since: *since, seat })
            .collect();
        if next.len() > LOOK {
            next.select_nth_unstable(LOOK);
            next.truncate(LOOK);
        }
        next.sort_unstable();
        next.into()
    }

    /// The seat is free again.
    pub fn leave(&mut self, seat: usize) {
        self.does(seat, Doing::Served);
        let left = &mut self.seats[seat];
        let guest = left.guest.take();
        self.leaving -= usize::from(left.is_told);
        left.is_told = false;
        self.free.push(seat);
        if let Some(Guest::Of(network)) = guest
            && let Some(held) = self.held.get_mut(&network)
        {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&network);
            }
        }
    }

    /// A whole request came.
    pub fn heard(&mut self, seat: usize) {
        self.now += 1;
        self.seats[seat].since = self.now;
        self.does(seat, Doing::Idle);
    }

    /// Something came that is not a whole request yet, or an answer is not taken.
    pub fn begun(&mut self, seat: usize) {
        // What comes while a request is worked on is the rest of it.
        if self.seats[seat].doing == Doing::Idle {
            self.does(seat, Doing::Begun);
        }
    }

    /// A whole request came that is being worked on, until [`heard`](Self::heard) says that it is answered.
    pub fn served(&mut self, seat: usize) {
        self.heard(seat);
        self.does(seat, Doing::Served);
    }

    /// Whether a request from this seat is being worked on.
    #[must_use]
    pub fn is_served(&self, seat: usize) -> bool {
        self.seats[seat].doing == Doing::Served
    }

    fn does(&mut self, seat: usize, doing: Doing) {
        let seat = &mut self.seats[seat];
        let before = std::mem::replace(&mut seat.doing, doing);
        if before != doing && matches!(seat.guest, Some(Guest::Of(_))) {
            self.idle += usize::from(doing == Doing::Idle);
            self.idle -= usize::from(before == Doing::Idle);
        }
    }

    /// What is kept of the connection in this seat.
    pub fn kept(&mut self, seat: usize) -> &mut T {
        &mut self.seats[seat].kept
    }

    /// What is kept of all connections.
    pub fn all_kept(&mut self) -> impl Iterator<Item = &mut T> {
        self.seats.iter_mut().filter(|seat| seat.guest.is_some()).map(|seat| &mut seat.kept)
    }

    /// A moment between signs of life, to ask [`silent_since`](Self::silent_since) with.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What is kept of the connections that nothing was heard of after `moment`.
    pub fn silent_since(&mut self, moment: u64) -> impl Iterator<Item = &mut T> {
        let seats = self.seats.iter_mut().filter(move |seat| seat.guest.is_some() && seat.since <= moment);
        seats.map(|seat| &mut seat.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Guest = Guest::Of(Prefix::test(1));
    const B: Guest = Guest::Of(Prefix::test(2));

    fn nth(n: u64) -> Guest {
        Guest::Of(Prefix::test(100 + n))
    }

    fn seat(seating: Seating) -> usize {
        match seating {
            Seating::Seat(seat) => seat,
            other => panic!("{other:?}"),
        }
    }

    /// Who goes for the newcomer.
    fn gone(seats: &mut Seats<()>, newcomer: Guest) -> Option<usize> {
        match seats.take(newcomer, ()) {
            Seating::After(seat) => {
                seats.leave(seat);
                assert!(matches!(seats.take(newcomer, ()), Seating::Seat(_)), "the seat is the newcomer's");
                Some(seat)
            }
            Seating::Full => None,
            other => panic!("{other:?}"),
        }
    }

    fn full(places: usize) -> Seats<()> {
        let mut seats = Seats::new(places, 100);
        for n in 0..places {
            assert_eq!(seat(seats.take(nth(n as u64), ())), n);
        }
        seats
    }

    #[test]
    fn the_longest_silent_goes_for_a_newcomer() {
        let mut seats = full(4);
        seats.heard(0);
        assert_eq!(gone(&mut seats, A), Some(1));
        seats.heard(2);
        assert_eq!(gone(&mut seats, B), Some(3), "who was heard since the look is passed over");
        assert_eq!(gone(&mut seats, nth(9)), Some(0));
        assert_eq!(seats.taken(), 4);
    }

    #[test]
    fn who_has_begun_to_ask_goes_after_the_idle_and_who_is_served_stays() {
        let mut seats = full(4);
        seats.served(0);
        seats.begun(1);
        seats.begun(2);
        seats.heard(3);
        assert_eq!(gone(&mut seats, A), Some(3));
        // The newcomer is idle.
        assert_eq!(gone(&mut seats, B), Some(3));
        seats.begun(3);
        assert_eq!(gone(&mut seats, nth(9)), Some(1));
        for n in 1..4 {
            seats.served(n);
        }
        assert_eq!(gone(&mut seats, nth(10)), None);
        seats.heard(2);
        assert_eq!(gone(&mut seats, nth(10)), Some(2));
    }

    #[test]
    fn a_network_beyond_its_share_leaves_a_share_free_and_makes_room_with_its_own() {
        let mut seats = Seats::new(8, 25);
        let other = seat(seats.take(B, ()));
        let own: Vec<_> = (0..5).map(|_| seat(seats.take(A, ()))).collect();
        assert_eq!(gone(&mut seats, A), Some(own[0]), "although there are free places, and an older one");
        assert_eq!(seats.taken(), 6);
        for n in &own {
            seats.served(*n);
        }
        assert_eq!(gone(&mut seats, A), None, "what is free is for others");
        let others = [seat(seats.take(B, ())), seat(seats.take(nth(0), ()))];
        seats.heard(own[3]);
        assert_eq!(seats.take(B, ()), Seating::After(own[3]), "the network with the most gives");
        seats.leave(others[1]);
        seats.leave(other);
    }

    #[test]
    fn a_proxy_has_no_share_and_never_goes() {
        let mut seats = Seats::new(4, 25);
        for _ in 0..3 {
            seat(seats.take(Guest::Proxy, ()));
        }
        let stranger = seat(seats.take(A, ()));
        assert_eq!(gone(&mut seats, Guest::Proxy), Some(stranger));
        assert_eq!(gone(&mut seats, B), None);
    }

    #[test]
    fn one_goes_at_a_time() {
        let mut seats = full(2);
        assert_eq!(seats.take(A, ()), Seating::After(0));
        assert_eq!(seats.take(A, ()), Seating::Soon);
        seats.leave(0);
        assert_eq!(seat(seats.take(A, ())), 0);
    }

    #[test]
    fn the_silent_are_those_who_were_not_heard_after_a_moment() {
        let mut seats = Seats::new(3, 100);
        for n in 0..3 {
            seat(seats.take(nth(n), n));
        }
        let moment = seats.now();
        seats.heard(1);
        assert_eq!(seats.silent_since(moment).map(|kept| *kept).collect::<Vec<_>>(), [0, 2]);
        seats.leave(0);
        assert_eq!(seats.silent_since(moment).map(|kept| *kept).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn in_a_flood_everyone_is_seated_and_nothing_is_kept_of_who_has_gone() {
        let mut seats = Seats::new(100, 25);
        for n in 0..10_000 {
            let newcomer = nth(n % 7_000);
            if let Seating::After(seat) = seats.take(newcomer, ()) {
                seats.leave(seat);
                assert!(matches!(seats.take(newcomer, ()), Seating::Seat(_)));
            }
            assert!(seats.held.len() <= 100 && seats.next.len() <= LOOKS_MAX);
        }
        for n in 0..100 {
            seats.leave(n);
        }
        assert!(seats.held.is_empty() && seats.idle == 0 && seats.leaving == 0);
    }
}
