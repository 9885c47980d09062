//! Events on their way to the API: written as JSON, packed alone, as a list or as lines, and what the
//! answers mean.

use crate::{
    ledger::{Body, EventEntry, Money, Reply, Touch},
    oracle::identity::{event_id, reward_id},
    plan::stories::{Draft, DraftBody, DraftTouch, Flaw, Step},
    wire::{Answer, Failure},
    world::World,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::{cell::Cell, cell::RefCell, rc::Rc};

/// An event, written, and what follows it.
#[derive(Debug)]
pub(super) struct EventToSend {
    pub number: u64,
    pub text: String,
    pub flaw: Option<Flaw>,
    /// Sendings that wait for the answer to the one before.
    pub sends_left: Cell<u8>,
    pub is_accepted: Cell<bool>,
    /// What follows once it is accepted; taken then.
    pub then: RefCell<Vec<Step>>,
}

/// One sending of a letter.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub letter: Rc<EventToSend>,
    /// Sendings before this one that failed.
    pub failures: u32,
}

/// How parcels share a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Object,
    Array,
    Lines,
}

impl Form {
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Object | Form::Array => "application/json",
            Form::Lines => "application/x-ndjson",
        }
    }
}

/// The event in the ledger.
pub(super) fn entry(number: u64, draft: &Draft) -> EventEntry {
    let body = match &draft.body {
        DraftBody::Lead(touches) => Body::Lead(touches.iter().filter_map(touch).collect()),
        DraftBody::Other(body) => body.clone(),
    };
    EventEntry {
        number,
        program: draft.program,
        key: draft.key.clone(),
        occurred_at_ms: draft.occurred_at_ms,
        subject: draft.subject.clone(),
        body,
        refusal: draft.flaw.map(Flaw::status),
    }
}

/// What it proves, if anything.
fn touch(draft: &DraftTouch) -> Option<Touch> {
    match draft {
        DraftTouch::Token(held) => {
            Some(Touch::Token { click: held.click, link: held.link, channel: held.channel })
        }
        DraftTouch::Damaged(_) => None,
        DraftTouch::Code(link) => Some(Touch::Code { link: *link }),
    }
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The event as JSON, flaw included.
pub(super) fn write(world: &World, draft: &Draft) -> String {
    let flaw = draft.flaw;
    let mut event = json!({
        "program": world.programs[usize::from(draft.program)].id,
        "id": draft.key,
        "occurred_at": draft.occurred_at_ms,
    });
    if let Some(lead) = &draft.subject.lead {
        event["lead"] = lead.as_str().into();
    }
    if let Some(email) = &draft.subject.email {
        event["email"] = if draft.shouts { email.to_uppercase() } else { email.clone() }.into();
    }
    match &draft.body {
        DraftBody::Lead(touches) => {
            event["type"] = "lead".into();
            event["touches"] = touches.iter().map(|touch| touch_json(world, touch)).collect();
        }
        DraftBody::Other(body) => write_body(world, draft, body, &mut event),
    }
    match flaw {
        Some(Flaw::NoKey) => event["id"] = Value::Null,
        Some(Flaw::UnknownProgram) => event["program"] = format!("nobody-{}", world.tag).into(),
        Some(Flaw::UnknownField) => event["colour"] = "red".into(),
        Some(Flaw::Tomorrow) => event["occurred_at"] = (draft.occurred_at_ms + DAY_MS).into(),
        _ => {}
    }
    let mut text = event.to_string();
    if flaw == Some(Flaw::Malformed) {
        text.pop();
    }
    text
}

/// Everything but a lead.
fn write_body(world: &World, draft: &Draft, body: &Body, event: &mut Value) {
    let program = &world.programs[usize::from(draft.program)];
    event["type"] = body.kind().into();
    match body {
        Body::Lead(_) => unreachable!("a draft of a lead is one of its own"),
        Body::Qualification { name, value, payment } => {
            event["name"] = name.as_str().into();
            write_money(event, value.as_ref(), payment.as_deref());
        }
        Body::Disqualification { named, value } => {
            event["reason"] = "refund".into();
            if let Some(key) = &named.event {
                event["qualification"] = key.as_str().into();
            }
            write_money(event, value.as_ref(), named.payment.as_deref());
        }
        Body::Reinstatement { named, value } => {
            event["reason"] = "refund_failed".into();
            if let Some(key) = &named.event {
                event["disqualification"] = key.as_str().into();
            }
            write_money(event, value.as_ref(), named.payment.as_deref());
        }
        Body::Identify => {}
        Body::Participant { referrer } => {
            event["referrer"] = program.referrers[*referrer as usize].as_str().into();
        }
        Body::Share { link } => {
            event["code"] = world.links[*link as usize].code.as_str().into();
        }
        Body::Approval { lead } => {
            event["reward"] = reward_id(&program.id, event_id(&program.id, "lead", lead)).to_string().into();
            event["decision"] = "approve".into();
            event["decided_by"] = "load".into();
            event["reason"] = "looked at".into();
        }
    }
}

fn write_money(event: &mut Value, value: Option<&Money>, payment: Option<&str>) {
    if let Some(value) = value {
        let amount = format!("{}.{:02}", value.minor / 100, value.minor % 100);
        event["value"] = json!({ "amount": amount, "currency": value.currency });
    }
    if let Some(payment) = payment {
        event["payments"] = json!([payment]);
    }
}

fn touch_json(world: &World, touch: &DraftTouch) -> Value {
    match touch {
        DraftTouch::Damaged(held) => json!({ "token": damaged(&held.text) }),
        DraftTouch::Token(held) => json!({ "token": *held.text }),
        DraftTouch::Code(link) => json!({ "code": world.links[*link as usize].code }),
    }
}

/// The token with one character of its MAC exchanged.
fn damaged(token: &str) -> String {
    let at = token.len() - 8;
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

/// The body of a request with these parcels.
pub(super) fn pack(parcels: &[Parcel], form: Form) -> Bytes {
    let texts: Vec<&str> = parcels.iter().map(|parcel| parcel.letter.text.as_str()).collect();
    match form {
        Form::Object | Form::Lines => texts.join("\n"),
        Form::Array => format!("[{}]", texts.join(",")),
    }
    .into()
}

/// What became of each of `count` events: its status and reply.
pub(super) fn replies(count: usize, form: Form, answer: &Result<Answer, Failure>) -> Vec<(u16, Reply)> {
    let all = |status, reply| vec![(status, reply); count];
    let answer = match answer {
        Err(failure) if failure.may_have_arrived() => return all(0, Reply::Unknown),
        Err(_) => return all(0, Reply::NotSent),
        Ok(answer) => answer,
    };
    let status = answer.status.as_u16();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if form == Form::Object {
        return vec![reply(status, &body)];
    }
    let Some(results) = body["results"].as_array().filter(|results| results.len() == count) else {
        // No batch was read: one status for all, but no ids.
        return all(status, reply(status, &Value::Null).1);
    };
    let of = |result: &Value| {
        let own = result["error"]["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        reply(own.unwrap_or(202), result)
    };
    results.iter().map(of).collect()
}

/// An acceptance without an id does not count as one.
fn reply(status: u16, body: &Value) -> (u16, Reply) {
    let id = body["id"].as_str().and_then(|id| id.parse().ok());
    let reply = match (status, id) {
        (200..300, Some(id)) => Reply::Accepted(id),
        (400..500, _) if status != 408 && status != 429 => Reply::Refused,
        _ => Reply::Unknown,
    };
    (status, reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Id;
    use hyper::{HeaderMap, StatusCode};

    fn answer(status: u16, body: &Value) -> Result<Answer, Failure> {
        let status = StatusCode::from_u16(status).unwrap();
        Ok(Answer { status, headers: HeaderMap::new(), body: body.to_string().into() })
    }

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    #[test]
    fn each_event_of_a_batch_has_its_own_reply() {
        let body = json!({"accepted": 1, "results": [
            {"index": 0, "id": ID, "status": "accepted"},
            {"index": 1, "status": "rejected", "error": {"status": 422}},
            {"index": 2, "id": ID, "status": "retry", "error": {"status": 503}},
        ]});
        let expected = [(202, Reply::Accepted(Id(7))), (422, Reply::Refused), (503, Reply::Unknown)];
        assert_eq!(replies(3, Form::Array, &answer(207, &body)), expected);
        assert_eq!(replies(2, Form::Lines, &answer(401, &json!({}))), [(401, Reply::Refused); 2]);
    }

    #[test]
    fn what_is_not_clearly_accepted_or_refused_is_unknown() {
        assert_eq!(replies(1, Form::Object, &answer(202, &json!({}))), [(202, Reply::Unknown)]);
        assert_eq!(replies(1, Form::Object, &answer(503, &json!({"id": ID}))), [(503, Reply::Unknown)]);
        assert_eq!(replies(2, Form::Array, &Err(Failure::TimedOut)), [(0, Reply::Unknown); 2]);
        let refused = Err(Failure::Connect(std::io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(replies(1, Form::Object, &refused), [(0, Reply::NotSent)]);
        assert_eq!(
            replies(1, Form::Object, &answer(202, &json!({"id": ID}))),
            [(202, Reply::Accepted(Id(7)))]
        );
    }

    #[test]
    fn a_damaged_token_is_another_of_the_same_form() {
        let token = "x".repeat(62);
        assert_eq!(damaged(&token).len(), 62);
        assert_ne!(damaged(&token), token);
        assert_ne!(damaged(&"A".repeat(62)), "A".repeat(62));
    }
}
