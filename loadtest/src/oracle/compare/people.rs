//! What conversions should look like: which events exist, who deserves the credit for each lead, and which
//! lead each qualification belongs to.

use super::{
    super::{
        attribution::{Deserved, deserved},
        difference::Kind,
        identity::event_id,
        names::Name,
        stored::Credit,
    },
    Comparison,
    payments::{Came, settle},
    persons::persons,
};
use crate::ledger::{Body, EventEntry, Id, Reply, Touch};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The status of an answer that says to send the same again.
const COME_AGAIN: u16 = 503;

/// An event and how often it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    pub event: &'a EventEntry,
    pub accepted: u32,
    pub unknown: u32,
}

/// What a lead should look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownLead {
    pub credit: Credit,
    /// Whether it stands for its person.
    pub is_person: bool,
}

/// What a qualification should look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownQualification {
    /// Nil for none.
    pub lead: Id,
    pub credit: Credit,
    /// What is left of its value; `None`: it does not count any more.
    pub left_minor: Option<i64>,
    /// Whether it stands for its person.
    pub is_person: bool,
}

/// What there should be.
#[derive(Debug, Default)]
pub(super) struct People<'a> {
    /// Every event that may be stored, by id.
    pub sent: BTreeMap<Id, Sent<'a>>,
    /// Every lead that exists.
    pub leads: BTreeMap<Id, KnownLead>,
    /// Every qualification that exists.
    pub qualifications: BTreeMap<Id, KnownQualification>,
    /// What came of every refund and reinstatement that exists.
    pub reversals: BTreeMap<Id, Came<'a>>,
    /// What exists and nothing corrects.
    pub plain: BTreeSet<Id>,
}

impl People<'_> {
    /// What waits for its partner, by kind: leads that nobody is credited with, qualifications without a lead of which
    /// something is left, refunds and reinstatements of what is not there.
    pub fn unmatched(&self) -> BTreeSet<(&'static str, Id)> {
        let leads = self.leads.iter().filter(|(_, lead)| lead.credit.referrer == Name::EMPTY);
        let waits = |known: &KnownQualification| known.lead == Id::NIL && known.left_minor.is_some();
        let qualifications = self.qualifications.iter().filter(|(_, known)| waits(known));
        let reversals = self.reversals.iter().filter(|(_, came)| came.outcome == "waiting");
        let kind_of = |id: &Id| match self.sent[id].event.body {
            Body::Disqualification { .. } => "disqualification",
            _ => "reinstatement",
        };
        let leads = leads.map(|(id, _)| ("lead", *id));
        let qualifications = qualifications.map(|(id, _)| ("qualification", *id));
        leads.chain(qualifications).chain(reversals.map(|(id, _)| (kind_of(id), *id))).collect()
    }

    /// Whether the event is stored, or should be.
    pub fn exists(&self, id: Id) -> bool {
        self.leads.contains_key(&id)
            || self.qualifications.contains_key(&id)
            || self.reversals.contains_key(&id)
            || self.plain.contains(&id)
    }
}

impl<'a> Comparison<'a> {
    /// Events by id, with every answer checked.
    pub(super) fn sent_events(&mut self) -> BTreeMap<Id, Sent<'a>> {
        let ledger = self.ledger;
        let by_number: HashMap<u64, (Id, &EventEntry)> = ledger
            .events
            .iter()
            .map(|event| {
                let program = &ledger.header.world.programs[usize::from(event.program)];
                (event.number, (event_id(&program.id, event.body.kind(), &event.key), event))
            })
            .collect();
        let mut sent: BTreeMap<Id, Sent<'a>> = BTreeMap::new();
        for send in &ledger.sends {
            let Some((id, event)) = by_number.get(&send.number) else { continue };
            let is_right = match (send.reply, event.refusal) {
                (Reply::Accepted(_), refusal) => refusal.is_none(),
                (Reply::Refused, refusal) => refusal == Some(send.status),
                // To come again is a fitting answer, as long as coming again helps: see below.
                (Reply::Unknown, _) => self.is_lossy || send.status == COME_AGAIN,
                (Reply::NotSent, _) => self.is_lossy,
            };
            if !is_right {
                let known = event.refusal.map_or("accepted".to_owned(), |status| format!("status {status}"));
                self.differ(Kind::Answer, format!("event {}", event.key), known, format!("{send:?}"));
            }
            let entry = sent.entry(*id).or_insert(Sent { event, accepted: 0, unknown: 0 });
            match send.reply {
                Reply::Accepted(named) => {
                    entry.accepted += 1;
                    if named != *id {
                        self.differ(Kind::EventId, &event.key, id, named);
                    }
                }
                Reply::Unknown => entry.unknown += 1,
                Reply::Refused | Reply::NotSent => {}
            }
        }
        for sent in sent.values().filter(|sent| sent.accepted == 0 && sent.event.refusal.is_none()) {
            if !self.is_lossy {
                let about = format!("event {}", sent.event.key);
                self.differ(Kind::Answer, about, "accepted in the end", "never accepted");
            }
        }
        sent.retain(|_, sent| sent.accepted + sent.unknown > 0);
        sent
    }

    /// Who exists and who deserves what, where `is_stored` says which unanswered events got through.
    pub(super) fn people(
        &mut self,
        sent: BTreeMap<Id, Sent<'a>>,
        is_stored: impl Fn(Id) -> bool,
    ) -> People<'a> {
        let existing: Vec<(Id, &EventEntry)> = sent
            .iter()
            .filter(|(id, sent)| sent.accepted > 0 || is_stored(**id))
            .map(|(id, sent)| (*id, sent.event))
            .collect();
        let mut people = People::default();
        for person in persons(&existing) {
            self.know_person(&person, &mut people);
        }
        people.sent = sent;
        people
    }

    /// What the events of one person should look like. A qualification belongs to the earliest lead that a click before it
    /// is credited with, else to the first. One lead and the first qualification that counts and has a lead stand for the
    /// person: that qualification's lead, without one the earliest that somebody is credited with, else the first.
    fn know_person(&mut self, person: &[(Id, &'a EventEntry)], people: &mut People<'a>) {
        let mut leads: Vec<(Id, Credit)> = Vec::new();
        for (id, event) in person {
            match &event.body {
                Body::Lead(touches) => {
                    let credit = self.credit(event, touches, &leads);
                    leads.push((*id, credit));
                }
                Body::Identify | Body::Participant { .. } | Body::Share { .. } | Body::Approval { .. } => {
                    people.plain.insert(*id);
                }
                _ => {}
            }
        }
        let programs = &self.ledger.header.world.programs;
        let balance =
            settle(person, |event, kind, key| event_id(&programs[usize::from(event.program)].id, kind, key));
        people.reversals.extend(balance.came);
        let token = self.names.of("token");
        let nobody = (Id::NIL, self.nobody());
        let first = leads.first().copied();
        let mut standing = leads.iter().find(|(_, credit)| credit.referrer != Name::EMPTY).copied().or(first);
        let mut reached: Vec<_> = person.iter().filter(|(id, _)| balance.left.contains_key(id)).collect();
        reached.sort_by_key(|(id, event)| (event.occurred_at_ms, *id));
        let mut is_first = !leads.is_empty();
        for (id, event) in reached {
            let by_click_before = |(_, credit): &&(Id, Credit)| {
                credit.evidence == token && credit.click.at_ms() <= event.occurred_at_ms
            };
            let found = leads.iter().find(by_click_before).copied().or(first);
            let left_minor = balance.left[id];
            let is_person = is_first && left_minor.is_some();
            if is_person {
                (is_first, standing) = (false, found);
            }
            let (lead, credit) = found.unwrap_or(nobody);
            people.qualifications.insert(*id, KnownQualification { lead, credit, left_minor, is_person });
        }
        for (id, credit) in leads {
            let is_person = standing.is_some_and(|(standing, _)| standing == id);
            people.leads.insert(id, KnownLead { credit, is_person });
        }
    }

    fn nobody(&mut self) -> Credit {
        let evidence = self.names.of("none");
        Credit { evidence, referrer: Name::EMPTY, link: Name::EMPTY, channel: Name::EMPTY, click: Id::NIL }
    }

    /// The credit of a lead with these touches; `earlier` are the leads of the same person before it.
    fn credit(&mut self, event: &EventEntry, touches: &[Touch], earlier: &[(Id, Credit)]) -> Credit {
        let world = &self.ledger.header.world;
        let (evidence, link, channel, click) =
            match deserved(world, event.program, event.occurred_at_ms, touches) {
                Deserved::Token { click, link, channel } => ("token", link, channel, click),
                Deserved::Code { link } => ("code", link, world.links[link as usize].channel, Id::NIL),
                Deserved::None => {
                    let known = earlier.iter().map(|(_, credit)| *credit).find(|c| c.referrer != Name::EMPTY);
                    let evidence = self.names.of("alias");
                    return known.map_or_else(|| self.nobody(), |credit| Credit { evidence, ..credit });
                }
            };
        let evidence = self.names.of(evidence);
        let names = &self.links[link as usize];
        let channel = names.channels[usize::from(channel)];
        Credit { evidence, referrer: names.referrer, link: names.link, channel, click }
    }
}
