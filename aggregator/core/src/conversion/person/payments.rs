//! Which events tell of one payment, and what is left of it.
//!
//! A payment goes by several names: an invoice, an intent, a charge, a session of one provider. Qualifications of one
//! name that share one of them, directly or through what any event of the person says, are one payment: the first one
//! received counts, and one that says what was paid before one that does not.
//!
//! What takes back and what gives again stand on one time line, in the order in which they happened. What is taken back
//! is taken from the newest payment first where none is named, and never more than is left; what is given again is what
//! was taken, the newest first. A reinstatement that names a disqualification undoes it where that stands, whenever the
//! two came.

use super::{
    super::{people::id_key, sets::Sets},
    Disqualification, DisqualificationState, Person, Qualification, Reinstatement, ReinstatementState,
};
use std::collections::{BTreeMap, BTreeSet};
use whence_schemas::{ids::EventId, subject::SubjectKey};

/// What is left of a payment; `None`: all of it was taken back.
pub(super) type Left = BTreeMap<EventId, Option<i64>>;

/// What stands of the person's payments.
pub(super) struct Payments<'a> {
    /// Those that count, in no order.
    pub counting: Vec<&'a Qualification>,
    /// Of each that counts.
    pub left: Left,
    /// Those that tell of a payment that another one counts for.
    pub told_again: BTreeSet<EventId>,
    pub disqualifications: BTreeMap<EventId, DisqualificationState>,
    pub reinstatements: BTreeMap<EventId, ReinstatementState>,
}

impl<'a> Payments<'a> {
    pub fn of(person: &'a Person) -> Payments<'a> {
        let mut sets = Sets::new();
        let mut join = |names: &[SubjectKey], id: Option<EventId>| {
            sets.join(names.iter().copied().chain(id.map(id_key)));
        };
        for payment in person.qualifications.values() {
            join(&payment.payments, Some(payment.id));
        }
        person.disqualifications.values().for_each(|d| join(&d.payments, d.qualification));
        person.reinstatements.values().for_each(|r| join(&r.payments, None));
        person.named_by.values().for_each(|payments| join(payments, None));

        let mut first: BTreeMap<(usize, &str), &Qualification> = BTreeMap::new();
        let mut told_again = BTreeSet::new();
        let order = |q: &Qualification| (q.currency.is_empty(), q.received_at, q.occurred_at, q.id);
        for payment in person.qualifications.values() {
            let group = (sets.set_of(id_key(payment.id)).unwrap_or_default(), payment.name.as_str());
            let other = match first.get(&group) {
                Some(other) if order(other) < order(payment) => payment,
                Some(other) => {
                    let other = *other;
                    first.insert(group, payment);
                    other
                }
                None => {
                    first.insert(group, payment);
                    continue;
                }
            };
            told_again.insert(other.id);
        }
        let counting = first.into_iter().map(|((set, _), payment)| Counting { set, payment }).collect();
        let mut book = Book::new(counting, sets);
        book.run(person);
        Payments {
            left: book.left(),
            counting: book.payments.iter().map(|counting| counting.payment).collect(),
            told_again,
            disqualifications: book.disqualifications,
            reinstatements: book.reinstatements,
        }
    }
}

struct Counting<'a> {
    /// Which payment it is.
    set: usize,
    payment: &'a Qualification,
}

/// What one disqualification has of one payment.
struct Take {
    disqualification: EventId,
    /// Place in [`Book::payments`].
    at: usize,
    minor: i64,
    /// Whether nothing was left of the payment, not even that it was made.
    is_whole: bool,
}

/// The time line so far.
struct Book<'a> {
    payments: Vec<Counting<'a>>,
    sets: Sets<SubjectKey>,
    left: Vec<Option<i64>>,
    /// In the order in which they were made.
    takes: Vec<Take>,
    disqualifications: BTreeMap<EventId, DisqualificationState>,
    reinstatements: BTreeMap<EventId, ReinstatementState>,
}

impl<'a> Book<'a> {
    fn new(payments: Vec<Counting<'a>>, sets: Sets<SubjectKey>) -> Book<'a> {
        let left = payments.iter().map(|counting| Some(counting.payment.paid_minor)).collect();
        Book {
            payments,
            sets,
            left,
            takes: Vec::new(),
            disqualifications: BTreeMap::new(),
            reinstatements: BTreeMap::new(),
        }
    }

    fn left(&self) -> Left {
        self.payments.iter().zip(&self.left).map(|(counting, left)| (counting.payment.id, *left)).collect()
    }

    fn run(&mut self, person: &Person) {
        enum Step<'p> {
            Back(&'p Disqualification),
            Again(&'p Reinstatement),
        }
        let mut line: Vec<_> = Vec::new();
        for back in person.disqualifications.values() {
            line.push(((back.occurred_at, false, back.received_at, back.id), Step::Back(back)));
        }
        let mut undoing: BTreeMap<EventId, Vec<&Reinstatement>> = BTreeMap::new();
        for again in person.reinstatements.values() {
            match again.disqualification {
                Some(back) => undoing.entry(back).or_default().push(again),
                None => {
                    line.push(((again.occurred_at, true, again.received_at, again.id), Step::Again(again)))
                }
            }
        }
        line.sort_by_key(|(order, _)| *order);
        for (_, step) in line {
            match step {
                Step::Back(back) => {
                    let state = self.take_back(back);
                    self.disqualifications.insert(back.id, state);
                    for again in undoing.remove(&back.id).unwrap_or_default() {
                        self.give_again(again, |take, _| take.disqualification == back.id);
                    }
                }
                Step::Again(again) => {
                    let set = again.payments.first().and_then(|name| self.sets.set_of(*name));
                    self.give_again(again, |_, of| Some(of.set) == set);
                }
            }
        }
        for again in undoing.into_values().flatten() {
            let waiting = ReinstatementState { outcome: "waiting", ..ReinstatementState::default() };
            self.reinstatements.insert(again.id, waiting);
        }
    }

    /// The payments that it is about, the newest first.
    fn targets(&mut self, back: &Disqualification) -> Vec<usize> {
        let named = back.payments.first().copied().or(back.qualification.map(id_key));
        let set = named.map(|name| self.sets.set_of(name));
        let is_meant = |counting: &Counting<'_>| match set {
            Some(set) => Some(counting.set) == set,
            None => counting.payment.occurred_at <= back.occurred_at,
        };
        let mut targets: Vec<usize> =
            (0..self.payments.len()).filter(|at| is_meant(&self.payments[*at])).collect();
        targets.sort_by_key(|at| {
            let payment = self.payments[*at].payment;
            std::cmp::Reverse((payment.occurred_at, payment.id))
        });
        targets
    }

    fn take_back(&mut self, back: &Disqualification) -> DisqualificationState {
        let targets = self.targets(back);
        match back.value_minor {
            _ if targets.is_empty() => {
                DisqualificationState { outcome: "waiting", ..DisqualificationState::default() }
            }
            0 => self.take_all(back.id, &targets),
            value_minor => self.take_part(back.id, value_minor, &back.currency, &targets),
        }
    }

    /// All that is left of these.
    fn take_all(&mut self, disqualification: EventId, targets: &[usize]) -> DisqualificationState {
        let before = self.takes.len();
        for at in targets.iter().copied() {
            if let Some(minor) = self.left[at].take() {
                self.takes.push(Take { disqualification, at, minor, is_whole: true });
            }
        }
        let taken = self.taken(disqualification);
        let outcome = if self.takes.len() == before { "repeated" } else { "applied" };
        DisqualificationState { outcome, ..taken }
    }

    /// This much of these. What has nothing left is taken back whole.
    fn take_part(
        &mut self,
        disqualification: EventId,
        value_minor: i64,
        currency: &str,
        targets: &[usize],
    ) -> DisqualificationState {
        let is_of_currency = |at: &usize| self.payments[*at].payment.currency == currency;
        let targets: Vec<usize> = targets.iter().copied().filter(is_of_currency).collect();
        let mut rest = value_minor;
        for at in targets.iter().copied() {
            let Some(minor) = self.left[at].filter(|minor| *minor > 0 && rest > 0) else { continue };
            let part = minor.min(rest);
            rest -= part;
            self.left[at] = Some(minor - part).filter(|minor| *minor > 0);
            self.takes.push(Take { disqualification, at, minor: part, is_whole: false });
        }
        let outcome = match rest {
            _ if targets.is_empty() => "currency",
            0 => "applied",
            _ => "excess",
        };
        DisqualificationState { outcome, excess_minor: rest, ..self.taken(disqualification) }
    }

    /// What a disqualification has of the payments.
    fn taken(&self, disqualification: EventId) -> DisqualificationState {
        let takes = self.takes.iter().filter(|take| take.disqualification == disqualification);
        let takes: Vec<&Take> = takes.filter(|take| take.is_whole || take.minor > 0).collect();
        let amounts = takes.iter().map(|take| (self.payments[take.at].payment.currency.as_str(), take.minor));
        let (taken_currency, taken_minor) = of_one_currency(amounts);
        let qualifications = takes.len() as u64;
        DisqualificationState {
            qualifications,
            taken_minor,
            taken_currency,
            ..DisqualificationState::default()
        }
    }

    /// Gives again what these takes have, the newest first.
    fn give_again(&mut self, again: &Reinstatement, is_meant: impl Fn(&Take, &Counting<'_>) -> bool) {
        let is_all = again.value_minor == 0;
        let mut rest = again.value_minor;
        let mut given: Vec<(&str, i64)> = Vec::new();
        let mut undone = BTreeSet::new();
        let mut is_taken = false;
        for take in self.takes.iter_mut().rev() {
            let of = &self.payments[take.at];
            if !is_meant(take, of) || (take.minor == 0 && !take.is_whole) {
                continue;
            }
            is_taken = true;
            let is_of_currency = is_all || of.payment.currency == again.currency;
            let part = if is_all { take.minor } else { take.minor.min(rest) };
            if !is_of_currency || (part == 0 && !is_all) {
                continue;
            }
            rest -= if is_all { 0 } else { part };
            take.minor -= part;
            take.is_whole &= take.minor > 0;
            self.left[take.at] = Some(self.left[take.at].unwrap_or(0) + part);
            given.push((&of.payment.currency, part));
            undone.insert(take.disqualification);
        }
        let (given_currency, given_minor) = of_one_currency(given.iter().copied());
        let outcome = match given.is_empty() {
            true if !is_taken => "nothing",
            true => "currency",
            false if rest > 0 => "excess",
            false => "applied",
        };
        let state = ReinstatementState { outcome, given_minor, given_currency, excess_minor: rest };
        self.reinstatements.insert(again.id, state);
        for id in undone {
            let taken = self.taken(id);
            if let Some(back) = self.disqualifications.get_mut(&id) {
                let outcome = if taken.qualifications == 0 { "reinstated" } else { back.outcome };
                *back = DisqualificationState { outcome, excess_minor: back.excess_minor, ..taken };
            }
        }
    }
}

/// The sum of these amounts and their currency; nothing where they are of several.
fn of_one_currency<'a>(amounts: impl Iterator<Item = (&'a str, i64)>) -> (String, i64) {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    amounts.for_each(|(currency, minor)| *sums.entry(currency).or_default() += minor);
    match sums.into_iter().collect::<Vec<_>>()[..] {
        [(currency, minor)] => (currency.to_owned(), minor),
        _ => (String::new(), 0),
    }
}
