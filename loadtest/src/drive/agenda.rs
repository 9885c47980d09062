//! What is due when, apart from clicks: events to be composed, and events to be sent again.

use super::letters::Parcel;
use crate::plan::stories::Step;
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// Entries at a time; stories beyond are dropped and counted.
const ENTRIES_MAX: usize = 1_000_000;

/// Something to be done.
#[derive(Debug)]
pub(super) enum Task {
    /// An event has to be composed and sent.
    Compose(Box<Step>),
    /// An event has to be sent again.
    Send(Parcel),
}

#[derive(Debug)]
struct Due {
    at: Duration,
    order: u64,
    task: Task,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Tasks by the time since the start at which they are due; those of one time in the order they came.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BinaryHeap<Reverse<Due>>,
    entries: u64,
}

impl Agenda {
    /// Adds a task; `false` if there is no room.
    pub fn add(&mut self, at: Duration, task: Task) -> bool {
        if self.due.len() >= ENTRIES_MAX {
            return false;
        }
        self.entries += 1;
        self.due.push(Reverse(Due { at, order: self.entries, task }));
        true
    }

    /// The next task, if it is due.
    pub fn pop_due(&mut self, now: Duration) -> Option<Task> {
        if self.next_at()? > now {
            return None;
        }
        self.due.pop().map(|Reverse(due)| due.task)
    }

    /// When the next task is due.
    pub fn next_at(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    pub fn clear(&mut self) {
        self.due.clear();
    }
}
