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
};
use crate::ledger::{Body, EventEntry, Id, Reply};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The status of an answer that says to send the same again.
const COME_AGAIN: u16 = 503;

/// An event and how often it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    pub event: &'a EventEntry,
    pub accepted: u32,
    pub unknown: u32,
}

/// What there should be.
#[derive(Debug, Default)]
pub(super) struct People<'a> {
    /// Every event that may be stored, by id.
    pub sent: BTreeMap<Id, Sent<'a>>,
    /// The credit of every lead that exists.
    pub leads: BTreeMap<Id, Credit>,
    /// The lead of every qualification that exists, nil for none, and its credit.
    pub qualifications: BTreeMap<Id, (Id, Credit)>,
}

impl People<'_> {
    /// Leads that nobody is credited with and qualifications without a lead.
    pub fn unmatched(&self) -> (HashSet<Id>, HashSet<Id>) {
        let leads = self.leads.iter().filter(|(_, credit)| credit.referrer == Name::EMPTY);
        let qualifications = self.qualifications.iter().filter(|(_, (lead, _))| *lead == Id::NIL);
        (leads.map(|(id, _)| *id).collect(), qualifications.map(|(id, _)| *id).collect())
    }
}

/// Leads that exist, by what they are called.
#[derive(Default)]
struct Called<'a>(HashMap<Calling<'a>, Vec<(u64, Id)>>);

/// Program, kind of name, name.
type Calling<'a> = (u16, u8, &'a str);

impl<'a> Called<'a> {
    fn keys(event: &'a EventEntry) -> impl Iterator<Item = Calling<'a>> {
        let lead = event.subject.lead.as_deref().map(|lead| (event.program, 0, lead));
        let email = event.subject.email.as_deref().map(|email| (event.program, 1, email));
        lead.into_iter().chain(email)
    }

    fn add(&mut self, event: &'a EventEntry, id: Id) {
        for key in Called::keys(event) {
            self.0.entry(key).or_default().push((event.number, id));
        }
    }

    /// Leads that share a name with the event, the earliest first.
    fn leads_of(&self, event: &'a EventEntry) -> Vec<Id> {
        let mut found: Vec<_> = Called::keys(event).filter_map(|key| self.0.get(&key)).flatten().collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|(_, id)| *id).collect()
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
                (event.number, (event_id(&program.id, &event.key), event))
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
        let mut existing: Vec<(Id, &EventEntry)> = sent
            .iter()
            .filter(|(id, sent)| sent.accepted > 0 || is_stored(**id))
            .map(|(id, sent)| (*id, sent.event))
            .collect();
        // The order in which they were composed: a lead that relies on an earlier one comes later.
        existing.sort_by_key(|(_, event)| event.number);
        let mut people = People::default();
        let mut called = Called::default();
        for (id, event) in &existing {
            if let Body::Lead(_) = &event.body {
                let credit = self.credit(event, &called.leads_of(event), &people.leads);
                people.leads.insert(*id, credit);
                called.add(event, *id);
            }
        }
        for (id, event) in &existing {
            if let Body::Qualification { .. } = &event.body {
                let lead = called.leads_of(event).first().copied();
                let nobody = self.nobody();
                let found = lead.map_or((Id::NIL, nobody), |lead| (lead, people.leads[&lead]));
                people.qualifications.insert(*id, found);
            }
        }
        people.sent = sent;
        people
    }

    fn nobody(&mut self) -> Credit {
        let evidence = self.names.of("none");
        Credit { evidence, referrer: Name::EMPTY, link: Name::EMPTY, channel: Name::EMPTY, click: Id::NIL }
    }

    /// The credit of a lead; `earlier` are the leads of the same person before it.
    fn credit(&mut self, event: &EventEntry, earlier: &[Id], credits: &BTreeMap<Id, Credit>) -> Credit {
        let Body::Lead(touches) = &event.body else { return self.nobody() };
        let world = &self.ledger.header.world;
        let (evidence, link, channel, click) =
            match deserved(world, event.program, event.occurred_at_ms, touches) {
                Deserved::Token { click, link, channel } => ("token", link, channel, click),
                Deserved::Code { link } => ("code", link, world.links[link as usize].channel, Id::NIL),
                Deserved::None => {
                    let known = earlier.iter().map(|id| credits[id]).find(|c| c.referrer != Name::EMPTY);
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
