//! The messages of one endpoint that are not done with: of each lead one at a time, in order, each until it is
//! delivered or given up. Pure: times, answers and chance come in.
//!
//! An endpoint that fails several times in a row is asked one message at a time, and more and more seldom, so that
//! it is not run over when it comes back; what was not tried yet is not given up meanwhile.

use crate::retry::RetryPolicy;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};
use uuid::Uuid;
use whence_schemas::time::UnixMs;

/// Failures in a row from which on an endpoint is asked one message at a time.
pub const FAILURES_MAX: u32 = 3;
/// The longest wait of an endpoint that goes on failing; it begins as that of a message.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Where a message stands in its partition: by the order of incarnations, then by offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessagePosition {
    /// The incarnation's number in the order in which they were written.
    pub era: usize,
    /// Offset of the record that caused it.
    pub offset: u64,
}

/// What the log has of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Tries so far.
    pub tries: u32,
    /// When the first one was.
    pub first_at: Option<UnixMs>,
    /// When the next one is.
    pub next_at: UnixMs,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The endpoint has it.
    Taken,
    /// The endpoint says that it accepts no more messages (410).
    Gone,
    /// Anything else, and how long to wait, if the endpoint says so (`Retry-After`).
    Failed(Option<Duration>),
}

/// What becomes of a message after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message is delivered.
    Delivered,
    /// The message is tried again at this time.
    Retry(UnixMs),
    /// The message is given up.
    Dead,
}

/// A message that is to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight<M> {
    /// The lead.
    pub lead: Uuid,
    /// The message.
    pub message: M,
    /// Number of this try, from 1.
    pub attempt: u32,
}

struct Waiting<M> {
    message: M,
    place: MessagePosition,
    number: u64,
    tried: Tried,
}

/// The queue of one endpoint.
pub struct Queue<M> {
    flying_max: usize,
    policy: RetryPolicy,
    leads: HashMap<Uuid, VecDeque<Waiting<M>>>,
    /// The first message of each lead that is not on its way: when it is due, in the order in which they came.
    due: BTreeSet<(UnixMs, u64, Uuid)>,
    places: BTreeMap<MessagePosition, usize>,
    flying: usize,
    pushed: u64,
    failures: u32,
    paused_until: UnixMs,
}

impl<M: Clone> Queue<M> {
    /// An empty queue, of which so many messages are sent at a time.
    #[must_use]
    pub fn new(flying_max: usize, policy: RetryPolicy) -> Queue<M> {
        Queue {
            flying_max,
            policy,
            leads: HashMap::new(),
            due: BTreeSet::new(),
            places: BTreeMap::new(),
            flying: 0,
            pushed: 0,
            failures: 0,
            paused_until: UnixMs(0),
        }
    }

    /// Messages that are not done with.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.values().sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Requests on their way.
    #[must_use]
    pub fn flying(&self) -> usize {
        self.flying
    }

    /// The first place that is not done with.
    #[must_use]
    pub fn first_place(&self) -> Option<MessagePosition> {
        self.places.first_key_value().map(|(place, _)| *place)
    }

    /// Adds a message of this lead behind those that came before.
    pub fn push(&mut self, lead: Uuid, message: M, place: MessagePosition, tried: Tried) {
        self.pushed += 1;
        let number = self.pushed;
        let waiting = self.leads.entry(lead).or_default();
        if waiting.is_empty() {
            self.due.insert((tried.next_at, number, lead));
        }
        waiting.push_back(Waiting { message, place, number, tried });
        *self.places.entry(place).or_default() += 1;
    }

    fn is_failing(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// How many tries in a row have failed, where they are so many that the endpoint is asked more and more seldom.
    #[must_use]
    pub fn failing(&self) -> Option<u32> {
        self.is_failing().then_some(self.failures)
    }

    fn has_room_to_fly(&self) -> bool {
        self.flying < if self.is_failing() { 1 } else { self.flying_max }
    }

    /// Whether [`Queue::take`] gives something.
    #[must_use]
    pub fn may_take(&self, now: UnixMs) -> bool {
        self.wake_at().is_some_and(|at| at <= now)
    }

    /// The next message to send, if one is due and may be sent. Its outcome must be told by [`Queue::settle`], or
    /// by [`Queue::put_back`] if it was not sent.
    pub fn take(&mut self, now: UnixMs) -> Option<Flight<M>> {
        if !self.has_room_to_fly() || now < self.paused_until {
            return None;
        }
        let next = *self.due.first().filter(|(due, ..)| *due <= now)?;
        self.due.remove(&next);
        self.flying += 1;
        let (_, _, lead) = next;
        let waiting = self.leads.get(&lead).and_then(VecDeque::front).expect("what is due waits");
        Some(Flight { lead, message: waiting.message.clone(), attempt: waiting.tried.tries + 1 })
    }

    /// When [`Queue::take`] may give something next, if that depends on nothing but time.
    #[must_use]
    pub fn wake_at(&self) -> Option<UnixMs> {
        let (due, ..) = self.due.first().filter(|_| self.has_room_to_fly())?;
        Some((*due).max(self.paused_until))
    }

    /// The lead's message was not sent after all; it is due at `at`.
    pub fn put_back(&mut self, lead: Uuid, at: UnixMs) {
        self.flying -= 1;
        let waiting = self.leads.get_mut(&lead).and_then(VecDeque::front_mut).expect("what flies waits");
        waiting.tried.next_at = at;
        self.due.insert((at, waiting.number, lead));
    }

    /// The lead's message was sent at `started_at`, and this came of it at `now`. `chance` is from 0 to 1.
    pub fn settle(
        &mut self,
        lead: Uuid,
        started_at: UnixMs,
        now: UnixMs,
        answer: Answer,
        chance: f64,
    ) -> Verdict {
        self.flying -= 1;
        let waiting = self.leads.get_mut(&lead).and_then(VecDeque::front_mut).expect("what flies waits");
        let tried = &mut waiting.tried;
        tried.tries += 1;
        let first_at = *tried.first_at.get_or_insert(started_at);
        let verdict = match answer {
            Answer::Taken => Verdict::Delivered,
            Answer::Gone => Verdict::Dead,
            Answer::Failed(asked) => {
                let again = self.policy.again_at(tried.tries, first_at, now, chance, asked);
                again.map_or(Verdict::Dead, Verdict::Retry)
            }
        };
        if let Verdict::Retry(at) = verdict {
            tried.next_at = at;
            self.due.insert((at, waiting.number, lead));
        } else {
            self.drop_first(lead);
        }
        self.pace(now, answer, chance);
        verdict
    }

    fn pace(&mut self, now: UnixMs, answer: Answer, chance: f64) {
        let Answer::Failed(asked) = answer else {
            self.failures = 0;
            return;
        };
        self.failures = self.failures.saturating_add(1);
        let mut pause = asked.unwrap_or_default().min(self.policy.max);
        if self.is_failing() {
            let doubled = self.policy.first.saturating_mul(1 << (self.failures - FAILURES_MAX).min(16));
            let most = PAUSE_MAX.min(self.policy.max);
            pause = pause.max(doubled.min(most).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0));
        }
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        self.paused_until = self.paused_until.max(now.plus_ms(pause_ms));
    }

    /// The lead's first message is done with: the next one may go.
    fn drop_first(&mut self, lead: Uuid) {
        let Some(waiting) = self.leads.get_mut(&lead) else { return };
        if let Some(done) = waiting.pop_front()
            && let Some(count) = self.places.get_mut(&done.place)
        {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&done.place);
            }
        }
        match waiting.front() {
            Some(next) => {
                self.due.insert((next.tried.next_at, next.number, lead));
            }
            None => {
                self.leads.remove(&lead);
            }
        }
    }
}

#[cfg(test)]
mod tests;
