//! Leads and qualifications, id by id: each accepted one once, with the values sent and the credit
//! deserved, after all corrections.

use super::{
    super::{
        difference::Kind,
        names::Name,
        stored::{Counts, Credit, LeadRow, QualificationRow},
    },
    Comparison, conversion_cell,
    people::{KnownLead, KnownQualification, People, Sent},
};
use crate::ledger::{Body, EventEntry, Id};
use std::collections::{BTreeMap, BTreeSet};

/// What the rows of one id add up to: everything whose signs do not cancel.
fn net<T: Copy + PartialEq>(rows: &[(T, i8)]) -> Vec<(T, i64)> {
    let mut sums: Vec<(T, i64)> = Vec::new();
    for (value, sign) in rows {
        match sums.iter_mut().find(|(known, _)| known == value) {
            Some((_, sum)) => *sum += i64::from(*sign),
            None => sums.push((*value, i64::from(*sign))),
        }
    }
    sums.retain(|(_, sum)| *sum != 0);
    sums
}

pub(super) fn by_id<R>(rows: &[R], id: impl Fn(&R) -> Id) -> BTreeMap<Id, Vec<&R>> {
    let mut groups: BTreeMap<Id, Vec<&R>> = BTreeMap::new();
    for row in rows {
        groups.entry(id(row)).or_default().push(row);
    }
    groups
}

impl<'a> Comparison<'a> {
    pub(super) fn compare_conversions(&mut self) -> People<'a> {
        let leads = by_id(&self.stored.leads, |row| row.id);
        let qualifications = by_id(&self.stored.qualifications, |row| row.id);
        let sent = self.sent_events();
        let reversals: BTreeSet<Id> = self.stored.reversals.iter().map(|row| row.id).collect();
        let plain: BTreeSet<Id> = self.stored.plain.iter().map(|row| row.id).collect();
        let is_stored = |id| {
            leads.contains_key(&id)
                || qualifications.contains_key(&id)
                || reversals.contains(&id)
                || plain.contains(&id)
        };
        let people = self.people(sent, is_stored);
        self.totals.leads = people.leads.len() as u64;
        self.totals.qualifications = people.qualifications.len() as u64;
        let standing = |is_person: bool| u64::from(is_person);
        self.totals.persons = people.leads.values().map(|lead| standing(lead.is_person)).sum();
        self.totals.persons_qualified = people.qualifications.values().map(|q| standing(q.is_person)).sum();
        let waits = |(kind, _): &&(&'static str, Id)| *kind == "qualification";
        self.totals.unmatched = people.unmatched().iter().filter(waits).count() as u64;
        let absent = people.sent.iter().filter(|(id, sent)| sent.accepted == 0 && !is_stored(**id)).count();
        self.totals.events_unanswered_and_absent = absent as u64;
        self.compare_leads(&people, &leads);
        self.compare_qualifications(&people, &qualifications);
        people
    }

    fn compare_leads(&mut self, people: &People<'_>, stored: &BTreeMap<Id, Vec<&LeadRow>>) {
        for row in &self.stored.leads {
            if row.live {
                let Credit { referrer, channel, .. } = row.credit;
                let key = conversion_cell(row.program, referrer, channel, row.occurred_at_ms, Name::EMPTY);
                let mut counts = self.persons_lead(&row.credit).times(row.person.into());
                counts.lead_events = row.sign.into();
                self.raw.add(key, counts);
            }
        }
        for id in stored.keys().filter(|id| !people.leads.contains_key(id)) {
            self.differ_by_id(Kind::LeadExtra, *id, "not sent, or refused", "stored");
        }
        for (id, lead) in &people.leads {
            let KnownLead { credit, is_person } = lead;
            let event = people.sent[id].event;
            let program = self.program_name(event);
            let key =
                conversion_cell(program, credit.referrer, credit.channel, event.occurred_at_ms, Name::EMPTY);
            let mut counts = self.persons_lead(credit).times((*is_person).into());
            counts.lead_events = 1;
            self.known.add(key, counts);
            match stored.get(id) {
                Some(rows) => self.compare_lead(*id, event, *lead, rows),
                None => self.differ_by_id(Kind::LeadMissing, *id, "accepted", "absent"),
            }
        }
    }

    /// What a lead of this credit counts as where it stands for its person.
    fn persons_lead(&self, credit: &Credit) -> Counts {
        let evidence = self.names.text(credit.evidence);
        let is_by_click = evidence == "token" && self.peoples_clicks.contains(&credit.click);
        Counts {
            leads: 1,
            leads_by_click: is_by_click.into(),
            leads_by_code: (evidence == "code").into(),
            ..Counts::default()
        }
    }

    fn compare_lead(&mut self, id: Id, event: &EventEntry, known_lead: KnownLead, rows: &[&LeadRow]) {
        let known = (self.program_name(event), event.occurred_at_ms, true);
        for row in rows {
            let stored = (row.program, row.occurred_at_ms, row.live);
            if stored != known {
                self.differ(Kind::LeadWrong, id, format!("{known:?}"), format!("{stored:?}"));
            }
        }
        let persons: i64 = rows.iter().map(|row| i64::from(row.person)).sum();
        self.compare_person(id, known_lead.is_person, persons);
        let rows: Vec<_> = rows.iter().map(|row| (row.credit, row.sign)).collect();
        let kinds = [Kind::LeadMultiple, Kind::LeadCredit];
        self.compare_net(kinds, id, Some(known_lead.credit), &rows, |it, credit| it.credit_words(*credit));
    }

    fn compare_qualifications(&mut self, people: &People<'_>, stored: &BTreeMap<Id, Vec<&QualificationRow>>) {
        for row in &self.stored.qualifications {
            if row.live {
                let Credit { referrer, channel, .. } = row.credit;
                let key = conversion_cell(row.program, referrer, channel, row.occurred_at_ms, row.currency);
                let counts = one_qualification(row.value_minor).times(row.sign.into());
                self.raw.add(key, Counts { qualified: row.person.into(), ..counts });
            }
        }
        for id in stored.keys().filter(|id| !people.qualifications.contains_key(id)) {
            self.differ_by_id(Kind::QualificationExtra, *id, "not sent, or refused", "stored");
        }
        for (id, known_qualification) in &people.qualifications {
            let KnownQualification { lead, credit, left_minor, is_person } = *known_qualification;
            let Sent { event, .. } = people.sent[id];
            let known = self.qualification_facts(event);
            let (program, _, occurred_at_ms, _, currency) = known;
            let key = conversion_cell(program, credit.referrer, credit.channel, occurred_at_ms, currency);
            let counts = left_minor.map(one_qualification).unwrap_or_default();
            self.known.add(key, Counts { qualified: is_person.into(), ..counts });
            let Some(rows) = stored.get(id) else {
                self.differ_by_id(Kind::QualificationMissing, *id, "accepted", "absent");
                continue;
            };
            for row in rows {
                let facts = (row.program, row.name, row.occurred_at_ms, row.paid_minor, row.currency);
                if facts != known || !row.live {
                    self.differ(Kind::QualificationWrong, id, format!("{known:?}"), format!("{facts:?}"));
                }
            }
            let persons: i64 = rows.iter().map(|row| i64::from(row.person)).sum();
            self.compare_person(*id, is_person, persons);
            let rows: Vec<_> =
                rows.iter().map(|row| ((row.lead, row.credit, row.value_minor), row.sign)).collect();
            let kinds = [Kind::QualificationMultiple, Kind::QualificationCredit];
            let known = left_minor.map(|left| (lead, credit, left));
            self.compare_net(kinds, *id, known, &rows, |it, (lead, credit, left)| {
                format!("lead {lead}, {}, {left} left", it.credit_words(*credit))
            });
        }
    }

    fn compare_person(&mut self, id: Id, is_person: bool, stored: i64) {
        let known = i64::from(is_person);
        if stored != known {
            self.differ(Kind::Person, id, known, stored);
        }
    }

    /// The rows of an id must add up to one, and that one must say `known`; or to nothing.
    pub(super) fn compare_net<T: Copy + PartialEq>(
        &mut self,
        [multiple, wrong]: [Kind; 2],
        id: Id,
        known: Option<T>,
        rows: &[(T, i8)],
        words: impl Fn(&Self, &T) -> String,
    ) {
        let net = net(rows);
        let sum: i64 = net.iter().map(|(_, sum)| sum).sum();
        if sum != i64::from(known.is_some()) {
            let known = i64::from(known.is_some());
            self.differ(multiple, id, known, format!("{} rows that add up to {sum}", rows.len()));
        } else if net != known.map(|known| (known, 1)).into_iter().collect::<Vec<_>>() {
            let stored: Vec<_> =
                net.iter().map(|(value, sum)| format!("{sum} of {}", words(self, value))).collect();
            let known = known.map_or("nothing".to_owned(), |known| words(self, &known));
            self.differ(wrong, id, known, stored.join(" and "));
        }
    }

    fn qualification_facts(&mut self, event: &EventEntry) -> (Name, Name, i64, i64, Name) {
        let program = self.program_name(event);
        let Body::Qualification { name, value, .. } = &event.body else {
            unreachable!("only qualifications are kept as qualifications")
        };
        let name = self.names.of(name);
        let (minor, currency) =
            value.as_ref().map_or((0, ""), |value| (value.minor, value.currency.as_str()));
        (program, name, event.occurred_at_ms, minor, self.names.of(currency))
    }

    pub(super) fn program_name(&mut self, event: &EventEntry) -> Name {
        self.names.of(&self.ledger.header.world.programs[usize::from(event.program)].id)
    }

    fn credit_words(&self, credit: Credit) -> String {
        let Credit { evidence, referrer, link, channel, click } = credit;
        let [evidence, referrer, link, channel] =
            [evidence, referrer, link, channel].map(|name| self.names.text(name));
        format!("{evidence}: {referrer:?} by {link:?} on {channel:?}, click {click}")
    }
}

fn one_qualification(value_minor: i64) -> Counts {
    Counts { qualification_events: 1, value_minor, ..Counts::default() }
}
