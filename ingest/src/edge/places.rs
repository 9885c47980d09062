//! The places for connections on one core: so many and no more, and all of them told when the core drains.
//!
//! A connection looks at one flag when it is polled anyway, and leaves its waker once. Waiting on a
//! notification beside the connection would cost on every poll instead.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Waker},
};

/// One core's places.
#[derive(Debug)]
pub struct Places {
    is_draining: Cell<bool>,
    seats: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
    places_max: usize,
    /// Who waits for the last place to be given back.
    emptied: RefCell<Option<Waker>>,
}

impl Places {
    /// `places_max` places.
    #[must_use]
    pub fn new(places_max: usize) -> Rc<Places> {
        Rc::new(Places {
            is_draining: Cell::new(false),
            seats: RefCell::default(),
            free: RefCell::default(),
            places_max,
            emptied: RefCell::default(),
        })
    }

    /// A place, or `None` if all are taken.
    #[must_use]
    pub fn take(self: &Rc<Self>) -> Option<Place> {
        let seat = match self.free.borrow_mut().pop() {
            Some(seat) => seat,
            None => {
                let mut seats = self.seats.borrow_mut();
                if seats.len() >= self.places_max {
                    return None;
                }
                seats.push(None);
                seats.len() - 1
            }
        };
        Some(Place { places: Rc::clone(self), seat, is_known: Cell::new(false) })
    }

    /// Places taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.seats.borrow().len() - self.free.borrow().len()
    }

    /// Tells all connections, those still to come included, to finish.
    pub fn drain(&self) {
        self.is_draining.set(true);
        for seat in self.seats.borrow_mut().iter_mut() {
            if let Some(waker) = seat.take() {
                waker.wake();
            }
        }
    }

    /// Resolves when no place is taken.
    pub fn emptied(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            if self.taken() == 0 {
                return std::task::Poll::Ready(());
            }
            *self.emptied.borrow_mut() = Some(context.waker().clone());
            std::task::Poll::Pending
        })
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Rc<Places>,
    seat: usize,
    is_known: Cell<bool>,
}

impl Place {
    /// Whether the connection is to finish. The task of the first call is woken when that changes.
    pub fn is_draining(&self, context: &Context<'_>) -> bool {
        if !self.is_known.replace(true) {
            self.places.seats.borrow_mut()[self.seat] = Some(context.waker().clone());
        }
        self.places.is_draining.get()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.seats.borrow_mut()[self.seat] = None;
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
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn there_are_no_more_places_than_there_may_be() {
        let places = Places::new(2);
        let (first, _second) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none());
        drop(first);
        assert!(places.take().is_some(), "a place that was given back");
        assert_eq!(places.taken(), 1);
    }

    #[test]
    fn draining_wakes_everyone_who_sits_once() {
        let (count, places) = (Arc::new(Count::default()), Places::new(3));
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let seated: Vec<_> = (0..3).map(|_| places.take().unwrap()).collect();
        assert!(seated.iter().all(|place| !place.is_draining(&context) && !place.is_draining(&context)));
        places.drain();
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
        assert!(seated.iter().all(|place| place.is_draining(&context)));
    }
}
