//! The records of a run, and what must become of them, known by construction.

mod persons;

use crate::{
    rewards,
    store::MONTH_MS,
    world::{pick, rng},
};
use bytes::Bytes;
use rand::{Rng, RngExt, rngs::SmallRng, seq::SliceRandom};
use std::collections::{BTreeMap, BTreeSet};
use whence_aggregator::{position::Partition, source::Record};
use whence_schemas::{
    event::{
        self, AttributionModel, AttributionRule, Click, Disqualification, Erasure, Event, Identify, Lead,
        Mode, Participant, Qualification, Reinstatement, Share, Subject, Timer, Touch, Verdict, event::Body,
    },
    ids::{ChannelNumber, ClickId, EventId, LinkNumber},
    time::{HOUR_MS, UnixMs},
    token::{ClickToken, KeyRing, TEXT_LEN},
    topics::Stream,
};

const START: UnixMs = UnixMs(1_800_000_000_000);
pub const PROGRAMS: [&str; 2] = ["north", "south"];
pub const CLICK_PARTITIONS: u32 = 2;

/// What must be stored in the end.
#[derive(Default)]
pub struct Expected {
    /// Click id to how often it was sent.
    pub clicks: BTreeMap<ClickId, u64>,
    /// Event id of a lead to the referrer credited, and how often it was sent.
    pub leads: BTreeMap<EventId, (String, u64)>,
    /// Event id of a qualification to what becomes of it, and how often it was sent.
    pub qualifications: BTreeMap<EventId, (Paid, u64)>,
    /// How often each other event was sent that becomes a fact.
    pub others: BTreeMap<EventId, u64>,
    /// Events of persons that are forgotten.
    pub erased: BTreeSet<EventId>,
    /// Records that are not an event of this version, or of a person who is to be forgotten.
    pub refused: u64,
    /// Events that came under the id of another.
    pub conflicts: u64,
}

/// What becomes of a qualification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The referrer of its lead; `None`: the lead never comes.
    pub referrer: Option<String>,
    pub paid: i64,
    /// `None`: it is taken back.
    pub left: Option<i64>,
}

pub fn keys() -> KeyRing {
    KeyRing::new(1, &[(1, [1; 32])]).expect("the key is there")
}

/// All records of a run with the partition each goes to, in the order in which they are sent.
pub fn records(seed: u64) -> (Vec<(Partition, Record)>, Expected) {
    let mut make = Make {
        rng: rng(seed ^ 0x5eed),
        expected: Expected::default(),
        clicks: Vec::new(),
        threads: Vec::new(),
    };
    for _ in 0..make.rng.random_range(10..60) {
        make.click();
    }
    for person in 0..make.rng.random_range(1..12) {
        make.person(person);
    }
    for number in 0..make.rng.random_range(0..3) {
        make.referrer(number);
        make.forgotten(number);
    }
    for _ in 0..make.rng.random_range(0..4) {
        make.refused();
    }
    make.interleaved()
}

struct Make {
    rng: SmallRng,
    expected: Expected,
    clicks: Vec<(ClickId, &'static str, String)>,
    /// Each inner list keeps its order; the lists are shuffled into each other.
    threads: Vec<Vec<(Partition, Bytes)>>,
}

pub fn program_partition(program: &str) -> Partition {
    let number = PROGRAMS.iter().position(|name| *name == program).expect("it is one of them");
    Partition { stream: Stream::Conversions, number: number as u32 }
}

fn link_of(program: &str, referrer: &str) -> String {
    format!("go.example/{program}-{referrer}")
}

impl Make {
    fn time(&mut self) -> UnixMs {
        // Around the end of a month, and over a few hours.
        let month_end = START.0 - START.0.rem_euclid(MONTH_MS) + MONTH_MS;
        UnixMs(month_end + self.rng.random_range(-3 * HOUR_MS..3 * HOUR_MS))
    }

    fn mode(&mut self) -> Mode {
        if self.rng.random_ratio(1, 10) { Mode::Test } else { Mode::Live }
    }

    fn times(&mut self) -> u64 {
        if self.rng.random_ratio(1, 3) { self.rng.random_range(2..4) } else { 1 }
    }

    /// Sends a record `times`, each at its own moment.
    fn send(&mut self, partition: Partition, record: &Bytes, times: u64) {
        (0..times).for_each(|_| self.threads.push(vec![(partition, record.clone())]));
    }

    fn click(&mut self) {
        let (at, mut random) = (self.time(), [0; 10]);
        self.rng.fill_bytes(&mut random);
        let id = ClickId::mint(at, &random, true);
        let (program, referrer) =
            (*pick(&mut self.rng, &PROGRAMS), format!("r{}", self.rng.random_range(0..3)));
        let click = Click {
            id: Bytes::copy_from_slice(id.0.as_bytes()),
            mode: self.mode().into(),
            program: program.into(),
            referrer: referrer.clone(),
            link: link_of(program, &referrer),
            channel: "email".into(),
            verdict: pick(&mut self.rng, &[Verdict::Human, Verdict::Bot]).to_owned().into(),
            visitor: self.rng.random_range(0..4),
            prefix: self.rng.random_range(0..3),
            ..Click::default()
        };
        let partition = Partition { stream: Stream::Clicks, number: u32::from(random[9]) % CLICK_PARTITIONS };
        let times = self.times();
        self.expected.clicks.insert(id, times);
        self.clicks.push((id, program, referrer));
        self.send(partition, &event::encode(&click), times);
    }

    fn event(
        &mut self,
        program: &str,
        key: &str,
        mode: Mode,
        received_at: UnixMs,
        body: Body,
    ) -> (EventId, Bytes) {
        let id = EventId::of(&program.parse().expect("a name"), "sim", key);
        let event = Event {
            id: Bytes::copy_from_slice(id.0.as_bytes()),
            mode: mode.into(),
            program: program.into(),
            source: "sim".into(),
            occurred_at_ms: received_at.0,
            received_at_ms: received_at.0,
            registry_version: 1,
            rule: Some(AttributionRule {
                model: AttributionModel::LastTouch.into(),
                window_ms: MONTH_MS as u64,
                ..AttributionRule::default()
            }),
            digest: id.0.as_u64_pair().1,
            body: Some(body),
        };
        (id, event::encode(&event))
    }

    /// One event of a person, sent some times: its id and how often. Behind one of them another may come under its id.
    fn tell(&mut self, program: &str, mode: Mode, key: &str, at: UnixMs, body: Body) -> (EventId, u64) {
        let (id, record) = self.event(program, key, mode, at, body);
        let times = self.times();
        let partition = program_partition(program);
        self.send(partition, &record, times);
        if self.rng.random_ratio(1, 8) {
            let event: Event = event::decode(&record).expect("it was encoded here");
            let other = Event { digest: event.digest ^ 2, occurred_at_ms: event.occurred_at_ms - 1, ..event };
            self.expected.conflicts += 1;
            let thread = self.threads.last_mut().expect("the event is in it");
            thread.push((partition, event::encode(&other)));
        }
        (id, times)
    }

    fn code(&self, program: &str) -> Touch {
        Touch {
            token: String::new(),
            link: link_of(program, "by-code"),
            referrer: "by-code".into(),
            channel: "qr".into(),
        }
    }

    /// Touches of a lead received at this time, and who they credit.
    fn touches(&mut self, program: &'static str, received_at: UnixMs) -> (Vec<Touch>, String) {
        let mine: Vec<_> = self
            .clicks
            .iter()
            .filter(|(id, of, _)| *of == program && id.at() <= received_at)
            .cloned()
            .collect();
        let mut touches = Vec::new();
        let mut credited = String::new();
        if self.rng.random_bool(0.3) {
            credited = "by-code".into();
            touches.push(self.code(program));
        }
        if !mine.is_empty() && self.rng.random_bool(0.6) {
            let (id, _, referrer) = pick(&mut self.rng, &mine).clone();
            let link = link_of(program, &referrer);
            let token =
                ClickToken { click: id, link: LinkNumber::of(&link), channel: ChannelNumber::of("email") };
            let mut text = [0; TEXT_LEN];
            let token = keys().mint(&token, &mut text).to_owned();
            credited = referrer.clone();
            touches.push(Touch { token, link, referrer, channel: "email".into() });
        }
        touches.shuffle(&mut self.rng);
        (touches, credited)
    }

    fn refused(&mut self) {
        let (partition, record) = match self.rng.random_range(0..3) {
            0 => (Partition { stream: Stream::Clicks, number: 0 }, Bytes::from_static(b"\xff\xff\xff")),
            1 => (Partition { stream: Stream::Conversions, number: 1 }, Bytes::from_static(b"{}")),
            _ => {
                let body = Body::Timer(Timer::default());
                let when = self.time();
                (program_partition("north"), self.event("north", "timer", Mode::Live, when, body).1)
            }
        };
        self.expected.refused += 1;
        self.send(partition, &record, 1);
    }

    fn interleaved(mut self) -> (Vec<(Partition, Record)>, Expected) {
        let mut turns: Vec<usize> =
            self.threads.iter().enumerate().flat_map(|(at, thread)| vec![at; thread.len()]).collect();
        turns.shuffle(&mut self.rng);
        let mut next = vec![0; self.threads.len()];
        let sent = turns.into_iter().map(|at| {
            let (partition, payload) = self.threads[at][next[at]].clone();
            next[at] += 1;
            (partition, Record { offset: 0, timestamp: START, payload: Some(payload) })
        });
        (sent.collect(), self.expected)
    }
}
