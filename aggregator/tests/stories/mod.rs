//! Stories of one referral: leads, some of which are told by several events, payments with several names, refunds, what
//! is given again, and links between aliases and names, at random. The same seed
//! tells the same story, of whatever program; a story's events may come in any order.

use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use whence_schemas::{
    event::{
        self, AttributionModel, AttributionRule, Disqualification, Event, ExistingCustomers, FirstPayment,
        HistoryCondition, Identify, Lead, Mode, Qualification, Reinstatement, RewardTerms, SpendAtLeast,
        Subject, Touch, event::Body, history_condition::Is,
    },
    ids::{ChannelNumber, ClickId, EventId, LinkNumber},
    time::{HOUR_MS, UnixMs},
    token::{ClickToken, KeyRing, TEXT_LEN},
};

const START: UnixMs = UnixMs(1_798_761_600_000 - 4 * HOUR_MS);
const ALIASES: u8 = 4;
const PAYMENTS: u8 = 3;

/// An event of a story.
pub struct Told {
    pub id: EventId,
    pub record: Bytes,
}

fn pick<T: Copy>(rng: &mut impl Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

/// The story of this seed, of so many events; some of its payments count only under a condition.
pub fn story(seed: u64, events: usize, program: &str, keys: &KeyRing) -> Vec<Told> {
    told(seed, events, program, keys, None)
}

/// The same with all payments under one condition, and with terms.
#[allow(dead_code, reason = "one of the two that tell stories asks for rewards")]
pub fn paid_story(seed: u64, events: usize, program: &str, keys: &KeyRing, terms: RewardTerms) -> Vec<Told> {
    told(seed, events, program, keys, Some(terms))
}

fn told(seed: u64, events: usize, program: &str, keys: &KeyRing, terms: Option<RewardTerms>) -> Vec<Told> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let spend = SpendAtLeast { amount_minor: 300, currency: "EUR".into(), within_days: 1 };
    let history = match rng.random_range(0..3) {
        0 if terms.is_none() => None,
        1 => Some(Is::FirstPayment(FirstPayment {})),
        _ => Some(Is::SpendAtLeast(spend)),
    };
    let history = history.map(|is| HistoryCondition { is: Some(is) });
    let mut teller = Teller {
        rng,
        program,
        keys,
        terms,
        history,
        qualifications: Vec::new(),
        disqualifications: Vec::new(),
    };
    let rule = AttributionRule {
        model: pick(&mut teller.rng, &[AttributionModel::LastTouch, AttributionModel::FirstTouch]).into(),
        window_ms: 6 * HOUR_MS as u64,
        existing_customers: pick(&mut teller.rng, &[ExistingCustomers::Refuse, ExistingCustomers::Allow])
            .into(),
    };
    (0..events).map(|number| teller.tell(number, rule)).collect()
}

struct Teller<'a> {
    rng: SmallRng,
    program: &'a str,
    keys: &'a KeyRing,
    /// What payments earn; then all of them are under the story's condition.
    terms: Option<RewardTerms>,
    /// What most payments of the story ask of the person's history.
    history: Option<HistoryCondition>,
    /// Those of the story, told or not yet told.
    qualifications: Vec<EventId>,
    disqualifications: Vec<EventId>,
}

impl Teller<'_> {
    fn id(&self, number: usize) -> EventId {
        EventId::of(&self.program.parse().expect("it is a name"), "story", &number.to_string())
    }

    fn moment(&mut self) -> UnixMs {
        UnixMs(START.0 + self.rng.random_range(0..8) * HOUR_MS)
    }

    fn subject(&mut self, aliases: usize) -> Option<Subject> {
        let mut keys: Vec<Bytes> = Vec::new();
        for _ in 0..aliases {
            keys.push(Bytes::copy_from_slice(&[self.rng.random_range(0..ALIASES) + 1; 16]));
        }
        Some(Subject { lead: "it".into(), keys, ..Subject::default() })
    }

    fn touch(&mut self) -> Touch {
        let referrer = format!("r{}", self.rng.random_range(0..3));
        let link = format!("go.example/{referrer}");
        let mut touch = Touch { token: String::new(), link, referrer, channel: "email".into() };
        if self.rng.random_bool(0.7) {
            let mut random = [0; 10];
            self.rng.fill_bytes(&mut random);
            let token = ClickToken {
                click: ClickId::mint(self.moment(), &random, true),
                link: LinkNumber::of(&touch.link),
                channel: ChannelNumber::of(&touch.channel),
            };
            touch.token = self.keys.mint(&token, &mut [0; TEXT_LEN]).to_owned();
        }
        touch
    }

    /// A few of the few names that payments of a story have: some are those of several events.
    fn payments(&mut self, most: usize) -> Vec<Bytes> {
        let program = self.program.parse().expect("it is a name");
        let names = 0..self.rng.random_range(0..most + 1);
        let names: Vec<u8> = names.map(|_| self.rng.random_range(0..PAYMENTS)).collect();
        let id = |name: &u8| EventId::of_kind(&program, "story", false, "payment", &name.to_string());
        names.iter().map(|name| Bytes::copy_from_slice(id(name).0.as_bytes())).collect()
    }

    /// Of the record that several leads of a story are told of.
    fn record(&mut self) -> Bytes {
        let id = EventId::of_kind(
            &self.program.parse().expect("it is a name"),
            "story",
            false,
            "record",
            &self.rng.random_range(0..2).to_string(),
        );
        if self.rng.random_bool(0.4) { Bytes::copy_from_slice(id.0.as_bytes()) } else { Bytes::new() }
    }

    fn tell(&mut self, number: usize, rule: AttributionRule) -> Told {
        let id = self.id(number);
        let subjects = self.rng.random_range(1..3);
        let body = match self.rng.random_range(0..12) {
            0..=2 => {
                let touches = (0..self.rng.random_range(0..3)).map(|_| self.touch()).collect();
                Body::Lead(Lead { subject: self.subject(subjects), touches, record: self.record() })
            }
            3..=5 => {
                self.qualifications.push(id);
                let has_condition = self.terms.is_some() || self.rng.random_bool(0.8);
                Body::Qualification(Qualification {
                    subject: self.subject(subjects),
                    name: "purchase".into(),
                    value_minor: pick(&mut self.rng, &[0, 100, 250]),
                    currency: pick(&mut self.rng, &["EUR", "EUR", "USD"]).into(),
                    rewards: self.terms.clone(),
                    history: self.history.clone().filter(|_| has_condition),
                    payments: self.payments(1),
                })
            }
            6 => Body::Identify(Identify { subject: self.subject(2), payments: Vec::new() }),
            7 => Body::Identify(Identify { subject: self.subject(1), payments: self.payments(2) }),
            8 | 9 => {
                self.disqualifications.push(id);
                self.disqualification(subjects)
            }
            _ => self.reinstatement(),
        };
        // No two events of one moment: the tie would be broken by the ids, which are of the program.
        let [occurred_at, received_at] = [self.moment(), self.moment()].map(|at| at.plus_ms(number as i64));
        // A few are too late for a total.
        let is_late = matches!(body, Body::Qualification(_)) && self.rng.random_bool(0.1);
        let occurred_at = occurred_at.plus_ms(if is_late { 48 * HOUR_MS } else { 0 });
        let event = Event {
            id: Bytes::copy_from_slice(id.0.as_bytes()),
            mode: Mode::Live.into(),
            program: self.program.into(),
            source: "story".into(),
            occurred_at_ms: occurred_at.0,
            received_at_ms: received_at.0,
            registry_version: 1,
            rule: Some(rule),
            digest: 0,
            body: Some(body),
        };
        Told { id, record: event::encode(&event) }
    }

    fn disqualification(&mut self, aliases: usize) -> Body {
        let named = match &self.qualifications[..] {
            [.., last] if self.rng.random_bool(0.4) => Some(*last),
            _ => None,
        };
        let payments = if named.is_none() { self.payments(1) } else { Vec::new() };
        let value_minor = pick(&mut self.rng, &[0, 40, 100, 300]);
        Body::Disqualification(Disqualification {
            subject: self.subject(aliases),
            qualification_id: named.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.0.as_bytes())),
            reason: "refund".into(),
            value_minor,
            currency: if value_minor == 0 { String::new() } else { "EUR".into() },
            payments,
        })
    }

    /// Of a disqualification that was told or will be, or of a payment.
    fn reinstatement(&mut self) -> Body {
        let named = match &self.disqualifications[..] {
            [.., last] if self.rng.random_bool(0.6) => Some(*last),
            _ => None,
        };
        let mut payments = self.payments(1);
        let named = named.filter(|_| payments.is_empty());
        if payments.is_empty() && named.is_none() {
            // The first event's id is a name of its payment, if it is one.
            payments.push(Bytes::copy_from_slice(self.id(0).0.as_bytes()));
        }
        let value_minor = pick(&mut self.rng, &[0, 0, 40, 300]);
        Body::Reinstatement(Reinstatement {
            disqualification_id: named.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.0.as_bytes())),
            payments,
            reason: "again".into(),
            value_minor,
            currency: if value_minor == 0 { String::new() } else { "EUR".into() },
            ..Reinstatement::default()
        })
    }
}
