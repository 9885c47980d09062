//! What keeps messages from leaving, for whoever shows it: of each partition that this process works, and of each
//! endpoint. Knows nothing of readiness.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A part of sending that may fail by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Reading what is to be sent.
    Messages,
    /// Writing down what became of it.
    Log,
    /// The topic of facts.
    Topic,
    /// An endpoint, by program and name.
    Endpoint(String, String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Messages => write!(f, "what is to be sent can't be read"),
            Self::Log => write!(f, "the delivery log can't be written"),
            Self::Topic => write!(f, "the topic of facts is behind"),
            Self::Endpoint(program, endpoint) => {
                write!(f, "endpoint {program}/{endpoint} accepts no messages")
            }
        }
    }
}

/// All of a process; clones are handles to one.
#[derive(Clone, Debug, Default)]
pub struct OutboundStatus {
    /// Bounded by the partitions that a process works, and their endpoints: what is of a seat leaves with it.
    troubles: Arc<Mutex<BTreeMap<(Part, u64), String>>>,
    seats: Arc<AtomicU64>,
}

impl OutboundStatus {
    /// What is wrong now, a sentence each: what concerns several partitions once.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let troubles = self.lock();
        let mut told: BTreeMap<&Part, &String> = BTreeMap::new();
        for ((part, _), why) in troubles.iter() {
            told.insert(part, why);
        }
        told.into_iter().map(|(part, why)| format!("{part}: {why}")).collect()
    }

    pub(crate) fn seat(&self) -> Seat {
        Seat { number: self.seats.fetch_add(1, Ordering::Relaxed), status: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Part, u64), String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one loop says of itself, until dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    status: OutboundStatus,
}

impl Seat {
    pub(crate) fn fails(&self, part: Part, why: String) {
        self.status.lock().insert((part, self.number), why);
    }

    pub(crate) fn works(&self, part: Part) {
        self.status.lock().remove(&(part, self.number));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.status.lock().retain(|(_, number), _| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_until_it_is_over_or_its_loop_has_ended() {
        let status = OutboundStatus::default();
        let (one, two) = (status.seat(), status.seat());
        let endpoint = || Part::Endpoint("p".to_owned(), "shop".to_owned());
        one.fails(endpoint(), "status 503".to_owned());
        two.fails(endpoint(), "status 500".to_owned());
        two.fails(Part::Log, "code 210".to_owned());
        let told = [
            "the delivery log can't be written: code 210",
            "endpoint p/shop accepts no messages: status 500",
        ];
        assert_eq!(status.troubles(), told);
        two.works(endpoint());
        assert_eq!(status.troubles()[1], "endpoint p/shop accepts no messages: status 503");
        drop(two);
        one.works(endpoint());
        assert_eq!(status.troubles(), [] as [String; 0]);
        one.works(Part::Topic);
    }
}
