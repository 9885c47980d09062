//! What the twin has recorded, as rows: deduplicated, joined and credited in the plainest way, one record
//! after the other.

use super::{
    rollup::roll_up,
    twin::{Event, Records},
};
use serde_json::Value;
use std::collections::HashSet;
use whence_loadtest::{
    ledger::Id,
    oracle::stored::{ClickRow, Credit, LeadRow, QualificationRow, RejectRow, StoredFacts},
};

/// The rows of the programs whose id starts with `load-`.
pub fn stored(records: &Records) -> StoredFacts {
    let mut store = Store { records, facts: StoredFacts::default(), leads: Vec::new(), waiting: Vec::new() };
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
    for event in &records.events {
        if seen.insert(event.id) {
            store.take(event);
        } else {
            let names = &mut store.facts.names;
            let (stream, reason) = (names.of("conversions"), names.of("duplicate"));
            store.facts.rejects.push(RejectRow { stream, id: event.id, reason });
        }
    }
    roll_up(&mut store.facts);
    store.facts
}

struct Store<'a> {
    records: &'a Records,
    facts: StoredFacts,
    /// Leads so far, with what they are called.
    leads: Vec<(HashSet<String>, Id, Credit)>,
    /// Rows of qualifications without a lead, with what they are called.
    waiting: Vec<(HashSet<String>, QualificationRow)>,
}

impl Store<'_> {
    fn take(&mut self, event: &Event) {
        let json = &event.json;
        let called = called(json);
        let known = self.leads.iter().find(|(names, ..)| !names.is_disjoint(&called)).cloned();
        let program = self.facts.names.of(json["program"].as_str().unwrap());
        let occurred_at_ms = json["occurred_at"].as_i64().unwrap();
        if json["type"] == "lead" {
            let credit = self.credit(json, &called);
            let row = LeadRow { id: event.id, program, occurred_at_ms, credit, live: true, sign: 1 };
            self.facts.leads.push(row);
            let (now, later) = std::mem::take(&mut self.waiting)
                .into_iter()
                .partition(|(names, _)| !names.is_disjoint(&called));
            self.waiting = later;
            for (_, row) in now {
                self.facts.qualifications.push(QualificationRow { sign: -1, ..row });
                self.facts.qualifications.push(QualificationRow { lead: event.id, credit, ..row });
            }
            self.leads.push((called, event.id, credit));
            return;
        }
        let (lead, credit) = known.map_or((Id::NIL, self.nobody()), |(_, id, credit)| (id, credit));
        let value = &json["value"];
        let amount = value["amount"].as_str().unwrap_or("0").replace('.', "");
        let names = &mut self.facts.names;
        let row = QualificationRow {
            id: event.id,
            program,
            occurred_at_ms,
            name: names.of(json["name"].as_str().unwrap()),
            lead,
            credit,
            value_minor: amount.parse().unwrap(),
            currency: names.of(value["currency"].as_str().unwrap_or_default()),
            live: true,
            sign: 1,
        };
        self.facts.qualifications.push(row);
        if lead == Id::NIL {
            self.waiting.push((called, row));
        }
    }

    fn nobody(&mut self) -> Credit {
        let (evidence, empty) = (self.facts.names.of("none"), self.facts.names.of(""));
        Credit { evidence, referrer: empty, link: empty, channel: empty, click: Id::NIL }
    }

    fn credit(&mut self, lead: &Value, called: &HashSet<String>) -> Credit {
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
        self.leads
            .iter()
            .find(|(names, _, credit)| !names.is_disjoint(called) && credit.referrer != nobody.referrer)
            .map_or(nobody, |(.., credit)| Credit { evidence, ..*credit })
    }
}

fn called(json: &Value) -> HashSet<String> {
    let program = json["program"].as_str().unwrap();
    ["lead", "email"]
        .iter()
        .filter_map(|kind| Some(format!("{program} {kind} {}", json[*kind].as_str()?.to_lowercase())))
        .collect()
}
