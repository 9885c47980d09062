//! What a person's history says of the payments that count only under a condition on it.
//!
//! A function of the set of the person's events, like all of [`super`]: payments stand in the order in which they
//! happened, then of their ids, with what refunds have left of them, whenever those came.
//!
//! - `first_payment`: the first of the person's qualifications of that name, whatever condition the others have. It
//!   stays the first when it is refunded.
//! - `spend_at_least`: of the payments of one name, condition and lead the one with which the sum of what is left of
//!   them reaches the amount. They count from a day before the lead to the last of the days after it; where no lead
//!   has come yet, from the first payment.

use super::{
    super::condition::Condition,
    Lead, Qualification,
    payments::{Left, Payments},
};
use std::collections::BTreeMap;
use whence_schemas::{ids::EventId, time::UnixMs};

/// Payment systems report an invoice before the checkout that makes the lead, and in whole seconds.
const EARLY_MS: i64 = DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Why a payment does not count: words of `qualifications.reason`.
pub(in crate::conversion) mod unmet {
    /// The person had paid before.
    pub const NOT_FIRST: &str = "not_first_payment";
    /// Nothing is left of it.
    pub const TAKEN_BACK: &str = "taken_back";
    /// The total is still too small.
    pub const BELOW: &str = "below_threshold";
    /// An earlier payment has reached the total.
    pub const REACHED_BEFORE: &str = "reached_before";
    /// The condition is about another currency.
    pub const CURRENCY: &str = "other_currency";
    /// It was too early or too late.
    pub const OUTSIDE: &str = "outside_window";
}

/// Name, condition, lead.
type Group<'a> = (&'a str, &'a Condition, Option<EventId>);

/// The payments that do not count, and why.
pub(super) fn unmet(
    leads: &[Lead],
    payments: &Payments<'_>,
    lead_of: impl Fn(&Qualification) -> Option<EventId>,
) -> BTreeMap<EventId, &'static str> {
    let mut unmet = BTreeMap::new();
    let mut first: BTreeMap<&str, EventId> = BTreeMap::new();
    let mut groups: BTreeMap<Group<'_>, Vec<&Qualification>> = BTreeMap::new();
    let left = &payments.left;
    let mut payments = payments.counting.clone();
    payments.sort_by_key(|payment| (payment.occurred_at, payment.id));
    for payment in payments {
        let first = *first.entry(&payment.name).or_insert(payment.id);
        let why = match &payment.condition {
            None => continue,
            Some(condition @ Condition::SpendAtLeast { .. }) => {
                groups.entry((&payment.name, condition, lead_of(payment))).or_default().push(payment);
                continue;
            }
            Some(Condition::FirstPayment) if first != payment.id => unmet::NOT_FIRST,
            Some(Condition::FirstPayment) if left[&payment.id].is_none() => unmet::TAKEN_BACK,
            Some(Condition::FirstPayment) => continue,
        };
        unmet.insert(payment.id, why);
    }
    for ((_, condition, lead), payments) in groups {
        let Condition::SpendAtLeast { minor, currency, days } = condition else { continue };
        let lead_at = leads.iter().find(|known| Some(known.id) == lead).map(|lead| lead.occurred_at);
        let since = lead_at.unwrap_or(payments[0].occurred_at);
        let mut spent = Spent { minor: *minor, currency, since, days: *days, total: 0 };
        let not_yet = payments.iter().filter_map(|payment| Some((payment.id, spent.take(payment, left)?)));
        unmet.extend(not_yet);
    }
    unmet
}

/// The total of a group so far.
struct Spent<'a> {
    minor: i64,
    currency: &'a str,
    since: UnixMs,
    days: u32,
    total: i64,
}

impl Spent<'_> {
    /// Takes the next payment; says why it does not count.
    fn take(&mut self, payment: &Qualification, left: &Left) -> Option<&'static str> {
        let after = payment.occurred_at.ms_since(self.since);
        let Some(left) = left[&payment.id] else { return Some(unmet::TAKEN_BACK) };
        if payment.currency != self.currency {
            return Some(unmet::CURRENCY);
        }
        if !(-EARLY_MS..=i64::from(self.days) * DAY_MS).contains(&after) {
            return Some(unmet::OUTSIDE);
        }
        if self.total >= self.minor {
            return Some(unmet::REACHED_BEFORE);
        }
        self.total = self.total.saturating_add(left);
        (self.total < self.minor).then_some(unmet::BELOW)
    }
}
