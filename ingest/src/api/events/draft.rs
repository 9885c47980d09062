//! An event as its caller wrote it, looked at on its own: shapes, lengths, amounts, times. Knows no
//! program and no key; [`super::resolve`] goes on from here.
//!
//! A draft holds raw aliases. It is never logged and has no `Debug`.

use super::money;
use crate::api::{
    json::{Errors, Fields},
    moment,
    problem::{Code, FieldError},
};
use serde_json::Value;
use whence_schemas::{
    ids::ProgramId,
    subject::{AliasKind, normalise},
    time::UnixMs,
    token::CLOCK_SKEW_MS_MAX,
};

/// Touches of one lead, of whatever form.
pub const TOUCHES_MAX: usize = 20;
/// Bytes of an idempotency key.
pub const KEY_BYTES_MAX: usize = 255;
/// Characters of the name of a qualification.
pub const NAME_MAX: usize = 64;
/// Characters of a source.
pub const SOURCE_MAX: usize = 32;
/// The source of events that name none.
pub const SOURCE_DEFAULT: &str = "api";
/// Bytes of a token or a code: longer ones are no such thing, and are not looked at further.
const TOUCH_BYTES_MAX: usize = 64;

const ALIASES: [AliasKind; 5] =
    [AliasKind::Lead, AliasKind::Email, AliasKind::Phone, AliasKind::Customer, AliasKind::Contact];

/// What the request says beside the event: its path, its headers, its time.
#[derive(Clone, Default)]
pub struct Context {
    /// The kind of event that the path stands for.
    pub kind: Option<&'static str>,
    /// The program in the path.
    pub program: Option<String>,
    /// The `Idempotency-Key` header.
    pub key: Option<String>,
    /// Now.
    pub now: UnixMs,
}

/// An event that is right in itself.
pub struct Draft {
    /// The program it names.
    pub program: ProgramId,
    /// The idempotency key.
    pub key: String,
    /// Where it comes from.
    pub source: String,
    /// When it happened.
    pub occurred_at: UnixMs,
    /// Whether it is a test.
    pub is_test: bool,
    /// Whom it is about: normalised, each kind at most once, at least one.
    pub aliases: Vec<(AliasKind, String)>,
    /// What it says.
    pub body: DraftBody,
}

/// What an event says.
pub enum DraftBody {
    /// Somebody became a lead.
    Lead {
        /// What led here, oldest first.
        touches: Vec<DraftTouch>,
    },
    /// A lead reached something.
    Qualification {
        /// What.
        name: String,
        /// Minor units of `currency`, 0 without a value.
        value_minor: i64,
        /// ISO 4217, empty without a value.
        currency: String,
    },
}

/// One thing that names a referrer.
pub struct DraftTouch {
    /// The field it stands in, for errors.
    pub field: String,
    /// What it is.
    pub evidence: Named,
}

/// How a touch names a referrer.
pub enum Named {
    /// By a click token.
    Token(String),
    /// By the code of a link of the program.
    Code(String),
}

#[derive(Clone, Copy)]
enum Kind {
    Lead,
    Qualification,
}

/// The contract has them, this API does not take them yet.
const LATER: [&str; 6] =
    ["disqualification", "participant", "share", "identify", "reward_decision", "erasure"];

/// The kind of an event for metrics: never the caller's own text.
#[must_use]
pub fn kind_label(value: &Value, context: &Context) -> &'static str {
    let kind = context.kind.or_else(|| value.get("type").and_then(Value::as_str)).unwrap_or_default();
    let known = ["lead", "qualification"].into_iter().chain(LATER);
    known.into_iter().find(|known| *known == kind).unwrap_or("unknown")
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
    let occurred_at = occurred_at(&mut fields, context.now);
    let is_test = fields.flag("test").unwrap_or(false);
    let aliases = aliases(&mut fields);
    let body = match kind {
        Kind::Lead => Some(DraftBody::Lead { touches: touches(&mut fields) }),
        Kind::Qualification => qualification(&mut fields),
    };
    fields.finish(match kind {
        Kind::Lead => "a lead",
        Kind::Qualification => "a qualification",
    });
    Some(Draft { program: program?, key: key?, source: source?, occurred_at, is_test, aliases, body: body? })
}

fn kind(fields: &mut Fields<'_>, path: Option<&str>) -> Option<Kind> {
    let named = match path {
        Some(path) if !fields.has("type") => path.to_owned(),
        _ => fields.required_text("type")?,
    };
    if path.is_some_and(|path| path != named) {
        fields.wrong("type", Code::Invalid, "does not fit the path");
        return None;
    }
    match named.as_str() {
        "lead" => return Some(Kind::Lead),
        "qualification" => return Some(Kind::Qualification),
        later if LATER.contains(&later) => {
            let detail =
                format_args!("{later:?} is not supported yet, only \"lead\" and \"qualification\" are");
            fields.wrong("type", Code::UnsupportedType, detail);
        }
        _ => fields.wrong("type", Code::Invalid, "must be \"lead\" or \"qualification\""),
    }
    None
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
        fields.wrong("id", Code::Invalid, "is not what the header Idempotency-Key says");
    } else if key.is_empty() || key.len() > KEY_BYTES_MAX || key.chars().any(char::is_control) {
        let detail = format_args!("must have 1 to {KEY_BYTES_MAX} bytes and no control characters");
        fields.wrong("id", Code::Invalid, detail);
    }
    Some(key)
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

fn occurred_at(fields: &mut Fields<'_>, now: UnixMs) -> UnixMs {
    let occurred_at = moment::field(fields, "occurred_at").unwrap_or(now);
    if occurred_at.ms_since(now) > CLOCK_SKEW_MS_MAX {
        fields.wrong("occurred_at", Code::Invalid, "lies more than 5 minutes in the future");
    }
    occurred_at
}

fn aliases(fields: &mut Fields<'_>) -> Vec<(AliasKind, String)> {
    let mut aliases = Vec::new();
    let mut is_named = false;
    for kind in ALIASES {
        let field = kind.word();
        is_named |= fields.has(field);
        let Some(raw) = fields.text(field) else { continue };
        match normalise(kind, &raw) {
            Ok(alias) => aliases.push((kind, alias)),
            Err(error) => fields.wrong(field, Code::Invalid, error),
        }
    }
    if !is_named {
        fields.wrong("lead", Code::Required, "is missing, and so are email, phone, customer and contact");
    }
    aliases
}

fn touches(fields: &mut Fields<'_>) -> Vec<DraftTouch> {
    let mut touches = Vec::new();
    let list = fields.list("touches");
    if list.len() > TOUCHES_MAX {
        fields.wrong("touches", Code::Invalid, format_args!("must have at most {TOUCHES_MAX} entries"));
        return touches;
    }
    for (index, item) in list.into_iter().enumerate() {
        let path = fields.path(&format!("touches[{index}]"));
        touches.extend(Fields::of(item, &path, fields.errors()).and_then(touch));
    }
    // The short form: what the landing page carried is the newest.
    touches.extend(named(fields, "wclid", Named::Token));
    touches.extend(named(fields, "code", Named::Code));
    touches
}

fn touch(mut fields: Fields<'_>) -> Option<DraftTouch> {
    let is_one = fields.has("token") != fields.has("code");
    if !is_one {
        fields.wrong("token", Code::Invalid, "or code must be given, one of the two");
    }
    let token = named(&mut fields, "token", Named::Token);
    let code = named(&mut fields, "code", Named::Code);
    fields.finish("a touch");
    token.or(code).filter(|_| is_one)
}

fn named(fields: &mut Fields<'_>, field: &str, form: fn(String) -> Named) -> Option<DraftTouch> {
    let text = fields.text(field)?;
    if text.is_empty() || text.len() > TOUCH_BYTES_MAX {
        let code = match form(String::new()) {
            Named::Token(_) => Code::TokenMalformed,
            Named::Code(_) => Code::UnknownCode,
        };
        fields.wrong(field, code, format_args!("must have 1 to {TOUCH_BYTES_MAX} characters"));
        return None;
    }
    Some(DraftTouch { field: fields.path(field), evidence: form(text) })
}

fn qualification(fields: &mut Fields<'_>) -> Option<DraftBody> {
    let name = match fields.required_text("name") {
        Some(name) => plain_name(fields, "name", name, NAME_MAX),
        None => None,
    };
    let (value_minor, currency) = match fields.object("value") {
        Some(value) => money(value).unwrap_or_default(),
        None => Default::default(),
    };
    Some(DraftBody::Qualification { name: name?, value_minor, currency })
}

/// `{"amount": "12.50", "currency": "EUR"}` or `{"minor": 1250, "currency": "EUR"}`.
fn money(mut fields: Fields<'_>) -> Option<(i64, String)> {
    let currency = fields.required_text("currency");
    let decimals = currency.as_deref().and_then(money::decimals);
    if currency.is_some() && decimals.is_none() {
        fields.wrong("currency", Code::Invalid, "is not an ISO 4217 currency code such as \"EUR\"");
    }
    let minor = match (fields.has("amount"), fields.has("minor")) {
        (true, false) => amount(&mut fields, decimals),
        (false, true) => fields.integer("minor"),
        _ => {
            fields.wrong("amount", Code::Required, "or minor must be given, one of the two");
            fields.take("amount");
            fields.take("minor");
            None
        }
    };
    if minor.is_some_and(|minor| !(0..=money::MINOR_MAX).contains(&minor)) {
        fields.wrong("minor", Code::Invalid, format_args!("must be between 0 and {}", money::MINOR_MAX));
    }
    fields.finish("a value");
    Some((minor?, currency?))
}

fn amount(fields: &mut Fields<'_>, decimals: Option<usize>) -> Option<i64> {
    let is_number = matches!(fields.peek("amount"), Some(Value::Number(_)));
    if is_number {
        fields.take("amount");
        fields.wrong(
            "amount",
            Code::WrongType,
            "must be a string such as \"12.50\": JSON numbers lose digits",
        );
        return None;
    }
    let text = fields.text("amount")?;
    match money::minor_units(&text, decimals?) {
        Ok(minor) => Some(minor),
        Err(error) => {
            fields.wrong("amount", Code::Invalid, error);
            None
        }
    }
}
