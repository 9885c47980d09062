//! What a provider's event becomes under a mapping: events as the API takes them.

use super::{Provider, ProviderEvent, providers::stripe_minor_units, sign};
use serde_json::{Map, Value, json};
use whence_schemas::{
    event::{WebhookCondition, WebhookField, WebhookRule, WebhookSource},
    subject::{AliasKind, normalise},
    time::UnixMs,
    token::CLOCK_SKEW_MS_MAX,
};

use crate::api::{
    events::{history, money},
    moment,
};

/// Bytes of an id that is kept as it is in an idempotency key; longer ones are hashed.
const ID_BYTES_MAX: usize = 200;
/// Bytes of the longest token or code: longer ones are not valid.
const TOUCH_BYTES_MAX: usize = 64;
/// Times below this are seconds: as milliseconds they lie in early 1973.
const MS_MIN: i64 = 100_000_000_000;

const ALIASES: [AliasKind; 5] =
    [AliasKind::Lead, AliasKind::Email, AliasKind::Phone, AliasKind::Customer, AliasKind::Contact];

/// All that a provider's event becomes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// One for each kind of event that a rule gives.
    pub events: Vec<Translated>,
    /// Rules that fit, and what keeps them from giving an event: a fixed word.
    pub unusable: Vec<(usize, &'static str)>,
    /// What was left out because it can't be read: fixed words.
    pub left_out: Vec<&'static str>,
}

/// One event of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// The rule's place in the mapping.
    pub rule: usize,
    /// The event without its touches.
    pub event: Map<String, Value>,
    /// `{"token": …}` or `{"code": …}`, none of them proved yet.
    pub touches: Vec<Value>,
    /// When it happened, where the provider says so.
    pub occurred_at: Option<UnixMs>,
}

/// What this event becomes: of each kind the first rule that fits.
#[must_use]
pub fn translate(source: &WebhookSource, event: &ProviderEvent, now: UnixMs) -> Translation {
    let mut translation = Translation::default();
    let mut given: Vec<&str> = Vec::new();
    for (index, rule) in source.rules.iter().enumerate() {
        if given.contains(&rule.gives.as_str()) || !fits(rule, event) {
            continue;
        }
        given.push(&rule.gives);
        let reader = Reader { source, rule, event, now };
        match reader.read(&mut translation.left_out) {
            Ok(translated) => translation.events.push(Translated { rule: index, ..translated }),
            Err(why) => translation.unusable.push((index, why)),
        }
    }
    translation
}

fn fits(rule: &WebhookRule, event: &ProviderEvent) -> bool {
    let is_of_name = rule.events.is_empty() || rule.events.contains(&event.name);
    is_of_name && rule.when.iter().all(|condition| holds(condition, &event.body))
}

fn holds(condition: &WebhookCondition, body: &Value) -> bool {
    let found = body.pointer(&condition.at).filter(|value| !value.is_null());
    let text = found.and_then(scalar);
    let is_one_of = |text: &String| condition.values.contains(text);
    let number = || text.as_deref().and_then(|text| text.parse::<f64>().ok());
    let limit = || condition.values.first().and_then(|value| value.parse::<f64>().ok());
    match condition.is.as_str() {
        "exists" => found.is_some(),
        "absent" => found.is_none(),
        "equals" => text.as_ref().is_some_and(is_one_of),
        "not_equals" => !text.as_ref().is_some_and(is_one_of),
        "contains" => match found {
            Some(Value::Array(items)) => items.iter().filter_map(scalar).any(|item| is_one_of(&item)),
            Some(Value::String(text)) => condition.values.iter().any(|value| text.contains(value.as_str())),
            _ => false,
        },
        "at_least" => number().zip(limit()).is_some_and(|(number, limit)| number >= limit),
        "at_most" => number().zip(limit()).is_some_and(|(number, limit)| number <= limit),
        _ => false,
    }
}

/// A text, number or truth value as text; `None` for the rest and for what is empty.
fn scalar(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

struct Reader<'a> {
    source: &'a WebhookSource,
    rule: &'a WebhookRule,
    event: &'a ProviderEvent,
    now: UnixMs,
}

impl Reader<'_> {
    fn read(&self, left_out: &mut Vec<&'static str>) -> Result<Translated, &'static str> {
        let mut event = Map::new();
        let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
        put("type", self.rule.gives.as_str().into());
        put("program", self.source.program.as_str().into());
        put("source", self.source.id.as_str().into());
        let touches = self.touches(left_out);
        put("id", self.id(&touches).into());
        if self.source.test || self.event.is_test {
            put("test", true.into());
        }
        let mut names = 0;
        for kind in ALIASES {
            let Some(raw) = self.value(kind.word()) else { continue };
            // A CRM's free text is no reason to lose the lead.
            match normalise(kind, &raw) {
                Ok(alias) => {
                    put(kind.word(), alias.into());
                    names += 1;
                }
                Err(_) => left_out.push(kind.word()),
            }
        }
        let payments = self.payments();
        match self.rule.gives.as_str() {
            "reinstatement" => {}
            _ if names + payments.len() == 0 => return Err("no_subject"),
            "identify" if names + payments.len() == 1 => return Err("one_name_only"),
            _ => {}
        }
        let names_payment = !payments.is_empty();
        if names_payment {
            put("payments", payments.into());
        }
        if let Some(record) = self.value("record") {
            put("record", short(&record).into());
        }
        let occurred_at = self.occurred_at(left_out);
        if let Some(at) = occurred_at {
            put("occurred_at", at.rfc3339().into());
        }
        match self.rule.gives.as_str() {
            "qualification" => {
                if let Some(condition) = &self.rule.history {
                    put("history", history::view(condition));
                }
                put("name", self.rule.name.as_str().into())
            }
            "disqualification" | "reinstatement" => put("reason", self.rule.name.as_str().into()),
            _ => None,
        };
        let qualification = self.value("qualification").map(|key| id_of(&key, "qualification"));
        let disqualification = self.value("disqualification").map(|key| id_of(&key, "disqualification"));
        if self.rule.gives == "reinstatement" && disqualification.is_none() && !names_payment {
            return Err("no_disqualification");
        }
        if let Some(key) = disqualification {
            put("disqualification", key.into());
        }
        if let Some((minor, currency)) = self.money(left_out)? {
            match (self.rule.gives.as_str(), &qualification, minor) {
                ("disqualification", _, 0) => return Err("nothing_taken_back"),
                ("reinstatement", _, 0) => return Err("nothing_given_again"),
                ("disqualification", None, _) if !names_payment => return Err("no_qualification"),
                _ => put("value", json!({ "minor": minor, "currency": currency })),
            };
        }
        if let Some(key) = qualification {
            put("qualification", key.into());
        }
        Ok(Translated { rule: 0, event, touches, occurred_at })
    }

    fn field(&self, name: &str) -> Option<&WebhookField> {
        self.rule.fields.iter().find(|field| field.field == name)
    }

    /// The first value that one of the field's pointers finds, with its prefix; or the constant.
    fn value(&self, name: &str) -> Option<String> {
        let field = self.field(name)?;
        if !field.constant.is_empty() {
            return Some(field.constant.clone());
        }
        let found = field.at.iter().find_map(|at| self.event.body.pointer(at).and_then(scalar))?;
        Some(format!("{}{found}", field.prefix))
    }

    /// All names of the payment that are found: any of them may be the one by which another event knows it.
    fn payments(&self) -> Vec<String> {
        let Some(field) = self.field("payments") else { return Vec::new() };
        let found = field.at.iter().filter_map(|at| self.event.body.pointer(at).and_then(scalar));
        let mut names: Vec<String> = found.map(|name| short(&format!("{}{name}", field.prefix))).collect();
        names.sort();
        names.dedup();
        names
    }

    /// What makes the event one: the mapping's key or the provider's event id, and the kind, since one
    /// event of a provider may be both a lead and a qualification. Of a record without a key it is the record and what
    /// touched it: told again without news it is the same event.
    fn id(&self, touches: &[Value]) -> String {
        let record = self.value("record").filter(|_| self.field("key").is_none());
        let key = match record {
            Some(record) if touches.is_empty() => record,
            Some(record) => {
                let touches = Value::from(touches).to_string();
                format!("{}+{}", short(&record), hex::encode(&sign::sha256(&[touches.as_bytes()])[..16]))
            }
            None => self.value("key").unwrap_or_else(|| self.event.id.clone()),
        };
        id_of(&key, &self.rule.gives)
    }

    /// Seconds or milliseconds since 1970, or an RFC 3339 time. A time that is not valid, or in the future,
    /// gives way to the time of receipt.
    fn occurred_at(&self, left_out: &mut Vec<&'static str>) -> Option<UnixMs> {
        let text = self.value("occurred_at")?;
        let of_number = |number: i64| {
            let is_seconds = number < MS_MIN;
            UnixMs(if is_seconds { number.saturating_mul(1000) } else { number })
        };
        let at = text.parse::<i64>().map(of_number).ok().or_else(|| moment::parse(&text));
        let usable = at.filter(|at| at.is_storable() && at.ms_since(self.now) <= CLOCK_SKEW_MS_MAX);
        if usable.is_none() {
            left_out.push("occurred_at");
        }
        usable
    }

    /// Minor units and their currency. An amount that can't be read does not count as 0: the event is not sent. One
    /// without a currency is left out.
    fn money(&self, left_out: &mut Vec<&'static str>) -> Result<Option<(i64, String)>, &'static str> {
        let (amount, minor) = (self.value("amount"), self.value("minor"));
        if amount.is_none() && minor.is_none() {
            return Ok(None);
        }
        let Some(currency) = self.value("currency") else {
            left_out.push("value");
            return Ok(None);
        };
        let currency = currency.to_ascii_uppercase();
        let decimals = money::decimals(&currency).ok_or("currency_unknown")?;
        let minor = match (amount, minor) {
            (Some(amount), _) => {
                money::minor_units(&trimmed(&amount, decimals), decimals).map_err(|_| "amount_unreadable")?
            }
            (None, Some(minor)) => self.minor(&minor, &currency).ok_or("amount_unreadable")?,
            (None, None) => return Ok(None),
        };
        Ok(Some((minor, currency)))
    }

    fn minor(&self, text: &str, currency: &str) -> Option<i64> {
        let amount: i64 = text.parse().ok().filter(|amount| (0..=money::MINOR_MAX).contains(amount))?;
        match Provider::of(&self.source.provider) {
            Some(Provider::Stripe) => stripe_minor_units(amount, currency),
            _ => Some(amount),
        }
    }

    /// Every token and code that is found, not the first only: which of them is one shows later.
    fn touches(&self, left_out: &mut Vec<&'static str>) -> Vec<Value> {
        let mut touches = Vec::new();
        for (name, member) in [("wclid", "token"), ("code", "code")] {
            let Some(field) = self.field(name) else { continue };
            let found = field.at.iter().filter_map(|at| self.event.body.pointer(at).and_then(scalar));
            let constant = (!field.constant.is_empty()).then(|| field.constant.clone());
            for text in found.chain(constant) {
                let text = if name == "wclid" { of_address(text) } else { text };
                let touch = json!({ member: text });
                if text.is_empty() || text.len() > TOUCH_BYTES_MAX {
                    left_out.push(member);
                } else if !touches.contains(&touch) {
                    touches.push(touch);
                }
            }
        }
        touches
    }
}

fn id_of(key: &str, kind: &str) -> String {
    format!("{}:{kind}", short(key))
}

/// The text, or where it is long or has control characters its hash: so that it can be part of a key.
fn short(text: &str) -> String {
    if text.len() > ID_BYTES_MAX || text.chars().any(char::is_control) {
        return hex::encode(sign::sha256(&[text.as_bytes()]));
    }
    text.to_owned()
}

/// The token of a landing page's address, where that is what was found; else the text.
fn of_address(text: String) -> String {
    let Some((_, query)) = text.split_once('?') else { return text };
    let query = query.split('#').next().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "wclid").map(|(_, token)| token.into_owned()).unwrap_or_default()
}

/// Without the zeros behind the point that a currency has no place for: `500.00` yen.
fn trimmed(amount: &str, decimals: usize) -> String {
    let Some((whole, fraction)) = amount.split_once('.').filter(|_| amount.is_ascii()) else {
        return amount.to_owned();
    };
    let (kept, rest) = fraction.split_at(fraction.len().min(decimals));
    match (kept, rest.bytes().all(|digit| digit == b'0')) {
        (_, false) => amount.to_owned(),
        ("", true) => whole.to_owned(),
        (kept, true) => format!("{whole}.{kept}"),
    }
}
