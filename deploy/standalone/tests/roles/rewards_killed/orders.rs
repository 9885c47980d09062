//! What is sent, by which sender, and what must result.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use whence_schemas::ids::EventId;

use crate::support::{Role, ask_api};

/// Each on a partition of its own, whose number Kafka makes of the name.
pub const PROGRAMS: [&str; 4] = ["down", "west", "north", "south"];
pub const REFERRERS: usize = 3;
/// Of the rule `fixed`, for each referrer.
pub const REFERRER_CAP: i64 = 7;
pub const FIXED_MINOR: i64 = 500;
/// Of the rule `monthly`, for each referrer and month.
pub const MONTH_CAP_MINOR: i64 = 1000;
pub const MONTHLY_MINOR: i64 = 300;
/// Of the rule `share`, which gives a multiple of [`SHARE_MINOR`].
pub const BUDGET_MINOR: i64 = 2050;
pub const SHARE_MINOR: i64 = 100;
/// Of the rule `welcome`, for who was referred, without a bound.
pub const WELCOME_MINOR: i64 = 250;
pub const MONTHS: [&str; 2] = ["2025-02", "2025-03"];

/// Of each program, of which some are linked late, some are refunded, and some are told of twice.
const MIXED: usize = 36;
/// Of each program, sent after all others: as many as fill every cap and budget whatever is left of it, since
/// refunds and credit that moves make room.
const PLAIN: usize = 24;
const SENDERS: usize = 4;
const MIXED_ROUNDS: usize = 7;
const PLAIN_ROUNDS: usize = 3;
/// Small: they still send when an aggregator is killed.
const BATCH: usize = 2;

/// The programs with their rules, referrers and links.
pub fn set_up(ingest: &Role, key: &str) {
    let rule = |id: &str, party: &str| json!({ "id": id, "for": party, "currency": "EUR" });
    let month = json!({ "period": "month", "minor": MONTH_CAP_MINOR });
    let rules = [
        with(
            rule("fixed", "referrer"),
            json!({ "fixed_minor": FIXED_MINOR, "per_referrer": { "count": REFERRER_CAP } }),
        ),
        with(rule("monthly", "referrer"), json!({ "fixed_minor": MONTHLY_MINOR, "per_period": month })),
        with(
            rule("share", "referrer"),
            json!({ "percent": "10", "budget_minor": BUDGET_MINOR, "hold_days": 400 }),
        ),
        with(rule("welcome", "referred"), json!({ "fixed_minor": WELCOME_MINOR })),
    ];
    for program in PROGRAMS {
        let fields =
            json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": rules });
        ingest.call_with(key, "PUT", &format!("/v1/programs/{program}"), &fields);
        for number in 0..REFERRERS {
            let (referrer, code) = (referrer(number), code(program, number));
            let path = |what: &str| format!("/v1/programs/{program}/{what}");
            ingest.call_with(key, "POST", &path("referrers"), &json!({ "id": referrer, "name": referrer }));
            let link = json!({ "host": "go.example", "code": code, "referrer": referrer, "channel": "email",
                "destination": "https://shop.example/" });
            ingest.call_with(key, "POST", &path("links"), &link);
        }
    }
}

/// The object with further fields.
fn with(mut object: Value, fields: Value) -> Value {
    let (Value::Object(known), Value::Object(more)) = (&mut object, fields) else { panic!("no objects") };
    known.extend(more);
    object
}

pub fn referrer(number: usize) -> String {
    format!("r{}", number % REFERRERS)
}

fn code(program: &str, number: usize) -> String {
    format!("{program}-{}", number % REFERRERS)
}

/// Somebody who becomes a lead and pays.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub program: &'static str,
    number: usize,
    is_plain: bool,
}

/// An event as the senders say it.
struct Said {
    event: Value,
    /// Sent by so many.
    times: usize,
    is_link: bool,
}

/// All of them.
pub fn persons() -> Vec<Person> {
    let of = |program| {
        let mixed = (0..MIXED).map(move |number| Person { program, number, is_plain: false });
        mixed.chain((0..PLAIN).map(move |number| Person { program, number, is_plain: true }))
    };
    PROGRAMS.into_iter().flat_map(of).collect()
}

impl Person {
    fn name(self) -> String {
        format!("{}{}", if self.is_plain { "plain" } else { "mixed" }, self.number)
    }

    /// The month of the payments.
    pub fn month(self) -> &'static str {
        MONTHS[self.number / REFERRERS % MONTHS.len()]
    }

    /// What the rule `share` gives for a payment.
    pub fn share(self) -> i64 {
        if self.is_plain { SHARE_MINOR } else { SHARE_MINOR * (1 + self.number as i64 / 2 % 3) }
    }

    /// Whether all is taken back that was paid.
    pub fn is_refunded(self) -> bool {
        !self.is_plain && self.number % 7 == 3
    }

    /// Whether another referrer's link made a lead of them too, under another name: the one whose lead comes first is
    /// credited.
    pub fn is_lead_twice(self) -> bool {
        !self.is_plain && self.number.is_multiple_of(5)
    }

    /// Who may be credited.
    pub fn referrers(self) -> Vec<String> {
        (self.number..=self.number + usize::from(self.is_lead_twice())).map(referrer).collect()
    }

    /// The ids of their leads, as the tables write them.
    pub fn leads(self) -> Vec<String> {
        let keys = ["lead", "lead too"].into_iter().take(self.referrers().len());
        keys.map(|key| {
            let program = self.program.parse().unwrap();
            EventId::of_kind(&program, "api", false, "lead", &self.key(key)).0.hyphenated().to_string()
        })
        .collect()
    }

    fn key(self, what: &str) -> String {
        format!("{what} of {}", self.name())
    }

    /// What a person goes by in the form, and at the payment provider.
    fn aliases(self) -> [(&'static str, String); 2] {
        [("email", format!("{}@mail.example", self.name())), ("customer", format!("c-{}", self.name()))]
    }

    fn event(self, kind: &str, key: &str, by: usize, fields: Value) -> Value {
        let (alias, name) = &self.aliases()[by];
        let event = json!({ "type": kind, "program": self.program, "id": self.key(key),
            "occurred_at": "2025-02-01T00:00:00Z", (*alias): name });
        with(event, fields)
    }

    fn said(self) -> Vec<Said> {
        let always = |times: usize, event: Value| Said { event, times, is_link: false };
        let lead = |key: &str, by: usize, referrer: usize| {
            always(2, self.event("lead", key, by, json!({ "code": code(self.program, referrer) })))
        };
        let value = |minor: i64| json!({ "minor": minor, "currency": "EUR" });
        let paid_minor = self.share() * 10;
        let paid = |key: &str, by: usize| {
            let at = format!("{}-10T00:00:00Z", self.month());
            let fields = json!({ "name": "purchase", "value": value(paid_minor), "occurred_at": at });
            self.event("qualification", key, by, fields)
        };
        // By one name or the other; by both it would be another event under the id.
        let by = if self.is_plain { 0 } else { self.number / 6 % 2 };
        let mut said = vec![lead("lead", 0, self.number), always(3, paid("order", by))];
        if self.is_plain {
            return said;
        }
        if self.is_lead_twice() {
            said.push(lead("lead too", 1, self.number + 1));
        }
        let refund = |key: &str, minor: i64| {
            let fields =
                json!({ "qualification": self.key("order"), "reason": "refund", "value": value(minor) });
            always(2, self.event("disqualification", key, 0, fields))
        };
        match self.number % 14 {
            3 => said.extend(["refund", "refund too"].map(|key| refund(key, paid_minor / 2))),
            10 => said.push(refund("refund", paid_minor)),
            _ if self.number.is_multiple_of(4) => said.push(always(2, paid("order too", 1))),
            _ => {}
        }
        let [email, customer] = self.aliases();
        let link = json!({ "type": "identify", "program": self.program, "id": self.key("link"),
            (email.0): email.1, (customer.0): customer.1 });
        said.push(Said { event: link, times: 2, is_link: true });
        said
    }
}

/// Between two kills, what each sender sends.
pub type Round = [Vec<Value>; SENDERS];

/// Each sender's events in an order of its own, except for the links, which come late as a rule, and the plain persons,
/// who come last.
pub fn rounds(persons: &[Person]) -> Vec<Round> {
    let mut rounds: Vec<Round> = (0..MIXED_ROUNDS + PLAIN_ROUNDS).map(|_| Round::default()).collect();
    for sender in 0..SENDERS {
        let mut chance = SmallRng::seed_from_u64(sender as u64);
        let [mut early, mut late, mut last] = [const { Vec::new() }; 3];
        for person in persons {
            for (at, said) in person.said().into_iter().enumerate() {
                let turn = (SENDERS + sender - (person.number + at) % SENDERS) % SENDERS;
                if turn >= said.times {
                    continue;
                }
                let is_late = said.is_link && chance.random_bool(0.8);
                let queue = match () {
                    () if person.is_plain => &mut last,
                    () if is_late => &mut late,
                    () => &mut early,
                };
                queue.push(said.event.clone());
            }
        }
        [&mut early, &mut late, &mut last].into_iter().for_each(|queue| queue.shuffle(&mut chance));
        early.append(&mut late);
        let (mixed, plain) = rounds.split_at_mut(MIXED_ROUNDS);
        for (rounds, queue) in [(mixed, early), (plain, last)] {
            let size = queue.len().div_ceil(rounds.len());
            for (round, sends) in rounds.iter_mut().zip(queue.chunks(size)) {
                round[sender] = sends.to_vec();
            }
        }
    }
    rounds
}

/// How many are sent of which one came before.
pub fn duplicates(rounds: &[Round]) -> u64 {
    let all: Vec<&Value> = rounds.iter().flatten().flatten().collect();
    let ids: std::collections::BTreeSet<_> = all
        .iter()
        .map(|event| ["type", "program", "id"].map(|field| event[field].as_str().unwrap()))
        .collect();
    (all.len() - ids.len()) as u64
}

/// Threads that send at once.
pub struct Senders {
    work: Vec<Sender<Vec<Value>>>,
    done: Receiver<()>,
}

impl Senders {
    pub fn start(api: &str, key: &str) -> Self {
        let (done, is_done) = channel();
        let start = |_| {
            let (work, take) = channel::<Vec<Value>>();
            let (api, key, done) = (api.to_owned(), key.to_owned(), done.clone());
            thread::spawn(move || {
                for sends in take {
                    for batch in sends.chunks(BATCH) {
                        let answer = ask_api(&api, &key, "POST", "/v1/events", &batch.into());
                        assert_eq!(answer.status, 202, "{}", answer.body);
                    }
                    done.send(()).unwrap();
                }
            });
            work
        };
        Self { work: (0..SENDERS).map(start).collect(), done: is_done }
    }

    /// Has each send its part.
    pub fn send(&self, round: &Round) {
        for (work, sends) in self.work.iter().zip(round) {
            work.send(sends.clone()).expect("a sender was refused: see above");
        }
    }

    /// Waits until all of a round is accepted.
    pub fn until_sent(&self) {
        for _ in &self.work {
            self.done.recv_timeout(crate::support::DEADLINE).expect("a sender was refused: see above");
        }
    }
}
