//! What is left of payments after refunds, and after what undoes these.
//!
//! The rules, as they are told to whoever sends such events:
//!
//! - A refund takes what it asks for, or all, and never more than is left. It means the payment that it names or, where it
//!   names none, all of the person's until then.
//! - A reinstatement gives again what it asks for, or all, and never more than is taken. It means the refund that it names,
//!   right after which it counts then, or all refunds until then of the payment that it names, the latest first.
//! - Of what everything was taken, nothing is left, not even that it was reached.
//!
//! A reinstatement gives again what one payment has lost: no story refunds two payments at once.

use crate::ledger::{Body, EventEntry, Id, Money, Named};
use std::collections::{BTreeMap, BTreeSet};

/// What came of a refund or of a reinstatement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Came<'a> {
    /// The word in the table.
    pub outcome: &'static str,
    /// Payments that a refund has something of.
    pub payments: i64,
    /// What it has, or what a reinstatement gave, in minor units.
    pub minor: i64,
    /// The currency; empty for nothing.
    pub currency: &'a str,
    /// What was asked for and was not there.
    pub excess_minor: i64,
}

/// What stands of a person's payments.
#[derive(Debug, Default)]
pub(super) struct Balance<'a> {
    /// Of each qualification; `None`: it does not count any more.
    pub left: BTreeMap<Id, Option<i64>>,
    /// Of each refund and reinstatement.
    pub came: BTreeMap<Id, Came<'a>>,
}

/// One payment.
struct Account<'a> {
    id: Id,
    name: Option<&'a str>,
    paid_at_ms: i64,
    currency: &'a str,
    left: Option<i64>,
    /// What refunds have of it, the earliest first.
    taken: Vec<Taken>,
}

struct Taken {
    refund: Id,
    minor: i64,
}

impl Account<'_> {
    /// Takes all; whether there was anything.
    fn take_all(&mut self, refund: Id) -> bool {
        let left = self.left.take();
        self.taken.extend(left.map(|minor| Taken { refund, minor }));
        left.is_some()
    }

    /// Takes a part, and says how much of it was not there.
    fn take(&mut self, refund: Id, asked_minor: i64) -> i64 {
        let left = self.left.unwrap_or(0);
        let minor = asked_minor.min(left);
        if minor > 0 {
            self.left = Some(left - minor).filter(|left| *left > 0);
            self.taken.push(Taken { refund, minor });
        }
        asked_minor - minor
    }

    /// Gives again what these refunds have, up to this much, and says how much that was.
    fn give(&mut self, of: Option<Id>, asked_minor: Option<i64>) -> i64 {
        let mut given = 0;
        for taken in self.taken.iter_mut().rev().filter(|taken| of.is_none_or(|of| of == taken.refund)) {
            let minor = asked_minor.map_or(taken.minor, |asked| taken.minor.min(asked - given));
            taken.minor -= minor;
            given += minor;
        }
        self.left = Some(self.left.unwrap_or(0) + given);
        self.taken.retain(|taken| taken.minor > 0);
        given
    }
}

/// A refund, or a reinstatement, where it counts.
struct Move<'a> {
    id: Id,
    event: &'a EventEntry,
    named: &'a Named,
    asked: Option<&'a Money>,
    is_refund: bool,
}

impl Move<'_> {
    /// The kind of the events that it names.
    fn names(&self) -> &'static str {
        if self.is_refund { "qualification" } else { "disqualification" }
    }
}

/// What stands of the money of a person with these events; `id_of` gives the id of an event by its kind and key.
pub(super) fn settle<'a>(
    person: &[(Id, &'a EventEntry)],
    id_of: impl Fn(&EventEntry, &str, &str) -> Id,
) -> Balance<'a> {
    let mut accounts: Vec<Account<'a>> =
        person.iter().filter_map(|(id, event)| account(*id, event)).collect();
    let mut balance = Balance::default();
    let mut undone: BTreeSet<Id> = BTreeSet::new();
    let (steps, waiting) = in_order(person, &id_of);
    let waits = Came { outcome: "waiting", ..Came::default() };
    balance.came.extend(waiting.into_iter().map(|id| (id, waits.clone())));
    for step in steps {
        let named = step.named.event.as_deref().map(|key| id_of(step.event, step.names(), key));
        let payment = step.named.payment.as_deref();
        let asked_minor = step.asked.map(|asked| asked.minor);
        let excess_minor = asked_minor.unwrap_or_default();
        let is_meant = |account: &&mut Account<'_>| match (step.is_refund, named, payment) {
            (true, Some(id), _) => account.id == id,
            (true, None, None) => account.paid_at_ms <= step.event.occurred_at_ms,
            (false, Some(refund), _) => account.taken.iter().any(|taken| taken.refund == refund),
            (_, _, payment) => account.name == payment,
        };
        let mut meant: Vec<&mut Account<'_>> = accounts.iter_mut().filter(is_meant).collect();
        let is_of_currency =
            |account: &&mut Account<'_>| step.asked.is_none_or(|asked| asked.currency == account.currency);
        let is_found = match step.is_refund {
            true => !meant.is_empty(),
            false => meant.iter().any(|account| !account.taken.is_empty()),
        };
        meant.retain(is_of_currency);
        let came = if !is_found && step.is_refund {
            waits.clone()
        } else if !is_found {
            Came { outcome: "nothing", excess_minor, ..Came::default() }
        } else if meant.is_empty() {
            Came { outcome: "currency", excess_minor, ..Came::default() }
        } else if step.is_refund {
            refund(step.id, asked_minor, &mut meant)
        } else {
            let account = &mut meant[0];
            undone.extend(account.taken.iter().map(|taken| taken.refund));
            let minor = account.give(named, asked_minor);
            let excess_minor = asked_minor.map_or(0, |asked| asked - minor);
            let outcome = if excess_minor > 0 { "excess" } else { "applied" };
            Came { outcome, minor, currency: account.currency, excess_minor, payments: 0 }
        };
        balance.came.insert(step.id, came);
    }
    for account in &accounts {
        balance.left.insert(account.id, account.left);
        for taken in &account.taken {
            if let Some(came) = balance.came.get_mut(&taken.refund) {
                came.payments += 1;
                came.minor += taken.minor;
                came.currency = account.currency;
            }
        }
    }
    for id in undone {
        if let Some(came) = balance.came.get_mut(&id).filter(|came| came.payments == 0) {
            came.outcome = "reinstated";
        }
    }
    balance
}

fn refund<'a>(id: Id, asked_minor: Option<i64>, meant: &mut [&mut Account<'a>]) -> Came<'a> {
    let (outcome, excess_minor) = match asked_minor {
        None => {
            let taken =
                meant.iter_mut().map(|account| account.take_all(id)).filter(|is_taken| *is_taken).count();
            (if taken > 0 { "applied" } else { "repeated" }, 0)
        }
        Some(asked) => match meant[0].take(id, asked) {
            0 => ("applied", 0),
            excess => ("excess", excess),
        },
    };
    Came { outcome, excess_minor, ..Came::default() }
}

fn account(id: Id, event: &EventEntry) -> Option<Account<'_>> {
    let Body::Qualification { value, payment, .. } = &event.body else { return None };
    Some(Account {
        id,
        name: payment.as_deref(),
        paid_at_ms: event.occurred_at_ms,
        currency: value.as_ref().map_or("", |value| &value.currency),
        left: Some(value.as_ref().map_or(0, |value| value.minor)),
        taken: Vec::new(),
    })
}

/// Refunds and reinstatements in the order in which they count, and the reinstatements whose refund is not there.
fn in_order<'a>(
    person: &[(Id, &'a EventEntry)],
    id_of: &impl Fn(&EventEntry, &str, &str) -> Id,
) -> (Vec<Move<'a>>, Vec<Id>) {
    let mut line: Vec<Move<'a>> = Vec::new();
    let mut undoing: BTreeMap<Id, Vec<Move<'a>>> = BTreeMap::new();
    for &(id, event) in person {
        let (named, asked, is_refund) = match &event.body {
            Body::Disqualification { named, value } => (named, value.as_ref(), true),
            Body::Reinstatement { named, value } => (named, value.as_ref(), false),
            _ => continue,
        };
        let step = Move { id, event, named, asked, is_refund };
        match named.event.as_deref().filter(|_| !is_refund) {
            Some(refund) => undoing.entry(id_of(event, "disqualification", refund)).or_default().push(step),
            None => line.push(step),
        }
    }
    line.sort_by_key(|step| (step.event.occurred_at_ms, !step.is_refund, step.id));
    let mut steps = Vec::new();
    for step in line {
        let undone = undoing.remove(&step.id).unwrap_or_default();
        steps.push(step);
        steps.extend(undone);
    }
    (steps, undoing.into_values().flatten().map(|step| step.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Subject;

    fn id_of(_: &EventEntry, _: &str, key: &str) -> Id {
        Id(key.parse().unwrap())
    }

    fn event(id: u128, body: Body) -> EventEntry {
        let occurred_at_ms = 1_000 * i64::try_from(id).unwrap();
        let number = u64::try_from(id).unwrap();
        EventEntry {
            number,
            program: 0,
            key: id.to_string(),
            occurred_at_ms,
            subject: Subject::default(),
            body,
            refusal: None,
        }
    }

    fn eur(minor: i64) -> Option<Money> {
        Some(Money { minor, currency: "EUR".into() })
    }

    fn paid(id: u128, value: Option<Money>) -> EventEntry {
        event(id, Body::Qualification { name: "purchase".into(), value, payment: Some(format!("pay-{id}")) })
    }

    fn refund(id: u128, of: u128, value: Option<Money>) -> EventEntry {
        let named = Named { event: Some(of.to_string()), payment: None };
        event(id, Body::Disqualification { named, value })
    }

    fn again(id: u128, named: Named, value: Option<Money>) -> EventEntry {
        event(id, Body::Reinstatement { named, value })
    }

    fn by_event(of: u128) -> Named {
        Named { event: Some(of.to_string()), payment: None }
    }

    fn by_payment(of: u128) -> Named {
        Named { event: None, payment: Some(format!("pay-{of}")) }
    }

    /// What is left of payment 1, and what came of the others as outcome, payments, minor units and excess.
    /// Outcome, and what was taken or given, of how many, and beyond what was left.
    type Outcome = (&'static str, i64, i64, i64);

    fn settled(events: &[EventEntry]) -> (Option<i64>, Vec<Outcome>) {
        let person: Vec<_> = events.iter().map(|event| (Id(event.number.into()), event)).collect();
        let balance = settle(&person, id_of);
        let came =
            balance.came.values().map(|came| (came.outcome, came.payments, came.minor, came.excess_minor));
        (balance.left.get(&Id(1)).copied().flatten(), came.collect())
    }

    #[test]
    fn a_refund_takes_what_it_asks_for_and_no_more_than_is_left() {
        let of = |value| settled(&[paid(1, eur(500)), refund(2, 1, value)]);
        assert_eq!(of(None), (None, vec![("applied", 1, 500, 0)]));
        assert_eq!(of(eur(200)), (Some(300), vec![("applied", 1, 200, 0)]));
        assert_eq!(of(eur(500)), (None, vec![("applied", 1, 500, 0)]));
        assert_eq!(of(eur(700)), (None, vec![("excess", 1, 500, 200)]));
        let usd = Some(Money { minor: 100, currency: "USD".into() });
        assert_eq!(of(usd), (Some(500), vec![("currency", 0, 0, 100)]));
        let twice = [paid(1, eur(500)), refund(2, 1, None), refund(3, 1, None)];
        assert_eq!(settled(&twice), (None, vec![("applied", 1, 500, 0), ("repeated", 0, 0, 0)]));
        assert_eq!(settled(&[refund(2, 1, None)]), (None, vec![("waiting", 0, 0, 0)]));
        let of_nothing = [paid(1, None), refund(2, 1, None)];
        assert_eq!(settled(&of_nothing), (None, vec![("applied", 1, 0, 0)]));
    }

    #[test]
    fn a_reinstatement_gives_what_it_asks_for_and_no_more_than_was_taken() {
        let of = |named: Named, value| {
            settled(&[paid(1, eur(500)), refund(2, 1, eur(200)), again(3, named, value)])
        };
        for named in [by_event(2), by_payment(1)] {
            let reinstated = ("reinstated", 0, 0, 0);
            assert_eq!(of(named.clone(), None), (Some(500), vec![reinstated, ("applied", 0, 200, 0)]));
            let part = of(named.clone(), eur(50));
            assert_eq!(part, (Some(350), vec![("applied", 1, 150, 0), ("applied", 0, 50, 0)]));
            assert_eq!(of(named, eur(300)), (Some(500), vec![reinstated, ("excess", 0, 200, 100)]));
        }
        assert_eq!(of(by_event(9), None), (Some(300), vec![("applied", 1, 200, 0), ("waiting", 0, 0, 0)]));
        let nothing = [paid(1, eur(500)), again(2, by_payment(1), eur(7))];
        assert_eq!(settled(&nothing), (Some(500), vec![("nothing", 0, 0, 7)]));
        let of_nothing = [paid(1, None), refund(2, 1, None), again(3, by_event(2), None)];
        assert_eq!(settled(&of_nothing), (Some(0), vec![("reinstated", 0, 0, 0), ("applied", 0, 0, 0)]));
    }

    #[test]
    fn a_reinstatement_that_names_its_refund_counts_right_after_that() {
        let story = [paid(1, eur(500)), refund(2, 1, None), refund(3, 1, None), again(4, by_event(2), None)];
        let expected = vec![("reinstated", 0, 0, 0), ("applied", 1, 500, 0), ("applied", 0, 500, 0)];
        assert_eq!(settled(&story), (None, expected));
    }
}
