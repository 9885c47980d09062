//! Refunds, reinstatements and what nothing corrects, id by id: each accepted one once, with what it says and what came of it.

use super::{
    super::{
        difference::Kind,
        identity::{event_id, reward_id},
        names::Name,
        stored::{PlainRow, ReversalRow, ReversalState},
    },
    Comparison,
    conversions::by_id,
    payments::Came,
    people::People,
};
use crate::ledger::{Body, EventEntry, Id, Money, Named};
use std::collections::BTreeMap;

impl Comparison<'_> {
    pub(super) fn compare_others(&mut self, people: &People<'_>) {
        self.compare_reversals(people);
        self.compare_plain(people);
    }

    fn compare_reversals(&mut self, people: &People<'_>) {
        let stored = by_id(&self.stored.reversals, |row| row.id);
        for (id, rows) in stored.iter().filter(|(id, _)| !people.reversals.contains_key(id)) {
            self.differ_in_event(Kind::EventExtra, *id, rows[0].table, "not sent, or refused", "stored");
        }
        for (id, came) in &people.reversals {
            let event = people.sent[id].event;
            let known = self.known_reversal(*id, event, came);
            match known.table == self.names.of("disqualifications") {
                true => self.totals.refunds += 1,
                false => self.totals.reinstatements += 1,
            }
            let Some(rows) = stored.get(id) else {
                self.differ_in_event(Kind::EventMissing, *id, known.table, "accepted", "absent");
                continue;
            };
            for row in rows {
                let as_known = ReversalRow { came: row.came, sign: row.sign, ..known };
                if **row != as_known {
                    self.differ(Kind::EventWrong, id, format!("{as_known:?}"), format!("{row:?}"));
                }
            }
            let rows: Vec<_> = rows.iter().map(|row| (row.came, row.sign)).collect();
            self.compare_net(
                [Kind::EventMultiple, Kind::Outcome],
                *id,
                Some(known.came),
                &rows,
                |it, came| {
                    let ReversalState { outcome, qualifications, moved_minor, moved_currency, excess_minor } =
                        *came;
                    let [outcome, currency] = [outcome, moved_currency].map(|name| it.names.text(name));
                    format!("{outcome}: {moved_minor} {currency} of {qualifications}, {excess_minor} beyond")
                },
            );
        }
    }

    fn known_reversal(&mut self, id: Id, event: &EventEntry, came: &Came<'_>) -> ReversalRow {
        let (table, names, Named { event: named, .. }, asked) = match &event.body {
            Body::Disqualification { named, value } => ("disqualifications", "qualification", named, value),
            Body::Reinstatement { named, value } => ("reinstatements", "disqualification", named, value),
            _ => unreachable!("only refunds and reinstatements are kept as such"),
        };
        let program = &self.ledger.header.world.programs[usize::from(event.program)].id;
        let names = named.as_ref().map_or(Id::NIL, |key| event_id(program, names, key));
        let Money { minor, currency } =
            asked.clone().unwrap_or_else(|| Money { minor: 0, currency: String::new() });
        ReversalRow {
            table: self.names.of(table),
            id,
            program: self.program_name(event),
            occurred_at_ms: event.occurred_at_ms,
            names,
            asked_minor: minor,
            asked_currency: self.names.of(&currency),
            came: ReversalState {
                outcome: self.names.of(came.outcome),
                qualifications: came.payments,
                moved_minor: came.minor,
                moved_currency: self.names.of(came.currency),
                excess_minor: came.excess_minor,
            },
            live: true,
            sign: 1,
        }
    }

    /// Which rewards a decision has approved it says itself: it may have come before its reward.
    fn compare_plain(&mut self, people: &People<'_>) {
        let stored = by_id(&self.stored.plain, |row| row.id);
        for (id, rows) in stored.iter().filter(|(id, _)| !people.plain.contains(id)) {
            self.differ_in_event(Kind::EventExtra, *id, rows[0].table, "not sent, or refused", "stored");
        }
        let mut counts: BTreeMap<Name, u64> = BTreeMap::new();
        for id in &people.plain {
            let known = self.known_plain(*id, people.sent[id].event);
            *counts.entry(known.table).or_default() += 1;
            let Some(rows) = stored.get(id) else {
                self.differ_in_event(Kind::EventMissing, *id, known.table, "accepted", "absent");
                continue;
            };
            if rows.len() != 1 {
                self.differ(Kind::EventMultiple, id, 1, rows.len());
            }
            for row in rows {
                let as_known = PlainRow { outcome: row.outcome, ..known };
                if **row != as_known {
                    self.differ(Kind::EventWrong, id, format!("{as_known:?}"), format!("{row:?}"));
                }
                let outcome = self.names.text(row.outcome);
                let is_possible = match known.reward {
                    Id::NIL => outcome.is_empty(),
                    _ => outcome == "applied" || outcome == "unknown_reward",
                };
                if !is_possible {
                    let outcome = outcome.to_owned();
                    self.differ(Kind::Outcome, id, "applied, or unknown_reward", outcome);
                }
            }
        }
        let mut count_of = |table| counts.remove(&self.names.of(table)).unwrap_or_default();
        self.totals.identifies = count_of("identifies");
        self.totals.participants = count_of("participants");
        self.totals.shares = count_of("shares");
        self.totals.decisions = count_of("reward_events");
    }

    fn known_plain(&mut self, id: Id, event: &EventEntry) -> PlainRow {
        let program = &self.ledger.header.world.programs[usize::from(event.program)];
        let nothing = Name::EMPTY;
        let row = PlainRow {
            table: self.names.of("identifies"),
            id,
            program: self.names.of(&program.id),
            occurred_at_ms: event.occurred_at_ms,
            referrer: nothing,
            link: nothing,
            channel: nothing,
            reward: Id::NIL,
            decision: nothing,
            outcome: nothing,
            live: true,
        };
        match &event.body {
            Body::Participant { referrer } => PlainRow {
                table: self.names.of("participants"),
                referrer: self.names.of(&program.referrers[*referrer as usize]),
                ..row
            },
            Body::Share { link } => {
                let channel = self.ledger.header.world.links[*link as usize].channel;
                let names = &self.links[*link as usize];
                let channel = names.channels[usize::from(channel)];
                PlainRow {
                    table: self.names.of("shares"),
                    referrer: names.referrer,
                    link: names.link,
                    channel,
                    ..row
                }
            }
            Body::Approval { lead } => PlainRow {
                table: self.names.of("reward_events"),
                reward: reward_id(&program.id, event_id(&program.id, "lead", lead)),
                decision: self.names.of("approve"),
                ..row
            },
            _ => row,
        }
    }

    fn differ_in_event(&mut self, kind: Kind, id: Id, table: Name, known: &str, stored: &str) {
        let about = format!("{id} of {}", self.names.text(table));
        self.differ(kind, about, known, stored);
    }
}
