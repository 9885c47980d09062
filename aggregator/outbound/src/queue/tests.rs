//! Whatever endpoints answer: order, bounds, an end for every message, and nothing after it.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const POLICY: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(10),
    max: Duration::from_millis(200),
    give_up_after: Duration::from_millis(1000),
};

fn queue(flying_max: usize) -> Queue<usize> {
    Queue::new(flying_max, POLICY)
}

fn lead(number: usize) -> Uuid {
    Uuid::from_u128(number as u128)
}

fn place(offset: usize) -> MessagePosition {
    MessagePosition { era: 0, offset: offset as u64 }
}

const AT: UnixMs = UnixMs(1_800_000_000_000);

#[test]
fn a_lead_waits_for_its_first_message_and_other_leads_do_not() {
    let mut queue = queue(10);
    for (number, of) in [(0, 1), (1, 1), (2, 2)] {
        queue.push(lead(of), number, place(number), Tried::default());
    }
    let flights: Vec<_> = std::iter::from_fn(|| queue.take(AT)).map(|flight| flight.message).collect();
    assert_eq!(flights, [0, 2]);
    assert_eq!(queue.settle(lead(2), AT, AT, Answer::Taken, 0.0), Verdict::Delivered);
    let again = queue.settle(lead(1), AT, AT, Answer::Failed(None), 1.0);
    assert_eq!(
        (again, queue.take(AT), queue.first_place()),
        (Verdict::Retry(AT.plus_ms(10)), None, Some(place(0)))
    );
    let second = queue.take(AT.plus_ms(10)).unwrap();
    assert_eq!((second.message, second.attempt), (0, 2));
    assert_eq!(queue.settle(lead(1), AT, AT, Answer::Gone, 0.0), Verdict::Dead);
    assert_eq!(queue.take(AT).unwrap().message, 1);
}

#[test]
fn what_the_log_says_of_earlier_tries_goes_on() {
    let mut queue = queue(10);
    let tried = Tried { tries: 7, first_at: Some(AT), next_at: AT.plus_ms(500) };
    queue.push(lead(1), 0, place(0), tried);
    assert_eq!((queue.take(AT.plus_ms(499)), queue.wake_at()), (None, Some(AT.plus_ms(500))));
    assert_eq!(queue.take(AT.plus_ms(500)).unwrap().attempt, 8);
    queue.put_back(lead(1), AT.plus_ms(600));
    assert_eq!(queue.take(AT.plus_ms(600)).unwrap().attempt, 8, "it was not sent");
    let late = queue.settle(lead(1), AT.plus_ms(600), AT.plus_ms(1000), Answer::Failed(None), 0.0);
    assert_eq!(late, Verdict::Dead, "a second after its first try");
}

#[test]
fn an_endpoint_is_left_alone_for_as_long_as_it_asks_and_asked_one_by_one_while_it_fails() {
    let mut queue = queue(10);
    (0..20).for_each(|number| queue.push(lead(number), number, place(number), Tried::default()));
    let first = queue.take(AT).unwrap();
    let asked = Answer::Failed(Some(Duration::from_millis(150)));
    queue.settle(first.lead, AT, AT, asked, 0.0);
    assert_eq!((queue.take(AT.plus_ms(149)), queue.wake_at()), (None, Some(AT.plus_ms(150))));
    let now = AT.plus_ms(150);
    let flights: Vec<_> = std::iter::from_fn(|| queue.take(now)).collect();
    assert_eq!(flights.len(), 10);
    flights.iter().for_each(|flight| {
        queue.settle(flight.lead, now, now, Answer::Failed(None), 1.0);
    });
    assert_eq!(queue.take(now.plus_ms(199)), None, "eleven failures in a row");
    let now = now.plus_ms(200);
    let probe = queue.take(now).unwrap();
    assert_eq!(queue.take(now), None, "one at a time");
    queue.settle(probe.lead, now, now, Answer::Taken, 0.0);
    assert_eq!(std::iter::from_fn(|| queue.take(now)).count(), 10, "it is back");
}

/// One step of a world: time that passes, a message that comes, an answer.
#[derive(Clone, Debug)]
enum Step {
    Pass(i64),
    Come(usize),
    Answer(usize, Answer),
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        3 => Just(Answer::Taken),
        1 => Just(Answer::Gone),
        4 => proptest::option::of(0u64..400).prop_map(|ms| Answer::Failed(ms.map(Duration::from_millis))),
    ];
    prop_oneof![
        3 => (0i64..300).prop_map(Step::Pass),
        2 => (0usize..6).prop_map(Step::Come),
        4 => (0usize..8, answer).prop_map(|(which, answer)| Step::Answer(which, answer)),
    ]
}

/// What the test knows of the queue.
struct World {
    queue: Queue<usize>,
    now: UnixMs,
    lead_of: Vec<usize>,
    first_try: HashMap<usize, UnixMs>,
    done: HashSet<usize>,
    flights: Vec<Flight<usize>>,
}

impl World {
    fn start_all(&mut self, flying_max: usize) {
        loop {
            let may_take = self.queue.may_take(self.now);
            let Some(flight) = self.queue.take(self.now) else {
                assert!(!may_take);
                break;
            };
            assert!(may_take);
            let message = flight.message;
            assert!(!self.done.contains(&message), "nothing after its end");
            assert!(self.flights.iter().all(|other| other.lead != flight.lead), "one of a lead at a time");
            let before =
                (0..message).find(|m| self.lead_of[*m] == self.lead_of[message] && !self.done.contains(m));
            assert_eq!(before, None, "in order");
            self.first_try.entry(message).or_insert(self.now);
            self.flights.push(flight);
            assert!(self.flights.len() <= flying_max);
        }
        let left = (0..self.lead_of.len()).filter(|m| !self.done.contains(m));
        assert_eq!(self.queue.first_place(), left.clone().next().map(place));
        assert_eq!(self.queue.len(), left.count());
        assert_eq!(self.queue.flying(), self.flights.len());
    }

    fn answer(&mut self, which: usize, answer: Answer, chance: f64) {
        if self.flights.is_empty() {
            return;
        }
        let flight = self.flights.swap_remove(which % self.flights.len());
        let first = self.first_try[&flight.message];
        match self.queue.settle(flight.lead, first, self.now, answer, chance) {
            Verdict::Delivered => assert_eq!(answer, Answer::Taken),
            Verdict::Dead => assert!(answer == Answer::Gone || self.now.ms_since(first) >= 1000),
            Verdict::Retry(at) => {
                assert!(at > self.now && at.ms_since(first) <= 1000);
                return;
            }
        }
        assert!(self.done.insert(flight.message), "an end is told once");
    }
}

proptest! {
    #[test]
    fn every_message_has_one_end_in_order_and_within_bounds(
        steps in proptest::collection::vec(step(), 1..120),
        flying_max in 1usize..5,
        chance in 0.0f64..1.0,
    ) {
        let mut world = World {
            queue: queue(flying_max),
            now: AT,
            lead_of: Vec::new(),
            first_try: HashMap::new(),
            done: HashSet::new(),
            flights: Vec::new(),
        };
        for step in steps {
            match step {
                Step::Pass(ms) => world.now = world.now.plus_ms(ms),
                Step::Come(of) => {
                    let number = world.lead_of.len();
                    world.lead_of.push(of);
                    world.queue.push(lead(of), number, place(number), Tried::default());
                }
                Step::Answer(which, answer) => world.answer(which, answer, chance),
            }
            world.start_all(flying_max);
        }
        // An endpoint that never answers well: everything ends all the same, and time is all it takes.
        while !world.queue.is_empty() {
            if world.flights.is_empty() {
                let at = world.queue.wake_at().expect("what is not on its way is due some time");
                world.now = world.now.max(at);
            }
            world.answer(0, Answer::Failed(None), chance);
            world.start_all(flying_max);
        }
        prop_assert_eq!(world.done.len(), world.lead_of.len());
    }
}
