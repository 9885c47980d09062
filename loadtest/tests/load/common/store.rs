//! What the twin has recorded, as rows: deduplicated, joined and credited in the plainest way, one person
//! after the other.

use super::{
    rollup::roll_up,
    twin::{Event, Records},
};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use whence_loadtest::{
    ledger::Id,
    oracle::{
        identity::event_id,
        names::Name,
        stored::{
            ClickRow, Credit, LeadRow, PlainRow, QualificationRow, RejectRow, ReversalRow, ReversalState,
            StoredFacts,
        },
    },
};

/// The rows of the programs whose id starts with `load-`.
pub fn stored(records: &Records) -> StoredFacts {
    let mut store = Store { records, facts: StoredFacts::default() };
    let of_load = records.clicks.iter().filter(|click| click.link.program.starts_with("load-"));
    for click in of_load {
        let names = &mut store.facts.names;
        let row = ClickRow {
            id: click.id,
            at_ms: click.id.at_ms(),
            program: names.of(&click.link.program),
            referrer: names.of(&click.link.referrer),
            link: names.of(&click.key),
            channel: names.of(&click.channel),
            verdict: names.of(click.verdict),
            live: !click.link.test,
            sign: 1,
        };
        store.facts.clicks.push(row);
    }
    let mut seen = HashSet::new();
    let mut persons: Vec<Person<'_>> = Vec::new();
    for event in &records.events {
        if seen.insert(event.id) {
            let (mut own, others): (Vec<_>, Vec<_>) = {
                let called = called(event);
                let person = Person { called, events: vec![event] };
                let (same, others): (Vec<_>, Vec<_>) =
                    persons.into_iter().partition(|other| !other.called.is_disjoint(&person.called));
                (same.into_iter().chain([person]).collect(), others)
            };
            let mut one = own.remove(0);
            for other in own {
                one.called.extend(other.called);
                one.events.extend(other.events);
            }
            persons = others;
            persons.push(one);
        } else {
            let names = &mut store.facts.names;
            let (stream, reason) = (names.of("conversions"), names.of("duplicate"));
            store.facts.rejects.push(RejectRow { stream, id: event.id, reason });
        }
    }
    for person in &mut persons {
        person.events.sort_by_key(|event| records.events.iter().position(|other| other.id == event.id));
        store.take(&person.events);
        person.events.iter().for_each(|event| store.plain(event));
    }
    roll_up(&mut store.facts);
    store.facts
}

/// Events that share names.
struct Person<'a> {
    called: HashSet<String>,
    events: Vec<&'a Event>,
}

struct Store<'a> {
    records: &'a Records,
    facts: StoredFacts,
}

impl Store<'_> {
    /// A person's events in the order in which they came.
    fn take(&mut self, events: &[&Event]) {
        let of_type =
            |kind: &str| events.iter().copied().filter(|event| event.json["type"] == kind).collect();
        let leads: Vec<&Event> = of_type("lead");
        let mut reached: Vec<&Event> = of_type("qualification");
        let mut credits: Vec<Credit> = Vec::new();
        for lead in &leads {
            let credit = self.credit(&lead.json, &credits);
            credits.push(credit);
        }
        reached.sort_by_key(|event| (event.json["occurred_at"].as_i64(), event.id));
        let nobody = self.nobody();
        let token = self.facts.names.of("token");
        let lead_of = |event: &Event| {
            let happened = event.json["occurred_at"].as_i64().unwrap();
            let by_click = credits.iter().position(|c| c.evidence == token && c.click.at_ms() <= happened);
            by_click.unwrap_or(0)
        };
        let left = self.reverse(events, &reached);
        let counting = reached.iter().position(|event| left[&event.id].is_some() && !leads.is_empty());
        let credited = credits.iter().position(|credit| credit.referrer != nobody.referrer).unwrap_or(0);
        let standing = counting.map_or(credited, |at| lead_of(reached[at]));
        for (at, (lead, credit)) in leads.iter().zip(&credits).enumerate() {
            let (program, occurred_at_ms) = self.place(lead);
            let person = i8::from(at == standing);
            let row = LeadRow {
                id: lead.id,
                program,
                occurred_at_ms,
                credit: *credit,
                live: true,
                person,
                sign: 1,
            };
            self.facts.leads.push(row);
        }
        for (at, event) in reached.iter().enumerate() {
            let mut rows = vec![self.reached(event)];
            if !leads.is_empty() {
                let (lead, credit) = (leads[lead_of(event)], credits[lead_of(event)]);
                let row = QualificationRow { lead: lead.id, credit, ..rows[0] };
                let came = |id| events.iter().position(|event| event.id == id);
                match came(event.id) < came(lead.id) {
                    true => correct(&mut rows, row),
                    false => rows = vec![row],
                }
            }
            let person = i8::from(counting == Some(at));
            let standing = *rows.last().unwrap();
            match left[&event.id] {
                Some(left) if left == standing.paid_minor => rows.last_mut().unwrap().person = person,
                Some(value_minor) => correct(&mut rows, QualificationRow { value_minor, person, ..standing }),
                None => rows.push(QualificationRow { sign: -1, ..standing }),
            }
            self.facts.qualifications.extend(rows);
        }
    }

    /// Refunds and reinstatements of a person with these payments; says what is left of each.
    fn reverse(&mut self, events: &[&Event], reached: &[&Event]) -> HashMap<Id, Option<i64>> {
        let mut left: HashMap<Id, Option<i64>> =
            reached.iter().map(|event| (event.id, Some(minor(&event.json)))).collect();
        let of_type = |kind: &str| -> Vec<&Event> {
            events.iter().copied().filter(|event| event.json["type"] == kind).collect()
        };
        // What each refund has, of which payment: `None` nothing.
        let mut has: Vec<(Id, Option<i64>, Option<&Event>)> = Vec::new();
        let (refunds, mut again) = (of_type("disqualification"), of_type("reinstatement"));
        let mut line = refunds.clone();
        line.extend(again.iter().filter(|event| event.json.get("disqualification").is_none()));
        line.sort_by_key(|event| {
            (event.json["occurred_at"].as_i64(), event.json["type"] == "reinstatement", event.id)
        });
        let mut rows: Vec<(&Event, ReversalRow)> = Vec::new();
        while !line.is_empty() {
            let event = line.remove(0);
            let asked = event.json.get("value").map(|_| minor(&event.json));
            let payment = reached.iter().copied().find(|payment| is_of(event, payment));
            if event.json["type"] == "disqualification" {
                let at = again.iter().position(|other| named(other, "disqualification") == Some(event.id));
                if let Some(at) = at {
                    line.insert(0, again.remove(at));
                }
                let mut row = self.reversal(event, "disqualifications", "waiting");
                if let Some(payment) = payment {
                    let is_of_currency = asked.is_none()
                        || event.json["value"]["currency"] == payment.json["value"]["currency"];
                    let own = left.get_mut(&payment.id).unwrap();
                    let (taken, outcome, excess) = match (asked, *own) {
                        (Some(asked), _) if !is_of_currency => (None, "currency", asked),
                        (None, None) => (None, "repeated", 0),
                        (None, Some(all)) => (Some(all), "applied", 0),
                        (Some(asked), None) => (None, "excess", asked),
                        (Some(asked), Some(all)) if asked > all => (Some(all), "excess", asked - all),
                        (Some(asked), Some(_)) => (Some(asked), "applied", 0),
                    };
                    if let Some(taken) = taken {
                        *own = own.map(|own| own - taken).filter(|own| *own > 0 && asked.is_some());
                    }
                    has.push((event.id, taken, Some(payment)));
                    row.came.outcome = self.facts.names.of(outcome);
                    row.came.excess_minor = excess;
                }
                rows.push((event, row));
                continue;
            }
            again.retain(|other| other.id != event.id);
            let refund = named(event, "disqualification");
            let mut row = self.reversal(event, "reinstatements", "nothing");
            row.came.excess_minor = asked.unwrap_or(0);
            let held = has.iter_mut().rev().find(|(id, taken, payment)| {
                taken.is_some()
                    && match refund {
                        Some(refund) => refund == *id,
                        None => payment.is_some_and(|payment| is_of(event, payment)),
                    }
            });
            if let Some((refund, taken, Some(payment))) = held {
                let all = taken.unwrap();
                let given = asked.map_or(all, |asked| asked.min(all));
                *taken = Some(all - given).filter(|rest| *rest > 0);
                let own = left.get_mut(&payment.id).unwrap();
                *own = Some(own.unwrap_or(0) + given);
                let excess = asked.map_or(0, |asked| asked - given);
                let names = &mut self.facts.names;
                row.came.outcome = names.of(if excess > 0 { "excess" } else { "applied" });
                row.came.excess_minor = excess;
                row.came.moved_minor = given;
                row.came.moved_currency =
                    names.of(payment.json["value"]["currency"].as_str().unwrap_or_default());
                if taken.is_none() {
                    let of_refund = rows.iter_mut().find(|(event, _)| event.id == *refund).unwrap();
                    of_refund.1.came.outcome = names.of("reinstated");
                }
            }
            rows.push((event, row));
        }
        for event in again {
            let row = self.reversal(event, "reinstatements", "waiting");
            rows.push((event, row));
        }
        for (event, mut row) in rows {
            if let Some((_, Some(taken), Some(payment))) = has.iter().find(|(id, ..)| *id == event.id) {
                row.came.qualifications = 1;
                row.came.moved_minor = *taken;
                let currency = payment.json["value"]["currency"].as_str().unwrap_or_default();
                row.came.moved_currency = self.facts.names.of(currency);
            }
            self.facts.reversals.push(row);
        }
        left
    }

    fn reversal(&mut self, event: &Event, table: &str, outcome: &str) -> ReversalRow {
        let (program, occurred_at_ms) = self.place(event);
        let names = named(event, "qualification").or(named(event, "disqualification")).unwrap_or(Id::NIL);
        let text = &mut self.facts.names;
        ReversalRow {
            table: text.of(table),
            id: event.id,
            program,
            occurred_at_ms,
            names,
            asked_minor: minor(&event.json),
            asked_currency: text.of(event.json["value"]["currency"].as_str().unwrap_or_default()),
            came: ReversalState {
                outcome: text.of(outcome),
                qualifications: 0,
                moved_minor: 0,
                moved_currency: Name::EMPTY,
                excess_minor: 0,
            },
            live: true,
            sign: 1,
        }
    }

    /// What nothing corrects.
    fn plain(&mut self, event: &Event) {
        let (program, occurred_at_ms) = self.place(event);
        let json = &event.json;
        let table = match json["type"].as_str().unwrap() {
            "identify" => "identifies",
            "participant" => "participants",
            "share" => "shares",
            "reward_decision" => "reward_events",
            _ => return,
        };
        let shared = json["code"].as_str().map(|code| {
            let suffix = format!("/{code}");
            self.records.links.iter().find(|(key, _)| key.ends_with(&suffix)).unwrap()
        });
        let names = &mut self.facts.names;
        let mut row = PlainRow {
            table: names.of(table),
            id: event.id,
            program,
            occurred_at_ms,
            referrer: names.of(json["referrer"].as_str().unwrap_or_default()),
            link: Name::EMPTY,
            channel: Name::EMPTY,
            reward: json["reward"].as_str().map_or(Id::NIL, |id| id.parse().unwrap()),
            decision: names.of(json["decision"].as_str().unwrap_or_default()),
            outcome: names.of(if table == "reward_events" { "unknown_reward" } else { "" }),
            live: true,
        };
        if let Some((key, link)) = shared {
            row.referrer = names.of(&link.referrer);
            row.link = names.of(key);
            row.channel = names.of(&link.channel);
        }
        self.facts.plain.push(row);
    }

    fn place(&mut self, event: &Event) -> (Name, i64) {
        let program = self.facts.names.of(event.json["program"].as_str().unwrap());
        (program, event.json["occurred_at"].as_i64().unwrap())
    }

    /// The row of a qualification that waits for its lead.
    fn reached(&mut self, event: &Event) -> QualificationRow {
        let (program, occurred_at_ms) = self.place(event);
        let value = &event.json["value"];
        let credit = self.nobody();
        let names = &mut self.facts.names;
        QualificationRow {
            id: event.id,
            program,
            occurred_at_ms,
            name: names.of(event.json["name"].as_str().unwrap()),
            lead: Id::NIL,
            credit,
            value_minor: minor(&event.json),
            paid_minor: minor(&event.json),
            currency: names.of(value["currency"].as_str().unwrap_or_default()),
            live: true,
            person: 0,
            sign: 1,
        }
    }

    fn nobody(&mut self) -> Credit {
        let (evidence, empty) = (self.facts.names.of("none"), self.facts.names.of(""));
        Credit { evidence, referrer: empty, link: empty, channel: empty, click: Id::NIL }
    }

    fn credit(&mut self, lead: &Value, earlier: &[Credit]) -> Credit {
        let touches = lead["touches"].as_array().unwrap();
        let program = &self.records.programs[lead["program"].as_str().unwrap()];
        let mut clicks: Vec<_> = touches
            .iter()
            .filter_map(|touch| touch["token"].as_str())
            .filter_map(|token| self.records.tokens.get(token))
            .map(|click| &self.records.clicks[*click])
            .collect();
        clicks.sort_by_key(|click| click.id);
        let click = if program["model"] == "first_touch" { clicks.first() } else { clicks.last() };
        let names = &mut self.facts.names;
        if let Some(click) = click {
            return Credit {
                evidence: names.of("token"),
                referrer: names.of(&click.link.referrer),
                link: names.of(&click.key),
                channel: names.of(&click.channel),
                click: click.id,
            };
        }
        if let Some(code) = touches.iter().find_map(|touch| touch["code"].as_str()) {
            let suffix = format!("/{code}");
            let (key, link) = self.records.links.iter().find(|(key, _)| key.ends_with(&suffix)).unwrap();
            return Credit {
                evidence: names.of("code"),
                referrer: names.of(&link.referrer),
                link: names.of(key),
                channel: names.of(&link.channel),
                click: Id::NIL,
            };
        }
        let nobody = self.nobody();
        let evidence = self.facts.names.of("alias");
        let known = earlier.iter().find(|credit| credit.referrer != nobody.referrer);
        known.map_or(nobody, |credit| Credit { evidence, ..*credit })
    }
}

/// Takes the last row back and puts another one in its place.
fn correct(rows: &mut Vec<QualificationRow>, by: QualificationRow) {
    let last = *rows.last().unwrap();
    rows.push(QualificationRow { sign: -1, person: -last.person, ..last });
    rows.push(by);
}

/// An event's value, 0 without any.
fn minor(json: &Value) -> i64 {
    json["value"]["amount"].as_str().unwrap_or("0").replace('.', "").parse().unwrap()
}

/// The event that another one names in this field.
fn named(event: &Event, field: &str) -> Option<Id> {
    Some(event_id(event.json["program"].as_str()?, field, event.json[field].as_str()?))
}

/// Whether a refund or reinstatement is of this payment.
fn is_of(event: &Event, payment: &Event) -> bool {
    let payments = &event.json["payments"];
    match named(event, "qualification") {
        Some(id) => id == payment.id,
        None if payments.is_array() => *payments == payment.json["payments"],
        None => event.json["occurred_at"].as_i64() >= payment.json["occurred_at"].as_i64(),
    }
}

fn called(event: &Event) -> HashSet<String> {
    let json = &event.json;
    let program = json["program"].as_str().unwrap();
    let kind = json["type"].as_str().unwrap();
    if matches!(kind, "participant" | "share" | "reward_decision") {
        return HashSet::new();
    }
    let of_person = ["lead", "email"]
        .iter()
        .filter_map(|kind| Some(format!("{program} {kind} {}", json[*kind].as_str()?.to_lowercase())));
    let payments = json["payments"].as_array().into_iter().flatten();
    let payments = payments.map(|name| format!("{program} payment {name}"));
    let events = [Some(event.id), named(event, "qualification"), named(event, "disqualification")];
    let events = events.into_iter().flatten().map(|id| format!("event {id}"));
    of_person.chain(payments).chain(events).collect()
}
