//! What an event says beside who it is about: one reader for each kind.

use super::{
    checked_key, plain_name,
    touches::{DraftTouch, code, is_blank, touches},
    value::{Money, money},
};
use crate::api::{
    events::{history, kind::Kind, money::MINOR_MAX},
    json::Fields,
    problem::Code,
};
use serde_json::Value;
use std::{fmt::Display, str::FromStr};
use uuid::Uuid;
use whence_schemas::{
    event::HistoryCondition,
    ids::{ChannelId, EventId, ReferrerId},
};

/// Characters of the name of a qualification and of the reason of a disqualification.
pub const NAME_MAX: usize = 64;
/// Characters of who decides or asks.
pub const WHO_MAX: usize = 64;
/// Characters of a decision's reason.
pub const REASON_MAX: usize = 500;
/// Characters of a payout's reference.
pub const REFERENCE_MAX: usize = 128;

/// What an event says.
pub enum DraftBody {
    /// Somebody became a lead.
    Lead {
        /// What led here, oldest first.
        touches: Vec<DraftTouch>,
        /// What its source calls the record that the lead is.
        record: Option<String>,
    },
    /// A lead reached something.
    Qualification {
        /// What.
        name: String,
        /// What it is worth.
        value: Money,
        /// What the person's history must say for it to count.
        history: Option<HistoryCondition>,
    },
    /// The qualification is taken back.
    Disqualification {
        /// The one qualification; none: all that the lead has reached.
        qualification: Option<Reference>,
        /// A plain word.
        reason: String,
        /// The part that is taken back; no currency: all of it.
        value: Money,
    },
    /// What was taken back is given again.
    Reinstatement {
        /// The disqualification that it undoes; none: what was taken of the event's payments.
        disqualification: Option<Reference>,
        /// A plain word.
        reason: String,
        /// The part that is given again; no currency: all of it.
        value: Money,
    },
    /// A referrer joined. The aliases of the event, if any, are the referrer's own.
    Participant {
        /// Which.
        referrer: ReferrerId,
    },
    /// A referrer shared.
    Share {
        /// Which; needed without a code.
        referrer: Option<ReferrerId>,
        /// The code of the link that was shared.
        code: Option<String>,
        /// Where; without one, the link's.
        channel: Option<ChannelId>,
    },
    /// All aliases of the event are one person's.
    Identify,
    /// Somebody decided about a reward.
    RewardDecision {
        /// Which reward.
        reward: Uuid,
        /// How: a word of [`DECISIONS`].
        decision: &'static str,
        /// Who.
        decided_by: String,
        /// Why.
        reason: String,
        /// Under which reference it was paid.
        reference: String,
        /// How much of it, in minor units; 0: not said.
        paid_minor: i64,
    },
    /// The person is to be forgotten.
    Erasure {
        /// Who asked.
        requested_by: String,
    },
}

/// How an event names another one.
pub enum Reference {
    /// By the id that its caller, the same source, gave it.
    Key(String),
    /// By the id that this API answered with.
    Id(EventId),
}

/// What can be decided about a reward, and whether that needs a reason and a reference.
pub const DECISIONS: [(&str, (&str, bool, bool)); 4] = [
    ("approve", ("approve", true, false)),
    ("reject", ("reject", true, false)),
    ("issue", ("issue", false, true)),
    ("claw_back", ("claw_back", true, false)),
];

/// Reads what an event of this kind says; `None` where something that is needed is missing or wrong.
pub(super) fn read(kind: Kind, fields: &mut Fields<'_>, has_payments: bool) -> Option<DraftBody> {
    match kind {
        Kind::Lead => {
            let touches = touches(fields);
            let record = match fields.text("record") {
                Some(record) => Some(checked_key(fields, "record", record)?),
                None => None,
            };
            Some(DraftBody::Lead { touches, record })
        }
        Kind::Qualification => qualification(fields),
        Kind::Disqualification => disqualification(fields, has_payments),
        Kind::Reinstatement => reinstatement(fields, has_payments),
        Kind::Participant => Some(DraftBody::Participant { referrer: required(fields, "referrer")? }),
        Kind::Share => share(fields),
        Kind::Identify => Some(DraftBody::Identify),
        Kind::RewardDecision => decision(fields),
        Kind::Erasure => Some(DraftBody::Erasure { requested_by: text(fields, "requested_by", WHO_MAX)? }),
    }
}

fn qualification(fields: &mut Fields<'_>) -> Option<DraftBody> {
    let name = match fields.required_text("name") {
        Some(name) => plain_name(fields, "name", name, NAME_MAX),
        None => None,
    };
    let value = fields.object("value").and_then(money).unwrap_or_default();
    let history = history::read(fields);
    Some(DraftBody::Qualification { name: name?, value, history })
}

fn disqualification(fields: &mut Fields<'_>, has_payments: bool) -> Option<DraftBody> {
    let reason = reason(fields);
    let value = part(fields, "take back");
    // Left out, they mean all that the lead has reached. One that is there and says nothing does not.
    let empty =
        ["qualification", "qualification_id", "payments"].into_iter().find(|name| fields.is_null(name));
    let qualification = reference(fields, "qualification");
    if let Some(name) = empty.filter(|_| qualification.is_none() && !has_payments) {
        let detail = "is null, which says nothing: leave it out to take back all that the lead has reached";
        fields.wrong(name, Code::Required, detail);
    }
    if value.is_some() && qualification.is_none() && !has_payments {
        fields.wrong(
            "qualification",
            Code::Required,
            "is missing, and so are payments: a partial amount belongs to one of them",
        );
    }
    Some(DraftBody::Disqualification { qualification, reason: reason?, value: value.unwrap_or_default() })
}

fn reinstatement(fields: &mut Fields<'_>, has_payments: bool) -> Option<DraftBody> {
    let reason = reason(fields);
    let value = part(fields, "give again");
    let disqualification = reference(fields, "disqualification");
    if disqualification.is_none() && !has_payments {
        fields.wrong(
            "disqualification",
            Code::Required,
            "is missing, and so are payments: say what it undoes",
        );
    }
    Some(DraftBody::Reinstatement { disqualification, reason: reason?, value: value.unwrap_or_default() })
}

fn reason(fields: &mut Fields<'_>) -> Option<String> {
    let reason = fields.required_text("reason")?;
    plain_name(fields, "reason", reason, NAME_MAX)
}

/// An amount that is never all: that is said by leaving it out.
fn part(fields: &mut Fields<'_>, act: &str) -> Option<Money> {
    if fields.is_null("value") {
        let detail = format_args!("is null, which says nothing: leave it out to {act} all, or say how much");
        fields.wrong("value", Code::Required, detail);
    }
    let value = fields.object("value").and_then(money);
    if value.as_ref().is_some_and(|value| value.minor == 0) {
        let detail = format_args!("must be more than 0; leave it out to {act} all");
        fields.wrong("value", Code::Invalid, detail);
    }
    value
}

/// Another event, by its key in `field` or by its id in `field_id`.
fn reference(fields: &mut Fields<'_>, field: &str) -> Option<Reference> {
    let field_id = format!("{field}_id");
    if fields.has(field) && fields.has(&field_id) {
        fields.wrong(&field_id, Code::Invalid, format_args!("and {field} must not both be given"));
    }
    let key = match fields.text(field) {
        Some(key) => checked_key(fields, field, key).map(Reference::Key),
        None => None,
    };
    let id = parsed(fields, &field_id, |text| {
        let uuid = Uuid::parse_str(text).ok()?;
        EventId::from_bytes(uuid.as_bytes())
    });
    key.or(id.map(Reference::Id))
}

fn share(fields: &mut Fields<'_>) -> Option<DraftBody> {
    let has_code = fields.has("code") && !fields.peek("code").and_then(Value::as_str).is_some_and(is_blank);
    let is_named = fields.has("referrer") || has_code;
    if !is_named {
        fields.wrong("referrer", Code::Required, "is missing, and so is code");
    }
    let referrer = name(fields, "referrer");
    let code = code(fields, "code").map(|(_field, code)| code);
    let channel = name(fields, "channel");
    is_named.then_some(DraftBody::Share { referrer, code, channel })
}

fn decision(fields: &mut Fields<'_>) -> Option<DraftBody> {
    let reward = match fields.has("reward") {
        true => parsed(fields, "reward", |text| Uuid::parse_str(text).ok()),
        false => {
            fields.wrong("reward", Code::Required, "is missing");
            None
        }
    };
    if !fields.has("decision") {
        fields.wrong("decision", Code::Required, "is missing");
    }
    let decision = fields.word("decision", &DECISIONS);
    let decided_by = text(fields, "decided_by", WHO_MAX);
    let (_, needs_reason, needs_reference) = decision.unwrap_or_default();
    let reason = optional_text(fields, "reason", REASON_MAX, needs_reason);
    let reference = optional_text(fields, "reference", REFERENCE_MAX, needs_reference);
    if decision.is_some() && !needs_reference && !reference.is_empty() {
        fields.wrong("reference", Code::Invalid, "belongs to the decision \"issue\"");
    }
    let paid_minor = fields.integer("paid_minor");
    if decision.is_some() && !needs_reference && paid_minor.is_some() {
        fields.wrong("paid_minor", Code::Invalid, "belongs to the decision \"issue\"");
    }
    if paid_minor.is_some_and(|minor| !(1..=MINOR_MAX).contains(&minor)) {
        fields.wrong("paid_minor", Code::Invalid, format_args!("must be between 1 and {MINOR_MAX}"));
    }
    let (decision, ..) = decision?;
    let (reward, decided_by, paid_minor) = (reward?, decided_by?, paid_minor.unwrap_or_default());
    Some(DraftBody::RewardDecision { reward, decision, decided_by, reason, reference, paid_minor })
}

fn parsed<T>(fields: &mut Fields<'_>, field: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let parsed = parse(&fields.text(field)?);
    if parsed.is_none() {
        fields.wrong(field, Code::Invalid, "is not an id that whence has given");
    }
    parsed
}

fn name<T: FromStr<Err: Display>>(fields: &mut Fields<'_>, field: &str) -> Option<T> {
    fields.text(field)?.parse().map_err(|error| fields.wrong(field, Code::Invalid, error)).ok()
}

fn required<T: FromStr<Err: Display>>(fields: &mut Fields<'_>, field: &str) -> Option<T> {
    if !fields.has(field) {
        fields.wrong(field, Code::Required, "is missing");
    }
    name(fields, field)
}

fn text(fields: &mut Fields<'_>, field: &str, max: usize) -> Option<String> {
    Some(optional_text(fields, field, max, true)).filter(|text| !text.is_empty())
}

/// What people write and others read for years: it names no one, so that nothing in it has to be erased.
fn optional_text(fields: &mut Fields<'_>, field: &str, max: usize, is_needed: bool) -> String {
    let text = if is_needed { fields.required_text(field) } else { fields.text(field) };
    let Some(text) = text else { return String::new() };
    let text = text.trim();
    let fits = (1..=max).contains(&text.chars().count());
    if fits && !text.chars().any(|c| c.is_control() || c == '@') {
        return text.to_owned();
    }
    let detail = format_args!("must have 1 to {max} characters, no address of a person and no line breaks");
    fields.wrong(field, Code::Invalid, detail);
    String::new()
}
