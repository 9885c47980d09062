//! The places for connections on one core: so many and no more, each for a limited silence, and all of them
//! told when the core drains. Who goes for a newcomer when there are none left is [`Seats`]' business.
//!
//! A connection looks at its place when it is polled anyway, and leaves its waker once. A timer of tokio's
//! for each request's head, and a notification to wait for beside the connection, would together cost more
//! than finding the link; here a request costs a few stores, and a walk over all places a few times a second
//! does the rest.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use whence_runtime::seats::{Guest, Seating, Seats};

/// Steps in which silence is measured.
const STEPS: u32 = 4;
/// Bounds of a step's length.
const STEP_MIN: Duration = Duration::from_millis(10);
const STEP_MAX: Duration = Duration::from_secs(1);
/// The longest silence in steps: more than a day.
const SILENCE_STEPS_MAX: u128 = 100_000;

/// One core's places.
#[derive(Debug)]
pub struct ConnectionSlots {
    is_draining: Cell<bool>,
    step: Duration,
    silence_steps_max: usize,
    /// The moments of the last steps: who has been silent since the first of them is late.
    moments: RefCell<VecDeque<u64>>,
    seats: RefCell<Seats<Told>>,
    /// Who waits for a place to be given back.
    left: RefCell<Option<Waker>>,
}

/// How a connection is told what to do.
#[derive(Debug, Default)]
struct Told {
    waker: Option<Waker>,
    leave: Option<Why>,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was silent for too long.
    Silent,
    /// Another one gets its place.
    Displaced,
}

/// What a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    GoOn,
    /// Finish what is in hand, then close.
    Drain,
    /// Close.
    Leave(Why),
}

impl ConnectionSlots {
    /// `places_max` places, of which one network has `share_percent` of a hundred at most, each for a silence of
    /// `silence_max` and at most a quarter more.
    #[must_use]
    pub fn new(places_max: usize, share_percent: usize, silence_max: Duration) -> Rc<ConnectionSlots> {
        let step = (silence_max / STEPS).clamp(STEP_MIN, STEP_MAX);
        let steps = silence_max.as_nanos().div_ceil(step.as_nanos()).min(SILENCE_STEPS_MAX);
        Rc::new(ConnectionSlots {
            is_draining: Cell::new(false),
            step,
            silence_steps_max: usize::try_from(steps).expect("bounded"),
            moments: RefCell::default(),
            seats: RefCell::new(Seats::new(places_max, share_percent)),
            left: RefCell::default(),
        })
    }

    /// How often [`ConnectionSlots::step`] is to be called.
    #[must_use]
    pub fn step_length(&self) -> Duration {
        self.step
    }

    /// A place for `guest`, which somebody may have to leave for it; `None` if nobody can.
    pub async fn seat(self: &Rc<Self>, guest: Guest) -> Option<ConnectionSlot> {
        std::future::poll_fn(|context| self.poll_seat(guest, context)).await
    }

    fn poll_seat(self: &Rc<Self>, guest: Guest, context: &Context<'_>) -> Poll<Option<ConnectionSlot>> {
        let mut seats = self.seats.borrow_mut();
        match seats.take(guest, Told::default()) {
            Seating::Seat(seat) => {
                return Poll::Ready(Some(ConnectionSlot { places: Rc::clone(self), seat }));
            }
            Seating::Full => return Poll::Ready(None),
            Seating::After(seat) => seats.kept(seat).leave(Why::Displaced),
            Seating::Soon => {}
        }
        *self.left.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Tells somebody to leave although nobody has come for the place.
    pub fn make_room(&self) {
        let mut seats = self.seats.borrow_mut();
        if let Some(seat) = seats.make_room() {
            seats.kept(seat).leave(Why::Displaced);
        }
    }

    /// Places taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.seats.borrow().taken()
    }

    /// Time has passed: connections that were silent for too long are told to leave.
    pub fn step(&self) {
        let (mut seats, mut moments) = (self.seats.borrow_mut(), self.moments.borrow_mut());
        moments.push_back(seats.now());
        // The step in which the silence began counts for nothing, however long it lasted.
        if moments.len() > self.silence_steps_max
            && let Some(moment) = moments.pop_front()
        {
            seats.silent_since(moment).for_each(|told| told.leave(Why::Silent));
        }
    }

    /// Tells all connections, those still to come included, to finish.
    pub fn drain(&self) {
        self.is_draining.set(true);
        for told in self.seats.borrow_mut().all_kept() {
            told.wake();
        }
    }

    /// Resolves when no place is taken.
    pub fn emptied(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            if self.taken() == 0 {
                return Poll::Ready(());
            }
            *self.left.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// A whole request came from the connection in this seat.
    pub fn heard_from(&self, seat: usize) {
        self.seats.borrow_mut().heard(seat);
    }

    /// Something has begun on the connection in this seat that is not a whole request yet, or an answer is not taken.
    pub fn begun(&self, seat: usize) {
        self.seats.borrow_mut().begun(seat);
    }
}

impl Told {
    /// The first reason counts.
    fn leave(&mut self, why: Why) {
        if self.leave.is_none() {
            self.leave = Some(why);
            self.wake();
        }
    }

    fn wake(&self) {
        // Without a waker it has not had its first turn yet, in which it will ask.
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    places: Rc<ConnectionSlots>,
    seat: usize,
}

impl ConnectionSlot {
    /// Which one it is.
    #[must_use]
    pub fn seat(&self) -> usize {
        self.seat
    }

    /// What the connection is to do. The task that asks first is woken when that changes.
    #[must_use]
    pub fn order(&self, context: &Context<'_>) -> Order {
        let mut seats = self.places.seats.borrow_mut();
        let told = seats.kept(self.seat);
        if told.waker.is_none() {
            told.waker = Some(context.waker().clone());
        }
        match told.leave {
            Some(why) => Order::Leave(why),
            None if self.places.is_draining.get() => Order::Drain,
            None => Order::GoOn,
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut seats = self.places.seats.borrow_mut();
        *seats.kept(self.seat) = Told::default();
        seats.leave(self.seat);
        if let Some(waker) = self.places.left.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };
    use whence_runtime::shares::Prefix;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn of(self: &Arc<Self>) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    const SILENCE: Duration = Duration::from_secs(1);

    fn guest(network: u8) -> Guest {
        Guest::Of(Prefix::of([127, network, 0, 1].into()))
    }

    fn seated(places: &Rc<ConnectionSlots>, network: u8) -> Option<ConnectionSlot> {
        match places.poll_seat(guest(network), &Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => place,
            Poll::Pending => panic!("somebody has to leave first"),
        }
    }

    #[test]
    fn there_are_no_more_places_than_there_may_be_and_the_longest_idle_one_leaves() {
        let (count, places) = (Arc::new(Count::default()), ConnectionSlots::new(2, 100, SILENCE));
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let (first, second) = (seated(&places, 1).unwrap(), seated(&places, 2).unwrap());
        assert_eq!((first.order(&context), second.order(&context)), (Order::GoOn, Order::GoOn));
        places.heard_from(first.seat());
        for _ in 0..2 {
            assert!(places.poll_seat(guest(3), &context).is_pending());
            assert_eq!(count.of(), 1, "the second one is told, once");
        }
        assert_eq!(
            (first.order(&context), second.order(&context)),
            (Order::GoOn, Order::Leave(Why::Displaced))
        );
        drop(second);
        assert_eq!(count.of(), 2, "who waits is told that there is a place");
        let third = seated(&places, 3).unwrap();
        assert_eq!((places.taken(), third.order(&context)), (2, Order::GoOn));
    }

    #[test]
    fn a_place_that_was_given_back_is_taken_again() {
        let places = ConnectionSlots::new(2, 100, SILENCE);
        let (first, second) = (seated(&places, 1).unwrap(), seated(&places, 2).unwrap());
        drop(first);
        assert_eq!(places.taken(), 1);
        drop(seated(&places, 3).unwrap());
        drop(second);
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn draining_tells_everyone_who_sits() {
        let (count, places) = (Arc::new(Count::default()), ConnectionSlots::new(3, 100, SILENCE));
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let connections: Vec<_> = (0..3).map(|network| seated(&places, network).unwrap()).collect();
        assert!(connections.iter().all(|place| place.order(&context) == Order::GoOn));
        places.drain();
        assert_eq!(count.of(), 3);
        assert!(connections.iter().all(|place| place.order(&context) == Order::Drain));
    }

    #[test]
    fn who_is_silent_for_too_long_is_told_to_leave_once() {
        let (count, places) = (Arc::new(Count::default()), ConnectionSlots::new(3, 100, SILENCE));
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let (silent, lively) = (seated(&places, 1).unwrap(), seated(&places, 2).unwrap());
        let orders = || (silent.order(&context), lively.order(&context));
        assert_eq!(places.step_length() * STEPS, SILENCE);
        for _ in 0..STEPS {
            places.step();
            places.heard_from(lively.seat());
            assert_eq!(orders(), (Order::GoOn, Order::GoOn), "not before the time is over");
        }
        for _ in 0..2 {
            places.step();
            assert_eq!(orders(), (Order::Leave(Why::Silent), Order::GoOn));
        }
        assert_eq!(count.of(), 1);
        drop(silent);
        assert_eq!(
            seated(&places, 3).unwrap().order(&context),
            Order::GoOn,
            "the next connection in the slot starts clean"
        );
    }
}
