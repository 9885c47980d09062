//! A message: a row of `outbound_messages`, as the JSON body of a webhook and as a record of the topic.
//!
//! ```json
//! {"type": "reward.approved", "timestamp": "2026-01-31T12:00:00.000Z",
//!  "data": {"program": "demo", "lead_id": "…", "lead": "customer-1", "revision": 1, …}}
//! ```
//! `timestamp` is when it was announced; `lead` the caller's own lead id, `null` once the person is erased. What a
//! message is about is in `whence_schemas::message`, its fields in the functions here.

use bytes::Bytes;
use clickhouse::Row;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use whence_schemas::{
    event::{ConflictFact, Fact, LeadFact, QualificationFact, RewardFact, fact::Body},
    message::CONFLICTING,
    time::UnixMs,
};

/// A message. Times are milliseconds since the epoch; ids that there are none of are nil.
#[derive(Clone, Debug, PartialEq, Row, Deserialize)]
#[expect(missing_docs, reason = "the columns of the table, described in `data` and in the .proto")]
pub struct Message {
    pub partition: u32,
    #[serde(with = "clickhouse::serde::uuid")]
    pub incarnation: Uuid,
    pub offset: u64,
    pub rank: u8,
    #[serde(with = "clickhouse::serde::uuid")]
    pub message_id: Uuid,
    pub r#type: String,
    pub program: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub lead_id: Uuid,
    pub revision: u32,
    pub occurred_at: i64,
    pub received_at: i64,
    pub announced_at: i64,
    pub referrer: String,
    pub link: String,
    pub channel: String,
    pub evidence: String,
    pub reason: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub click_id: Uuid,
    pub clicked_at: i64,
    pub source: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub qualification_id: Uuid,
    pub name: String,
    pub value_minor: i64,
    pub currency: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub reward_id: Uuid,
    pub rule: String,
    pub party: String,
    pub amount_minor: i64,
    pub open_minor: i64,
    pub due_at: i64,
    pub decided_by: String,
    pub reference: String,
    pub flags: Vec<String>,
    pub is_person: bool,
}

fn moment(ms: i64) -> Value {
    if ms == 0 { Value::Null } else { UnixMs(ms).rfc3339().into() }
}

fn id(id: Uuid) -> Value {
    if id.is_nil() { Value::Null } else { id.hyphenated().to_string().into() }
}

fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

/// The value of `webhook-id` for the message of this id.
#[must_use]
pub fn webhook_id(message_id: Uuid) -> String {
    format!("msg_{}", message_id.simple())
}

impl Message {
    /// The order of the messages of one offset: what is about a lead before what follows from it.
    #[must_use]
    pub fn order(&self) -> (u64, u8, u32, Uuid) {
        (self.offset, self.rank, self.revision, self.message_id)
    }

    /// The value of `webhook-id`: the same for every try and every endpoint.
    #[must_use]
    pub fn webhook_id(&self) -> String {
        webhook_id(self.message_id)
    }

    /// The body; `lead` is the caller's lead id, empty where it was erased.
    #[must_use]
    pub fn body(&self, lead: &str) -> Bytes {
        let body = json!({
            "type": self.r#type,
            "timestamp": UnixMs(self.announced_at).rfc3339(),
            "data": self.data(lead),
        });
        body.to_string().into()
    }

    /// Whether it is about an event under the id of another.
    fn is_conflict(&self) -> bool {
        self.r#type == CONFLICTING
    }

    fn data(&self, lead: &str) -> Value {
        let mut data = Map::new();
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        put("program", self.program.as_str().into());
        if self.is_conflict() {
            put("event_id", id(self.lead_id));
            put("kind", text(&self.name));
            put("reason", text(&self.reason));
            put("received_at", moment(self.received_at));
            return data.into();
        }
        put("lead_id", id(self.lead_id));
        put("lead", text(lead));
        put("revision", self.revision.into());
        put("referrer", text(&self.referrer));
        put("received_at", moment(self.received_at));
        if !self.reward_id.is_nil() {
            put("reward_id", id(self.reward_id));
            put("rule", text(&self.rule));
            put("party", text(&self.party));
            put("amount_minor", self.amount_minor.into());
            put("open_minor", self.open_minor.into());
            put("currency", text(&self.currency));
            put("qualification_id", id(self.qualification_id));
            put("value_minor", self.value_minor.into());
            put("earned_at", moment(self.occurred_at));
            put("due_at", moment(self.due_at));
            put("decided_by", text(&self.decided_by));
            put("reason", text(&self.reason));
            put("reference", text(&self.reference));
            put("flags", json!(self.flags));
            return data.into();
        }
        put("link", text(&self.link));
        put("channel", text(&self.channel));
        put("evidence", text(&self.evidence));
        put("click_id", id(self.click_id));
        put("occurred_at", moment(self.occurred_at));
        put("source", text(&self.source));
        put("is_person", self.is_person.into());
        if self.qualification_id.is_nil() {
            put("clicked_at", moment(self.clicked_at));
            put("reason", text(&self.reason));
        } else {
            put("qualification_id", id(self.qualification_id));
            put("name", text(&self.name));
            put("value_minor", self.value_minor.into());
            put("currency", text(&self.currency));
        }
        data.into()
    }

    /// The record of the topic.
    #[must_use]
    pub fn fact(&self) -> Fact {
        let bytes = |id: Uuid| if id.is_nil() { Bytes::new() } else { Bytes::copy_from_slice(id.as_bytes()) };
        let body = if self.is_conflict() {
            Body::Conflict(ConflictFact { event_id: bytes(self.lead_id), kind: self.name.clone() })
        } else if !self.reward_id.is_nil() {
            Body::Reward(RewardFact {
                reward_id: bytes(self.reward_id),
                rule: self.rule.clone(),
                party: self.party.clone(),
                referrer: self.referrer.clone(),
                amount_minor: self.amount_minor,
                open_minor: self.open_minor,
                currency: self.currency.clone(),
                qualification_id: bytes(self.qualification_id),
                value_minor: self.value_minor,
                due_at_ms: self.due_at,
                decided_by: self.decided_by.clone(),
                reason: self.reason.clone(),
                reference: self.reference.clone(),
                flags: self.flags.clone(),
            })
        } else if !self.qualification_id.is_nil() {
            Body::Qualification(QualificationFact {
                qualification_id: bytes(self.qualification_id),
                name: self.name.clone(),
                value_minor: self.value_minor,
                currency: self.currency.clone(),
                referrer: self.referrer.clone(),
                link: self.link.clone(),
                channel: self.channel.clone(),
                evidence: self.evidence.clone(),
                click_id: bytes(self.click_id),
                source: self.source.clone(),
                is_person: self.is_person,
            })
        } else {
            Body::Lead(LeadFact {
                referrer: self.referrer.clone(),
                link: self.link.clone(),
                channel: self.channel.clone(),
                evidence: self.evidence.clone(),
                reason: self.reason.clone(),
                click_id: bytes(self.click_id),
                clicked_at_ms: self.clicked_at,
                source: self.source.clone(),
                is_person: self.is_person,
            })
        };
        Fact {
            id: bytes(self.message_id),
            r#type: self.r#type.clone(),
            program: self.program.clone(),
            lead_id: bytes(self.lead_id),
            revision: self.revision,
            occurred_at_ms: self.occurred_at,
            received_at_ms: self.received_at,
            announced_at_ms: self.announced_at,
            incarnation: bytes(self.incarnation),
            partition: self.partition,
            offset: self.offset,
            body: Some(body),
        }
    }
}
