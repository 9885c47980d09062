//! Leads and qualifications, id by id: each accepted one once, with the values sent and the credit
//! deserved, after all corrections.

use super::{
    super::{
        difference::Kind,
        names::Name,
        stored::{Credit, LeadRow, QualificationRow},
    },
    Comparison, ONE_LEAD, conversion_cell,
    people::{People, Sent},
    signed,
};
use crate::{
    ledger::{Body, EventEntry, Id},
    oracle::cells::Counts,
};
use std::collections::BTreeMap;

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

fn by_id<R>(rows: &[R], id: impl Fn(&R) -> Id) -> BTreeMap<Id, Vec<&R>> {
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
        let is_stored = |id| leads.contains_key(&id) || qualifications.contains_key(&id);
        let people = self.people(sent, is_stored);
        self.totals.leads = people.leads.len() as u64;
        self.totals.qualifications = people.qualifications.len() as u64;
        self.totals.unmatched = people.unmatched().1.len() as u64;
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
                self.raw.add(key, signed(ONE_LEAD, row.sign));
            }
        }
        for id in stored.keys().filter(|id| !people.leads.contains_key(id)) {
            self.differ_by_id(Kind::LeadExtra, *id, "not sent, or refused", "stored");
        }
        for (id, credit) in &people.leads {
            let event = people.sent[id].event;
            let program = self.program_name(event);
            let key =
                conversion_cell(program, credit.referrer, credit.channel, event.occurred_at_ms, Name::EMPTY);
            self.known.add(key, ONE_LEAD);
            match stored.get(id) {
                Some(rows) => self.compare_lead(*id, event, credit, rows),
                None => self.differ_by_id(Kind::LeadMissing, *id, "accepted", "absent"),
            }
        }
    }

    fn compare_lead(&mut self, id: Id, event: &EventEntry, credit: &Credit, rows: &[&LeadRow]) {
        let known = (self.program_name(event), event.occurred_at_ms, true);
        for row in rows {
            let stored = (row.program, row.occurred_at_ms, row.live);
            if stored != known {
                self.differ(Kind::LeadWrong, id, format!("{known:?}"), format!("{stored:?}"));
            }
        }
        let rows: Vec<_> = rows.iter().map(|row| (row.credit, row.sign)).collect();
        self.compare_net([Kind::LeadMultiple, Kind::LeadCredit], id, *credit, &rows, |it, credit| {
            it.credit_words(*credit)
        });
    }

    fn compare_qualifications(&mut self, people: &People<'_>, stored: &BTreeMap<Id, Vec<&QualificationRow>>) {
        for row in &self.stored.qualifications {
            if row.live {
                let Credit { referrer, channel, .. } = row.credit;
                let key = conversion_cell(row.program, referrer, channel, row.occurred_at_ms, row.currency);
                self.raw.add(key, signed(one_qualification(row.value_minor), row.sign));
            }
        }
        for id in stored.keys().filter(|id| !people.qualifications.contains_key(id)) {
            self.differ_by_id(Kind::QualificationExtra, *id, "not sent, or refused", "stored");
        }
        for (id, (lead, credit)) in &people.qualifications {
            let Sent { event, .. } = people.sent[id];
            let known = self.qualification_facts(event);
            let (program, _, occurred_at_ms, value_minor, currency) = known;
            let key = conversion_cell(program, credit.referrer, credit.channel, occurred_at_ms, currency);
            self.known.add(key, one_qualification(value_minor));
            let Some(rows) = stored.get(id) else {
                self.differ_by_id(Kind::QualificationMissing, *id, "accepted", "absent");
                continue;
            };
            for row in rows {
                let facts = (row.program, row.name, row.occurred_at_ms, row.value_minor, row.currency);
                if facts != known || !row.live {
                    self.differ(Kind::QualificationWrong, id, format!("{known:?}"), format!("{facts:?}"));
                }
            }
            let rows: Vec<_> = rows.iter().map(|row| ((row.lead, row.credit), row.sign)).collect();
            let kinds = [Kind::QualificationMultiple, Kind::QualificationCredit];
            self.compare_net(kinds, *id, (*lead, *credit), &rows, |it, (lead, credit)| {
                format!("lead {lead}, {}", it.credit_words(*credit))
            });
        }
    }

    /// The rows of an id must add up to one, and that one must say `known`.
    fn compare_net<T: Copy + PartialEq>(
        &mut self,
        [multiple, wrong]: [Kind; 2],
        id: Id,
        known: T,
        rows: &[(T, i8)],
        words: impl Fn(&Self, &T) -> String,
    ) {
        let net = net(rows);
        let sum: i64 = net.iter().map(|(_, sum)| sum).sum();
        if sum != 1 {
            self.differ(multiple, id, 1, format!("{} rows that add up to {sum}", rows.len()));
        } else if net != [(known, 1)] {
            let stored: Vec<_> =
                net.iter().map(|(value, sum)| format!("{sum} of {}", words(self, value))).collect();
            self.differ(wrong, id, words(self, &known), stored.join(" and "));
        }
    }

    fn qualification_facts(&mut self, event: &EventEntry) -> (Name, Name, i64, i64, Name) {
        let program = self.program_name(event);
        let Body::Qualification { name, value } = &event.body else {
            unreachable!("only qualifications are kept as qualifications")
        };
        let name = self.names.of(name);
        let (minor, currency) =
            value.as_ref().map_or((0, ""), |value| (value.minor, value.currency.as_str()));
        (program, name, event.occurred_at_ms, minor, self.names.of(currency))
    }

    fn program_name(&mut self, event: &EventEntry) -> Name {
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
    Counts { qualifications: 1, value_minor, ..Counts::default() }
}
