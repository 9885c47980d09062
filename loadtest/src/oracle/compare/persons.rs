//! Who is one person: events of a program that share a name, directly or through what other events say.

use crate::ledger::{Body, EventEntry, Id, Subject};
use std::collections::HashMap;

/// Program, kind of name, name.
type Calling<'a> = (u16, u8, &'a str);

const LEAD: u8 = 0;
const EMAIL: u8 = 1;
const PAYMENT: u8 = 2;
const EVENT: u8 = 3;

/// What an event says that its person is called: by its own names, by those of its payment, and as whoever the event that it
/// names is about. What referrers do is about nobody.
fn callings(event: &EventEntry) -> impl Iterator<Item = Calling<'_>> {
    let key = Some(event.key.as_str());
    let (named, payment) = match &event.body {
        Body::Lead(_) | Body::Identify => (None, None),
        Body::Qualification { payment, .. } => (None, payment.as_deref()),
        Body::Disqualification { named, .. } | Body::Reinstatement { named, .. } => {
            (named.event.as_deref(), named.payment.as_deref())
        }
        Body::Participant { .. } | Body::Share { .. } | Body::Approval { .. } => {
            return Vec::new().into_iter();
        }
    };
    let Subject { lead, email } = &event.subject;
    let names = [
        (LEAD, lead.as_deref()),
        (EMAIL, email.as_deref()),
        (PAYMENT, payment),
        (EVENT, key),
        (EVENT, named),
    ];
    let callings = names.into_iter().filter_map(|(kind, name)| Some((event.program, kind, name?)));
    callings.collect::<Vec<_>>().into_iter()
}

/// The events of each person, in the order in which they were composed.
pub(super) fn persons<'a>(existing: &[(Id, &'a EventEntry)]) -> Vec<Vec<(Id, &'a EventEntry)>> {
    let mut sets = Sets((0..existing.len()).collect());
    let mut first_called: HashMap<Calling<'a>, usize> = HashMap::new();
    for (at, (_, event)) in existing.iter().enumerate() {
        for calling in callings(event) {
            let other = *first_called.entry(calling).or_insert(at);
            sets.join(at, other);
        }
    }
    let mut persons: HashMap<usize, Vec<(Id, &'a EventEntry)>> = HashMap::new();
    for (at, event) in existing.iter().enumerate() {
        persons.entry(sets.root(at)).or_default().push(*event);
    }
    let mut persons: Vec<_> = persons.into_values().collect();
    for person in &mut persons {
        // A lead that relies on an earlier one comes later.
        person.sort_by_key(|(_, event)| event.number);
    }
    persons
}

/// For each place another one of its set, or itself.
struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, at: usize) -> usize {
        let mut root = at;
        while self.0[root] != root {
            root = self.0[root];
        }
        self.0[at] = root;
        root
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a] = b;
    }
}
