//! An event as its caller wrote it, looked at on its own: shapes, lengths, amounts, times. Knows no
//! program and no key; [`super::resolve`] goes on from here.
//!
//! | module | what it reads |
//! |---|---|
//! | [`body`] | what each kind says |
//! | [`touches`] | what led to a lead |
//! | [`value`] | an amount |
//!
//! A draft holds raw aliases and addresses. It is never logged and has no `Debug`.

pub mod body;
pub mod touches;
pub mod value;

use super::kind::Kind;
use crate::api::{
    json::{Errors, Fields},
    moment,
    problem::{Code, FieldError},
};
use body::DraftBody;
use serde_json::Value;
use std::net::IpAddr;
use whence_schemas::{
    ids::{EventId, ProgramId},
    subject::{AliasKind, normalise},
    time::UnixMs,
    token::CLOCK_SKEW_MS_MAX,
};

/// Characters of an idempotency key.
pub const KEY_CHARS_MAX: usize = 255;
/// Names of one payment.
pub const PAYMENTS_MAX: usize = 8;
/// Characters of a source.
pub const SOURCE_MAX: usize = 32;
/// The source of events that name none.
pub const SOURCE_DEFAULT: &str = "api";

const ALIASES: [AliasKind; 5] =
    [AliasKind::Lead, AliasKind::Email, AliasKind::Phone, AliasKind::Customer, AliasKind::Contact];

/// What the request says beside the event: its path, its headers, its time.
#[derive(Clone, Default)]
pub struct Context {
    /// The kind of event that the path stands for.
    pub kind: Option<Kind>,
    /// The program in the path.
    pub program: Option<String>,
    /// The `Idempotency-Key` header.
    pub key: Option<String>,
    /// Now.
    pub now: UnixMs,
    /// Whether a rule made the event of a provider's delivery: see [`Draft::is_delivery`].
    pub is_delivery: bool,
}

/// An event that is right in itself.
pub struct Draft {
    /// Its kind.
    pub kind: Kind,
    /// The program it names.
    pub program: ProgramId,
    /// The idempotency key.
    pub key: String,
    /// Where it comes from.
    pub source: String,
    /// When it happened.
    pub occurred_at: UnixMs,
    /// The same where the caller says it.
    pub said_at: Option<UnixMs>,
    /// Whether a rule made it of a provider's delivery: its time, names and touches are that delivery's, and another one about
    /// the same object has others.
    pub is_delivery: bool,
    /// Whether it is a test.
    pub is_test: bool,
    /// The person it is about: normalised, each kind of alias at most once, as many as the kind of event needs.
    pub aliases: Vec<(AliasKind, String)>,
    /// The names that its source has for the payment it is about.
    pub payments: Vec<String>,
    /// The address of whoever it is about, when it happened.
    pub client_ip: Option<IpAddr>,
    /// What it says.
    pub body: DraftBody,
}

impl Draft {
    /// The event's id: the caller's retry has the same.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId::of_kind(&self.program, &self.source, self.is_test, self.kind.word(), &self.key)
    }
}

/// The kind of an event for metrics: never the caller's own text.
#[must_use]
pub fn kind_label(value: &Value, context: &Context) -> &'static str {
    let named = || value.get("type").and_then(Value::as_str).and_then(Kind::of);
    context.kind.or_else(named).map_or("unknown", Kind::word)
}

/// Reads an event.
///
/// # Errors
/// Every field that is wrong.
pub fn read(value: Value, context: &Context) -> Result<Draft, Vec<FieldError>> {
    let mut errors = Errors::default();
    let draft = Fields::of(value, "", &mut errors).and_then(|fields| read_fields(fields, context));
    match draft {
        Some(draft) if errors.is_empty() => Ok(draft),
        _ => Err(errors.into_vec()),
    }
}

/// `None` where a field that is needed is missing or wrong; other fields may be wrong all the same.
fn read_fields(mut fields: Fields<'_>, context: &Context) -> Option<Draft> {
    let kind = kind(&mut fields, context.kind)?;
    let program = program(&mut fields, context.program.as_deref());
    let key = key(&mut fields, context.key.as_deref());
    let source = match fields.text("source") {
        Some(source) => plain_name(&mut fields, "source", source, SOURCE_MAX),
        None => Some(SOURCE_DEFAULT.to_owned()),
    };
    let said_at = occurred_at(&mut fields, context.now);
    let is_test = fields.flag("test").unwrap_or(false);
    let payments = payments(&mut fields, kind);
    let aliases = aliases(&mut fields, kind, payments.len());
    let client_ip = client_ip(&mut fields, kind);
    let body = body::read(kind, &mut fields, !payments.is_empty());
    fields.finish(kind.called());
    Some(Draft {
        kind,
        program: program?,
        key: key?,
        source: source?,
        occurred_at: said_at.unwrap_or(context.now),
        said_at: said_at.filter(|_| !context.is_delivery),
        is_delivery: context.is_delivery,
        is_test,
        aliases,
        payments,
        client_ip,
        body: body?,
    })
}

fn kind(fields: &mut Fields<'_>, path: Option<Kind>) -> Option<Kind> {
    if let Some(kind) = path
        && !fields.has("type")
    {
        return Some(kind);
    }
    let kind = Kind::of(&fields.required_text("type")?);
    if kind.is_none() {
        fields.wrong("type", Code::Invalid, format_args!("must be one of {}", Kind::words()));
    } else if path.is_some_and(|path| Some(path) != kind) {
        fields.wrong("type", Code::Invalid, "does not fit the path");
        return None;
    }
    kind
}

fn program(fields: &mut Fields<'_>, path: Option<&str>) -> Option<ProgramId> {
    let named = match path {
        Some(path) if !fields.has("program") => path.to_owned(),
        _ => fields.required_text("program")?,
    };
    if path.is_some_and(|path| path != named) {
        fields.wrong("program", Code::Invalid, "does not fit the path");
        return None;
    }
    named.parse().map_err(|error| fields.wrong("program", Code::Invalid, error)).ok()
}

fn key(fields: &mut Fields<'_>, header: Option<&str>) -> Option<String> {
    let key = match header {
        Some(header) if !fields.has("id") => header.to_owned(),
        _ => fields.required_text("id")?,
    };
    if header.is_some_and(|header| header != key) {
        fields.wrong("id", Code::Invalid, "differs from the header Idempotency-Key");
        return None;
    }
    checked_key(fields, "id", key)
}

/// Ids of events rest on keys being free of control characters.
fn checked_key(fields: &mut Fields<'_>, field: &str, key: String) -> Option<String> {
    if (1..=KEY_CHARS_MAX).contains(&key.chars().count()) && !key.chars().any(char::is_control) {
        return Some(key);
    }
    let detail = format_args!("must have 1 to {KEY_CHARS_MAX} characters and no control characters");
    fields.wrong(field, Code::Invalid, detail);
    None
}

/// A name that stands in tables and in queries: few, short and plain.
fn plain_name(fields: &mut Fields<'_>, field: &str, name: String, max: usize) -> Option<String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    if (1..=max).contains(&name.len()) && name.bytes().all(fits) {
        return Some(name);
    }
    let detail = format_args!("must be 1 to {max} of a-z, 0-9, '-', '_' and '.'");
    fields.wrong(field, Code::Invalid, detail);
    None
}

fn occurred_at(fields: &mut Fields<'_>, now: UnixMs) -> Option<UnixMs> {
    let occurred_at = moment::field(fields, "occurred_at");
    if occurred_at.is_some_and(|at| at.ms_since(now) > CLOCK_SKEW_MS_MAX) {
        fields.wrong("occurred_at", Code::Invalid, "is more than 5 minutes in the future");
    }
    occurred_at
}

/// Of the kinds of which it says something: where a referrer was, and where a person who became a lead.
fn client_ip(fields: &mut Fields<'_>, kind: Kind) -> Option<IpAddr> {
    if !matches!(kind, Kind::Lead | Kind::Participant | Kind::Share) {
        return None;
    }
    let address = fields.text("client_ip")?.parse().ok();
    if address.is_none() {
        fields.wrong("client_ip", Code::Invalid, "must be an IPv4 or IPv6 address");
    }
    address
}

/// Of the kinds that are about payments.
fn payments(fields: &mut Fields<'_>, kind: Kind) -> Vec<String> {
    let is_about_payments =
        matches!(kind, Kind::Qualification | Kind::Disqualification | Kind::Reinstatement | Kind::Identify);
    if !is_about_payments || !fields.has("payments") {
        return Vec::new();
    }
    let names = fields.texts("payments");
    if names.is_empty() || names.len() > PAYMENTS_MAX {
        fields.wrong("payments", Code::Invalid, format_args!("must have 1 to {PAYMENTS_MAX} entries"));
        return Vec::new();
    }
    let names = names.into_iter().enumerate();
    names.filter_map(|(index, name)| checked_key(fields, &format!("payments[{index}]"), name)).collect()
}

/// Those of the event, which may name its person by a payment instead.
fn aliases(fields: &mut Fields<'_>, kind: Kind, payments: usize) -> Vec<(AliasKind, String)> {
    let mut aliases = Vec::new();
    let mut named = 0;
    // A decision is about a reward, a share about a link.
    if matches!(kind, Kind::RewardDecision | Kind::Share) {
        return aliases;
    }
    for alias in ALIASES {
        let field = alias.word();
        named += usize::from(fields.has(field));
        let Some(raw) = fields.text(field) else { continue };
        match normalise(alias, &raw) {
            Ok(normalised) => aliases.push((alias, normalised)),
            Err(error) => fields.wrong(field, Code::Invalid, error),
        }
    }
    match (kind, named) {
        // Says for itself what it undoes.
        (Kind::Participant | Kind::Reinstatement, _) => {}
        (Kind::Identify, _) if named + payments >= 2 => {}
        (Kind::Identify, _) => {
            let detail =
                "or another alias is missing: two of lead, email, phone, customer, contact and payments";
            fields.wrong("lead", Code::Required, detail);
        }
        (_, 0) if payments == 0 => {
            let detail = "is missing, and so are email, phone, customer and contact";
            fields.wrong("lead", Code::Required, detail);
        }
        _ => {}
    }
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_events() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(event) = serde_json::from_slice::<Value>(bytes) else { return };
            if let Ok(draft) = read(event, &Context::default()) {
                assert!(!draft.key.is_empty() && draft.aliases.len() <= ALIASES.len());
            }
        });
    }
}
