//! The places for connections on one core: so many and no more, each for a limited silence, and all of them
//! told when the core drains.
//!
//! A connection looks at its place when it is polled anyway, and leaves its waker once. A timer of tokio's
//! for each request's head, and a notification to wait for beside the connection, would together cost more
//! than finding the link; here a request costs a store, and a walk over all places a few times a second does
//! the rest.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Steps in which silence is measured.
const STEPS: u32 = 4;
/// Bounds of a step's length.
const STEP_MIN: Duration = Duration::from_millis(10);
const STEP_MAX: Duration = Duration::from_secs(1);

/// One core's places.
#[derive(Debug)]
pub struct Places {
    is_draining: Cell<bool>,
    /// Steps since the start.
    now: Cell<u32>,
    step: Duration,
    silence_steps_max: u32,
    seats: RefCell<Vec<Seat>>,
    free: RefCell<Vec<usize>>,
    places_max: usize,
    /// Who waits for the last place to be given back.
    emptied: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Seat {
    waker: Option<Waker>,
    /// The step of the last sign of life.
    since: u32,
    is_late: bool,
}

/// What a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    GoOn,
    /// Finish what is in hand, then close.
    Drain,
    /// Close: it was silent for too long.
    Leave,
}

impl Places {
    /// `places_max` places, each for a silence of `silence_max` and at most a quarter more.
    #[must_use]
    pub fn new(places_max: usize, silence_max: Duration) -> Rc<Places> {
        let step = (silence_max / STEPS).clamp(STEP_MIN, STEP_MAX);
        let steps = silence_max.as_nanos().div_ceil(step.as_nanos());
        Rc::new(Places {
            is_draining: Cell::new(false),
            now: Cell::new(0),
            step,
            silence_steps_max: u32::try_from(steps).unwrap_or(u32::MAX),
            seats: RefCell::default(),
            free: RefCell::default(),
            places_max,
            emptied: RefCell::default(),
        })
    }

    /// How often [`Places::step`] is to be called.
    #[must_use]
    pub fn step_length(&self) -> Duration {
        self.step
    }

    /// A place, or `None` if all are taken.
    #[must_use]
    pub fn take(self: &Rc<Self>) -> Option<Place> {
        let mut seats = self.seats.borrow_mut();
        let seat = match self.free.borrow_mut().pop() {
            Some(seat) => seat,
            None if seats.len() < self.places_max => {
                seats.push(Seat::default());
                seats.len() - 1
            }
            None => return None,
        };
        seats[seat] = Seat { waker: None, since: self.now.get(), is_late: false };
        Some(Place { places: Rc::clone(self), seat })
    }

    /// Places taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.seats.borrow().len() - self.free.borrow().len()
    }

    /// Time has passed: connections that were silent for too long are told to leave.
    pub fn step(&self) {
        let now = self.now.get().wrapping_add(1);
        self.now.set(now);
        for seat in self.seats.borrow_mut().iter_mut() {
            // The step in which the silence began counts for nothing, however long it lasted.
            if !seat.is_late
                && now.wrapping_sub(seat.since) > self.silence_steps_max
                && let Some(waker) = &seat.waker
            {
                seat.is_late = true;
                waker.wake_by_ref();
            }
        }
    }

    /// Tells all connections, those still to come included, to finish.
    pub fn drain(&self) {
        self.is_draining.set(true);
        for seat in self.seats.borrow().iter() {
            if let Some(waker) = &seat.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Resolves when no place is taken.
    pub fn emptied(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            if self.taken() == 0 {
                return Poll::Ready(());
            }
            *self.emptied.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// A sign of life from the connection in this seat.
    pub fn heard_from(&self, seat: usize) {
        self.seats.borrow_mut()[seat].since = self.now.get();
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Rc<Places>,
    seat: usize,
}

impl Place {
    /// Which one it is.
    #[must_use]
    pub fn seat(&self) -> usize {
        self.seat
    }

    /// What the connection is to do. The task that asks first is woken when that changes.
    #[must_use]
    pub fn order(&self, context: &Context<'_>) -> Order {
        let seat = &mut self.places.seats.borrow_mut()[self.seat];
        if seat.waker.is_none() {
            seat.waker = Some(context.waker().clone());
        }
        if seat.is_late {
            Order::Leave
        } else if self.places.is_draining.get() {
            Order::Drain
        } else {
            Order::GoOn
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.seats.borrow_mut()[self.seat].waker = None;
        self.places.free.borrow_mut().push(self.seat);
        if self.places.taken() == 0
            && let Some(waker) = self.places.emptied.borrow_mut().take()
        {
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

    #[test]
    fn there_are_no_more_places_than_there_may_be() {
        let places = Places::new(2, SILENCE);
        let (first, _second) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none());
        drop(first);
        assert!(places.take().is_some(), "a place that was given back");
        assert_eq!(places.taken(), 1);
    }

    #[test]
    fn draining_tells_everyone_who_sits() {
        let (count, places) = (Arc::new(Count::default()), Places::new(3, SILENCE));
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let seated: Vec<_> = (0..3).map(|_| places.take().unwrap()).collect();
        assert!(seated.iter().all(|place| place.order(&context) == Order::GoOn));
        places.drain();
        assert_eq!(count.of(), 3);
        assert!(seated.iter().all(|place| place.order(&context) == Order::Drain));
    }

    #[test]
    fn who_is_silent_for_too_long_is_told_to_leave_once() {
        let (count, places) = (Arc::new(Count::default()), Places::new(3, SILENCE));
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let (silent, lively) = (places.take().unwrap(), places.take().unwrap());
        let orders = || (silent.order(&context), lively.order(&context));
        assert_eq!(places.step_length() * STEPS, SILENCE);
        for _ in 0..STEPS {
            places.step();
            places.heard_from(lively.seat());
            assert_eq!(orders(), (Order::GoOn, Order::GoOn), "not before the time is over");
        }
        for _ in 0..2 {
            places.step();
            assert_eq!(orders(), (Order::Leave, Order::GoOn));
        }
        assert_eq!(count.of(), 1);
        drop(silent);
        assert_eq!(places.take().unwrap().order(&context), Order::GoOn, "the next in the seat begins anew");
    }
}
