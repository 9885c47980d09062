//! What the twin has recorded, as rows: deduplicated, joined and credited in the plainest way, one person
//! after the other.

use super::{
    rollup::roll_up,
    twin::{Event, Records},
};
use serde_json::Value;
use std::collections::HashSet;
use whence_loadtest::{
    ledger::Id,
    oracle::{
        names::Name,
        stored::{ClickRow, Credit, LeadRow, QualificationRow, RejectRow, StoredFacts},
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
                let called = called(&event.json);
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
        let of_type = |kind: &str| events.iter().copied().filter(|event| event.json["type"] == kind).collect();
        let leads: Vec<&Event> = of_type("lead");
        let mut reached: Vec<&Event> = of_type("qualification");
        let mut credits: Vec<Credit> = Vec::new();
        for lead in &leads {
            let credit = self.credit(&lead.json, &credits);
            credits.push(credit);
        }
        reached.sort_by_key(|event| (event.json["occurred_at"].as_i64(), event.id));
        let has_qualified = !leads.is_empty() && !reached.is_empty();
        let nobody = self.nobody();
        let credited = credits.iter().position(|credit| credit.referrer != nobody.referrer).unwrap_or(0);
        let standing = if has_qualified { 0 } else { credited };
        for (at, (lead, credit)) in leads.iter().zip(&credits).enumerate() {
            let (program, occurred_at_ms) = self.place(lead);
            let person = i8::from(at == standing);
            let row = LeadRow { id: lead.id, program, occurred_at_ms, credit: *credit, live: true, person, sign: 1 };
            self.facts.leads.push(row);
        }
        for (at, event) in reached.into_iter().enumerate() {
            let row = QualificationRow { person: i8::from(has_qualified && at == 0), ..self.reached(event) };
            let Some((lead, credit)) = leads.first().zip(credits.first()) else {
                self.facts.qualifications.push(row);
                continue;
            };
            let came = |id| events.iter().position(|event| event.id == id);
            if came(event.id) < came(lead.id) {
                self.facts.qualifications.push(QualificationRow { person: 0, ..row });
                self.facts.qualifications.push(QualificationRow { person: 0, sign: -1, ..row });
            }
            self.facts.qualifications.push(QualificationRow { lead: lead.id, credit: *credit, ..row });
        }
    }

    fn place(&mut self, event: &Event) -> (Name, i64) {
        let program = self.facts.names.of(event.json["program"].as_str().unwrap());
        (program, event.json["occurred_at"].as_i64().unwrap())
    }

    /// The row of a qualification that waits for its lead.
    fn reached(&mut self, event: &Event) -> QualificationRow {
        let (program, occurred_at_ms) = self.place(event);
        let value = &event.json["value"];
        let amount = value["amount"].as_str().unwrap_or("0").replace('.', "");
        let credit = self.nobody();
        let names = &mut self.facts.names;
        QualificationRow {
            id: event.id,
            program,
            occurred_at_ms,
            name: names.of(event.json["name"].as_str().unwrap()),
            lead: Id::NIL,
            credit,
            value_minor: amount.parse().unwrap(),
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
            .map(|token| &self.records.clicks[self.records.tokens[token]])
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

fn called(json: &Value) -> HashSet<String> {
    let program = json["program"].as_str().unwrap();
    ["lead", "email"]
        .iter()
        .filter_map(|kind| Some(format!("{program} {kind} {}", json[*kind].as_str()?.to_lowercase())))
        .collect()
}
