//! Who is one person: events of a program that share a name, directly or through what other events say.

use crate::ledger::{EventEntry, Id};
use std::collections::HashMap;

/// Program, kind of name, name.
type Calling<'a> = (u16, u8, &'a str);

const LEAD: u8 = 0;
const EMAIL: u8 = 1;

/// What an event says that its person is called.
fn callings(event: &EventEntry) -> impl Iterator<Item = Calling<'_>> {
    let lead = event.subject.lead.as_deref().map(|lead| (event.program, LEAD, lead));
    let email = event.subject.email.as_deref().map(|email| (event.program, EMAIL, email));
    lead.into_iter().chain(email)
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
