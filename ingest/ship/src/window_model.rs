//! The window against a model that keeps everything: random acknowledgements in any order, errors,
//! rewinds and crashes must never lose a record, and must send none again that is known to have arrived.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use whence_journal::{Incarnation, Position};

use super::window::{Admission, Bounds, End, Ticket, Window};

const BOUNDS: Bounds = Bounds { records_max: 7, bytes_max: 400 };

/// What a journal holds at a position: a record, or a run of corrupt ones.
#[derive(Debug, Clone, Copy)]
struct Item {
    at: Position,
    count: u64,
    is_corrupt: bool,
}

impl Item {
    fn next(&self) -> Position {
        self.at.plus(self.count)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Read,
    /// The send failed at once; the record is read again next.
    ReadButNotSent,
    Acknowledge(usize),
    /// Kafka takes this one never.
    Refuse(usize),
    /// A report of before a rewind, or one that came already.
    StaleReport(usize),
    Rewind,
    /// A new process starts from the checkpoint; what was on its way may have arrived.
    Crash {
        arrived: Vec<bool>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Read),
        1 => Just(Step::ReadButNotSent),
        8 => any::<usize>().prop_map(Step::Acknowledge),
        1 => any::<usize>().prop_map(Step::Refuse),
        1 => any::<usize>().prop_map(Step::StaleReport),
        1 => Just(Step::Rewind),
        1 => prop::collection::vec(any::<bool>(), 0..8).prop_map(|arrived| Step::Crash { arrived }),
    ]
}

/// Runs of records and of corruption, in several incarnations.
fn journal() -> impl Strategy<Value = Vec<Item>> {
    let run = (1u64..4, prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    prop::collection::vec(run, 0..30).prop_map(|runs| {
        let mut at = Position { incarnation: Incarnation(1), offset: 0 };
        let mut items = Vec::new();
        for (count, is_corrupt, ends_incarnation) in runs {
            let counts = if is_corrupt { vec![count] } else { vec![1; count as usize] };
            for count in counts {
                items.push(Item { at, count, is_corrupt });
                at = at.plus(count);
            }
            if ends_incarnation {
                at = Position { incarnation: Incarnation(at.incarnation.0 + 1), offset: 0 };
            }
        }
        items
    })
}

struct Model {
    journal: Vec<Item>,
    window: Window,
    /// Index of the next item to read.
    cursor: usize,
    on_the_way: BTreeMap<Ticket, Position>,
    reported: Vec<Ticket>,
    /// Records that Kafka has, as far as this process was told.
    known: BTreeSet<Position>,
    /// Records that Kafka has.
    arrived: BTreeSet<Position>,
    /// Records that it refused.
    refused: BTreeSet<Position>,
    sent: BTreeSet<Position>,
}

impl Model {
    fn new(journal: Vec<Item>) -> Model {
        Model {
            journal,
            window: Window::new(BOUNDS, None, 0),
            cursor: 0,
            on_the_way: BTreeMap::new(),
            reported: Vec::new(),
            known: BTreeSet::new(),
            arrived: BTreeSet::new(),
            refused: BTreeSet::new(),
            sent: BTreeSet::new(),
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Read => self.read(true),
            Step::ReadButNotSent => self.read(false),
            Step::Acknowledge(pick) => self.end(pick, End::Arrived),
            Step::Refuse(pick) => self.end(pick, End::Refused),
            Step::StaleReport(pick) => {
                if let Some(ticket) = nth(&self.reported, pick) {
                    assert!(!self.window.settle(*ticket, End::Arrived), "a stale report settles nothing");
                }
            }
            Step::Rewind => self.rewind(),
            Step::Crash { arrived } => self.crash(&arrived),
        }
        self.check();
    }

    fn read(&mut self, is_sent: bool) {
        let Some(item) = self.journal.get(self.cursor).copied().filter(|_| self.window.has_room()) else {
            return;
        };
        if item.is_corrupt {
            self.window.skip_to(item.next());
            self.cursor += 1;
            return;
        }
        let was_sent = self.sent.contains(&item.at);
        let ticket = match self.window.admit(item.at, 100, 0) {
            Admission::Settled => {
                assert!(self.known.contains(&item.at), "only what has arrived is not sent");
                self.cursor += 1;
                return;
            }
            Admission::Send(ticket) => {
                assert!(!was_sent, "{item:?} was sent before");
                ticket
            }
            Admission::Resend(ticket) => {
                assert!(was_sent, "{item:?} was not sent before");
                ticket
            }
        };
        assert!(!self.known.contains(&item.at), "what is known to have arrived is not sent again");
        if is_sent {
            self.sent.insert(item.at);
            assert_eq!(self.window.position(ticket), Some(item.at));
            assert_eq!(self.on_the_way.insert(ticket, item.at), None, "tickets are not reused");
            self.cursor += 1;
        } else {
            self.window.retract();
        }
    }

    fn end(&mut self, pick: usize, end: End) {
        let tickets: Vec<Ticket> = self.on_the_way.keys().copied().collect();
        let Some(ticket) = nth(&tickets, pick) else { return };
        let at = self.on_the_way.remove(ticket).expect("picked from these");
        assert!(self.window.settle(*ticket, end));
        self.reported.push(*ticket);
        self.known.insert(at);
        match end {
            End::Arrived => self.arrived.insert(at),
            End::Refused => self.refused.insert(at),
        };
    }

    fn rewind(&mut self) {
        let watermark = self.window.rewind();
        self.reported.extend(self.on_the_way.keys());
        self.on_the_way.clear();
        self.seek(watermark);
    }

    fn crash(&mut self, arrived: &[bool]) {
        let on_the_way = std::mem::take(&mut self.on_the_way);
        let lucky = on_the_way.values().zip(arrived).filter(|(_, arrived)| **arrived);
        self.arrived.extend(lucky.map(|(at, _)| *at));
        let checkpoint = self.window.watermark();
        self.window = Window::new(BOUNDS, checkpoint, self.window.arrived());
        self.reported.clear();
        self.known.clear();
        self.sent.clear();
        self.seek(checkpoint);
    }

    fn seek(&mut self, to: Option<Position>) {
        self.cursor = self.journal.partition_point(|item| Some(item.next()) <= to);
    }

    fn check(&self) {
        let watermark = self.window.watermark();
        let below = self.journal.iter().filter(|item| !item.is_corrupt && Some(item.at) < watermark);
        let (mut arrived, mut arrived_max) = (0, 0);
        for item in below {
            let (has_arrived, is_refused) =
                (self.arrived.contains(&item.at), self.refused.contains(&item.at));
            assert!(has_arrived || is_refused, "{item:?} is below the watermark and never arrived");
            // Both may be: its report was lost, and it was sent again.
            arrived += u64::from(has_arrived && !is_refused);
            arrived_max += u64::from(has_arrived);
        }
        assert!((arrived..=arrived_max).contains(&self.window.arrived()), "what has arrived is counted once");
        let done = self.journal[..self.cursor]
            .iter()
            .take_while(|item| item.is_corrupt || Some(item.at) < watermark || self.known.contains(&item.at));
        let furthest = done.last().map(Item::next);
        assert_eq!(watermark, furthest.max(watermark), "the watermark is as far as it may be");
        assert_eq!(self.window.open_records(), self.on_the_way.len());
        assert_eq!(self.window.open_bytes(), self.on_the_way.len() * 100);
        assert!(
            self.window.open_records() <= BOUNDS.records_max && self.window.open_bytes() <= BOUNDS.bytes_max
        );
    }

    /// From any state: once everything is read and acknowledged, everything has arrived.
    fn finish(mut self) {
        while self.cursor < self.journal.len() {
            self.apply(Step::Acknowledge(0));
            self.apply(Step::Read);
        }
        while !self.on_the_way.is_empty() {
            self.apply(Step::Acknowledge(1));
        }
        assert_eq!(self.window.watermark(), self.journal.last().map(Item::next));
        assert_eq!(self.window.oldest_born_at_ms(), None);
    }
}

fn nth<T>(items: &[T], pick: usize) -> Option<&T> {
    items.get(pick.checked_rem(items.len())?)
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_known_is_sent_again(
        journal in journal(), steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut model = Model::new(journal);
        for step in steps {
            model.apply(step);
        }
        model.finish();
    }
}

#[test]
fn one_record_larger_than_the_bound_still_goes() {
    let mut window = Window::new(BOUNDS, None, 0);
    let at = Position { incarnation: Incarnation(1), offset: 0 };
    assert!(window.has_room());
    let Admission::Send(ticket) = window.admit(at, 10_000, 0) else { panic!("it was not sent before") };
    assert!(!window.has_room());
    assert!(window.settle(ticket, End::Arrived));
    assert!(window.has_room());
}

#[test]
fn the_age_is_that_of_the_oldest_record_on_its_way() {
    let mut window = Window::new(BOUNDS, None, 0);
    let at = |offset| Position { incarnation: Incarnation(1), offset };
    let tickets: Vec<Ticket> = (0..3)
        .map(|offset| match window.admit(at(offset), 1, 1000 + offset as i64) {
            Admission::Send(ticket) => ticket,
            other => panic!("{other:?}"),
        })
        .collect();
    window.settle(tickets[1], End::Arrived);
    assert_eq!(window.oldest_born_at_ms(), Some(1000));
    window.settle(tickets[0], End::Arrived);
    assert_eq!(window.oldest_born_at_ms(), Some(1002));
    window.rewind();
    assert_eq!(window.oldest_born_at_ms(), Some(1002), "a rewind makes no record younger");
}
