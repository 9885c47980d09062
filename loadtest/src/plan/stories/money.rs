//! What is paid, taken back and given again.
//!
//! Each story is simple enough that what must come of it can be told in a sentence: one payment, a refund of it or two, and
//! one event that undoes a refund. They come in any order; what counts is when they say that they happened.

use super::{DraftBody, Step, StoryTeller, TRIAL, chain};
use crate::ledger::{Body, Money, Named, Subject};
use rand::{RngExt as _, seq::SliceRandom as _};

/// Between a payment and its refund, and between that and what undoes it, in the time that events tell.
const LATER_MS_MAX: i64 = 5_000;
/// Minor units that are asked for beyond what there is.
const BEYOND_MINOR_MAX: i64 = 1_000;

impl StoryTeller {
    /// A payment of a name by chance, maybe taken back.
    pub(super) fn paid(&mut self, program: u16, person: &Subject, at_ms: i64) -> Step {
        let paid = self.qualification(program, person, at_ms, true);
        self.maybe_taken_back(paid, true)
    }

    /// Two payments. Where one is taken back, the other one earns nothing, so that it does not matter which came first.
    pub(super) fn paid_twice(&mut self, program: u16, person: &Subject, at_ms: i64) -> Vec<Step> {
        let paid = self.qualification(program, person, at_ms, true);
        let mut another = self.qualification(program, person, at_ms, true);
        let paid = self.maybe_taken_back(paid, false);
        let is_refund =
            |step: &Step| matches!(step.event.body, DraftBody::Other(Body::Disqualification { .. }));
        if has(&paid, &is_refund)
            && let DraftBody::Other(Body::Qualification { name, .. }) = &mut another.event.body
        {
            TRIAL.clone_into(name);
        }
        vec![paid, another]
    }

    /// A refund of a payment that nobody made, or the undoing of a refund that nobody made.
    pub(super) fn in_vain(&mut self, program: u16, person: &Subject, at_ms: i64, delay_ms: u32) -> Step {
        let key = format!("{}-{}-nothing-{}", self.world.tag, self.part, self.events);
        let body = match self.random.random_range(0..4) {
            0 => Body::Disqualification { named: by_event(&key), value: None },
            1 => Body::Disqualification { named: by_payment(&key), value: None },
            2 => Body::Reinstatement { named: by_event(&key), value: None },
            _ => Body::Reinstatement { named: by_payment(&key), value: None },
        };
        let event = self.event(program, person, at_ms, DraftBody::Other(body));
        self.sent(delay_ms, event)
    }

    pub(super) fn payment_name(&mut self) -> String {
        format!("{}-{}-pay-{}", self.world.tag, self.part, self.events)
    }

    /// The payment, its refunds and what undoes one, in an order by chance; mostly the payment alone. `is_only`: the person
    /// has no other one, so that a refund may name nothing.
    fn maybe_taken_back(&mut self, paid: Step, is_only: bool) -> Step {
        if !self.happens(self.mix.refunds) {
            return paid;
        }
        let DraftBody::Other(Body::Qualification { value, payment, .. }) = paid.event.body.clone() else {
            return paid;
        };
        let (asked, is_twice) = self.asked_of(value.as_ref());
        let named = match (self.random.random_range(0..3), &payment) {
            (0, Some(payment)) => by_payment(payment),
            (1, _) if is_only && asked.is_none() => Named::default(),
            _ => by_event(&paid.event.key),
        };
        let whose = paid.event.subject.clone();
        let refund = self.after(&paid, &whose, Body::Disqualification { named, value: asked.clone() });
        let mut steps = vec![refund.clone()];
        if is_twice {
            let named = by_event(&paid.event.key);
            steps.push(self.after(&refund, &whose, Body::Disqualification { named, value: None }));
        }
        if self.happens(self.mix.reinstatements) {
            let named = match payment.filter(|_| self.happens(50.0)) {
                Some(payment) => by_payment(&payment),
                None => by_event(&refund.event.key),
            };
            let taken = taken(value.as_ref(), asked.as_ref());
            let value = self.given_of(value.as_ref(), taken);
            let last = steps[steps.len() - 1].clone();
            steps.push(self.after(&last, &whose, Body::Reinstatement { named, value }));
        }
        steps.insert(0, paid);
        if self.happens(30.0) {
            steps.shuffle(&mut self.random);
        }
        if self.happens(30.0) {
            // Not waiting for each other.
            let mut first = steps.remove(0);
            first.then.extend(steps);
            return first;
        }
        chain(steps)
    }

    /// What a refund asks for (`None`: all), and whether another one comes after it.
    fn asked_of(&mut self, value: Option<&Money>) -> (Option<Money>, bool) {
        let Some(Money { minor, currency }) = value else { return (None, self.happens(20.0)) };
        let of = |minor: i64, currency: &str| Some(Money { minor, currency: currency.to_owned() });
        match self.random.random_range(0..100) {
            0..35 => (None, false),
            35..50 => (None, true),
            50..85 => (of(self.random.random_range(1..*minor), currency), false),
            85..90 => (of(*minor, currency), false),
            90..95 => (of(minor + self.random.random_range(1..BEYOND_MINOR_MAX), currency), false),
            _ => (of(*minor, if currency == "EUR" { "USD" } else { "EUR" }), false),
        }
    }

    /// What is to be given again of so much that was taken; `None`: all.
    fn given_of(&mut self, value: Option<&Money>, taken_minor: i64) -> Option<Money> {
        let currency = value?.currency.clone();
        let minor = match self.random.random_range(0..100) {
            0..50 => None,
            50..85 if taken_minor > 1 => Some(self.random.random_range(1..taken_minor)),
            85..92 => Some(taken_minor + self.random.random_range(1..BEYOND_MINOR_MAX)),
            _ => Some(taken_minor.max(1)),
        };
        minor.map(|minor| Money { minor, currency })
    }

    /// What happens after another step, about this person.
    fn after(&mut self, before: &Step, whose: &Subject, body: Body) -> Step {
        let delay_ms = self.delay();
        let occurred_at_ms = before.event.occurred_at_ms + self.random.random_range(1..LATER_MS_MAX);
        // Whoever undoes something need not say whose it was.
        let is_named = match &body {
            Body::Reinstatement { .. } => false,
            Body::Disqualification { named, .. } => named.payment.is_none(),
            _ => true,
        };
        let says_whose = is_named || self.happens(50.0);
        let subject = if says_whose { whose.clone() } else { Subject::default() };
        let event = self.event(before.event.program, &subject, occurred_at_ms, DraftBody::Other(body));
        self.sent(delay_ms, event)
    }
}

fn by_event(key: &str) -> Named {
    Named { event: Some(key.to_owned()), payment: None }
}

fn by_payment(name: &str) -> Named {
    Named { event: None, payment: Some(name.to_owned()) }
}

/// Whether this step or one that follows it is such a one.
fn has(step: &Step, is_such: &impl Fn(&Step) -> bool) -> bool {
    is_such(step) || step.then.iter().any(|step| has(step, is_such))
}

/// What a refund takes that asks for this much.
fn taken(value: Option<&Money>, asked: Option<&Money>) -> i64 {
    let paid = value.map_or(0, |value| value.minor);
    match (value, asked) {
        (_, None) => paid,
        (Some(value), Some(asked)) if value.currency == asked.currency => asked.minor.min(paid),
        _ => 0,
    }
}
