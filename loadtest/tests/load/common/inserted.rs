//! The twin's rows in the real engine: inserted as the aggregator would, each at an offset of its own.

use super::twin::Records;
use clickhouse::Client;
use serde_json::{Value, json};
use std::collections::HashSet;
use whence_loadtest::{
    ledger::Id,
    oracle::stored::{Credit, StoredFacts},
};
use whence_schemas::sql::{MIGRATIONS, Topology, views};

pub const DATABASE: &str = "whence";
const INCARNATION: &str = "00000000-0000-0000-0000-0000000000aa";

/// Creates the tables.
pub async fn create_tables(client: &Client) {
    let tables = MIGRATIONS.iter().flat_map(|migration| migration.statements(&Topology::Single));
    let views = views().into_iter().map(|view| view.statement(&Topology::Single));
    for statement in tables.chain(views) {
        client.query_raw(&statement).execute().await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// Inserts the rows.
pub async fn insert_all(client: &Client, facts: &StoredFacts) {
    insert(client, "clicks", clicks(facts)).await;
    let mut offset = 0;
    insert(client, "leads", leads(facts, &mut offset)).await;
    insert(client, "qualifications", qualifications(facts, &mut offset)).await;
    for table in ["disqualifications", "reinstatements"] {
        insert(client, table, reversals(facts, table, &mut offset)).await;
    }
    for table in ["identifies", "participants", "shares", "reward_events"] {
        insert(client, table, plain(facts, table, &mut offset)).await;
    }
    insert(client, "rewards", rewards(facts)).await;
    insert(client, "rejects", rejects(facts, &mut offset)).await;
}

async fn insert(client: &Client, table: &str, rows: Vec<Value>) {
    let mut insert = client.insert_formatted_with(format!("INSERT INTO {table} FORMAT JSONEachRow"));
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    insert.send(lines.into()).await.unwrap();
    insert.end().await.unwrap();
}

/// DateTime64(3) from text: seconds with three decimals.
fn time(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn clicks(facts: &StoredFacts) -> Vec<Value> {
    let text = |name| facts.names.text(name);
    let row = |(offset, row): (usize, &whence_loadtest::oracle::stored::ClickRow)| {
        json!({
            "program": text(row.program), "ts": time(row.at_ms), "id": row.id.to_string(),
            "referrer": text(row.referrer), "link": text(row.link), "channel": text(row.channel),
            "verdict": text(row.verdict), "live": row.live, "sign": row.sign,
            "incarnation": INCARNATION, "partition": offset % 2, "offset": offset / 2,
        })
    };
    facts.clicks.iter().enumerate().map(row).collect()
}

fn leads(facts: &StoredFacts, offset: &mut u64) -> Vec<Value> {
    let row = |row: &whence_loadtest::oracle::stored::LeadRow| {
        let mut json = conversion(facts, row.id, row.occurred_at_ms, &row.credit, row.sign, offset);
        json["person"] = row.person.into();
        json["program"] = facts.names.text(row.program).into();
        json["revision"] = 0.into();
        json
    };
    facts.leads.iter().map(row).collect()
}

/// The first row of an id is the record's own; corrections stand at the offset of another record.
fn qualifications(facts: &StoredFacts, offset: &mut u64) -> Vec<Value> {
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    for row in &facts.qualifications {
        let is_own = seen.insert(row.id);
        let offset = if is_own { &mut *offset } else { &mut 0 };
        let mut json = conversion(facts, row.id, row.occurred_at_ms, &row.credit, row.sign, offset);
        json["program"] = facts.names.text(row.program).into();
        json["revision"] = u8::from(!is_own).into();
        json["person"] = row.person.into();
        json["name"] = facts.names.text(row.name).into();
        json["lead_id"] = row.lead.to_string().into();
        json["value_minor"] = row.value_minor.into();
        json["paid_minor"] = row.paid_minor.into();
        json["currency"] = facts.names.text(row.currency).into();
        rows.push(json);
    }
    rows
}

fn conversion(
    facts: &StoredFacts,
    id: Id,
    occurred_at_ms: i64,
    credit: &Credit,
    sign: i8,
    offset: &mut u64,
) -> Value {
    let text = |name| facts.names.text(name);
    let json = json!({
        "id": id.to_string(), "occurred_at": time(occurred_at_ms), "received_at": time(occurred_at_ms),
        "evidence": text(credit.evidence), "referrer": text(credit.referrer), "link": text(credit.link),
        "channel": text(credit.channel), "click_id": credit.click.to_string(), "live": true, "sign": sign,
        "incarnation": INCARNATION, "partition": 0, "offset": *offset,
    });
    *offset += 1;
    json
}

fn reversals(facts: &StoredFacts, table: &str, offset: &mut u64) -> Vec<Value> {
    let text = |name| facts.names.text(name);
    let (names, minor, currency) = match table {
        "disqualifications" => ("qualification_id", "taken_minor", "taken_currency"),
        _ => ("disqualification_id", "given_minor", "given_currency"),
    };
    let row = |row: &whence_loadtest::oracle::stored::ReversalRow| {
        let mut json = json!({
            "program": text(row.program), "id": row.id.to_string(), "occurred_at": time(row.occurred_at_ms),
            "received_at": time(row.occurred_at_ms), "reason": "refund", names: row.names.to_string(),
            "value_minor": row.asked_minor, "currency": text(row.asked_currency),
            "outcome": text(row.came.outcome), minor: row.came.moved_minor,
            currency: text(row.came.moved_currency), "excess_minor": row.came.excess_minor, "live": row.live,
            "sign": row.sign, "revision": 0, "incarnation": INCARNATION, "partition": 0, "offset": *offset,
        });
        if table == "disqualifications" {
            json["qualifications"] = row.came.qualifications.into();
        }
        *offset += 1;
        json
    };
    facts.reversals.iter().filter(|row| text(row.table) == table).map(row).collect()
}

fn plain(facts: &StoredFacts, table: &str, offset: &mut u64) -> Vec<Value> {
    let text = |name| facts.names.text(name);
    let row = |row: &whence_loadtest::oracle::stored::PlainRow| {
        let mut json = json!({
            "program": text(row.program), "id": row.id.to_string(), "occurred_at": time(row.occurred_at_ms),
            "received_at": time(row.occurred_at_ms), "live": row.live, "incarnation": INCARNATION,
            "partition": 0, "offset": *offset,
        });
        let own: &[(&str, Value)] = match table {
            "participants" => &[("referrer", text(row.referrer).into())],
            "shares" => &[
                ("referrer", text(row.referrer).into()),
                ("link", text(row.link).into()),
                ("channel", text(row.channel).into()),
            ],
            "reward_events" => &[
                ("kind", "decision".into()),
                ("reward_id", row.reward.to_string().into()),
                ("decision", text(row.decision).into()),
                ("outcome", text(row.outcome).into()),
            ],
            _ => &[],
        };
        own.iter().for_each(|(column, value)| json[*column] = value.clone());
        *offset += 1;
        json
    };
    facts.plain.iter().filter(|row| text(row.table) == table).map(row).collect()
}

/// As the aggregator leaves them: earned, and held at once.
fn rewards(facts: &StoredFacts) -> Vec<Value> {
    let mut rows = Vec::new();
    for row in &facts.rewards {
        for (revision, sign, state) in [(0, 1, "accrued"), (1, -1, "accrued"), (1, 1, "held")] {
            rows.push(json!({
                "program": facts.names.text(row.program), "lead_id": row.lead.to_string(),
                "reward_id": row.lead.to_string(), "revision": revision, "sign": sign, "state": state,
                "amount_minor": row.amount_minor, "currency": "EUR", "party": "referrer",
                "referrer": facts.names.text(row.referrer), "rule": "qualified",
                "received_at": time(1_800_000_000_000), "incarnation": INCARNATION,
            }));
        }
    }
    rows
}

fn rejects(facts: &StoredFacts, offset: &mut u64) -> Vec<Value> {
    let program = facts.clicks.first().map_or("", |row| facts.names.text(row.program));
    let row = |row: &whence_loadtest::oracle::stored::RejectRow| {
        *offset += 1;
        json!({
            "received_at": time(1_800_000_000_000), "stream": facts.names.text(row.stream), "program": program,
            "event_id": row.id.to_string(), "reason": facts.names.text(row.reason), "live": true,
            "incarnation": INCARNATION, "partition": 0, "offset": *offset - 1,
        })
    };
    facts.rejects.iter().map(row).collect()
}

/// The ids of the twin's programs under load.
pub fn programs(records: &Records) -> Vec<String> {
    records.programs.keys().filter(|id| id.starts_with("load-")).cloned().collect()
}
