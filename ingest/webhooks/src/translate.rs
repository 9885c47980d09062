//! What a provider's event becomes under a mapping: events as the API takes them.

use super::{Provider, ProviderEvent, providers::stripe_minor_units, sign};
use serde_json::{Map, Value, json};
use whence_schemas::{
    event::{WebhookCondition, WebhookField, WebhookRule, WebhookSource},
    subject::{AliasKind, normalise},
    time::UnixMs,
    token::{self, CLOCK_SKEW_MS_MAX},
};

use crate::{history, moment};
use whence_schemas::money::{self, AmountError, Number};

/// Bytes of an id that is kept as it is in an idempotency key; longer ones are hashed.
const ID_BYTES_MAX: usize = 200;
/// Bytes of the longest token or code: longer ones are not valid.
const TOUCH_BYTES_MAX: usize = 64;
/// Why a rule gives no event although nothing is wrong: it takes back exactly nothing.
const NOTHING_TAKEN_BACK: &str = "nothing_taken_back";

const ALIASES: [AliasKind; 5] =
    [AliasKind::Lead, AliasKind::Email, AliasKind::Phone, AliasKind::Customer, AliasKind::Contact];

/// All that a provider's event becomes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// One for each kind of event that a rule gives.
    pub events: Vec<Translated>,
    /// Rules that fit, and what keeps them from giving an event: a fixed word.
    pub unusable: Vec<(usize, &'static str)>,
    /// Rules that fit and ask for nothing, such as a refund of 0.
    pub without_effect: Vec<usize>,
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
            Err(NOTHING_TAKEN_BACK) => translation.without_effect.push(index),
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
        let occurred_at = self.occurred_at()?;
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
        let money = self.money()?;
        // Without one a disqualification takes back all that the lead has reached: only a rule can mean that.
        let means_one =
            money.is_some() || self.field("qualification").is_some() || self.field("payments").is_some();
        match self.rule.gives.as_str() {
            "disqualification" if means_one && qualification.is_none() && !names_payment => {
                return Err("no_qualification");
            }
            "reinstatement" if disqualification.is_none() && !names_payment => {
                return Err("no_disqualification");
            }
            _ => {}
        }
        if let Some(key) = disqualification {
            put("disqualification", key.into());
        }
        if let Some((minor, currency)) = money {
            put("value", json!({ "minor": minor, "currency": currency }));
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

    /// What one of the field's pointers finds. `None` where the rule does not name the field or nothing is there; an
    /// error where something is there that is no text, number or truth value.
    fn found(&self, name: &str) -> Result<Option<String>, ()> {
        let value = self.value(name);
        let is_there =
            |at: &String| matches!(self.event.body.pointer(at), Some(Value::Object(_) | Value::Array(_)));
        match self.field(name) {
            Some(field) if value.is_none() && field.at.iter().any(is_there) => Err(()),
            _ => Ok(value),
        }
    }

    /// When it happened, as [`moment::written`] reads it. A time that is there and can't be read, or lies in the
    /// future, is never taken for now.
    fn occurred_at(&self) -> Result<Option<UnixMs>, &'static str> {
        let Some(text) = self.found("occurred_at").map_err(|()| "occurred_at_unreadable")? else {
            return Ok(None);
        };
        let written = moment::written(&text).ok_or("occurred_at_unreadable")?;
        written.moment(self.now, CLOCK_SKEW_MS_MAX).map(Some).ok_or("occurred_at_in_future")
    }

    /// Minor units and their currency, where the rule names an amount. One that is not there or can't be read is
    /// never 0, nor all: the event is not sent. The currency is the source's own where the event has none.
    fn money(&self) -> Result<Option<(i64, String)>, &'static str> {
        let Some(name) = ["amount", "minor"].into_iter().find(|name| self.field(name).is_some()) else {
            return Ok(None);
        };
        let amount = self.found(name).map_err(|()| "amount_unreadable")?.ok_or("amount_missing")?;
        Number::read(&amount).map_err(reason)?;
        let is_part = matches!(self.rule.gives.as_str(), "disqualification" | "reinstatement");
        if is_part && money::is_zero(&amount) {
            return Err(NOTHING_TAKEN_BACK);
        }
        let currency = self.found("currency").map_err(|()| "currency_unknown")?;
        let default = Some(self.source.default_currency.clone()).filter(|default| !default.is_empty());
        let currency = currency.or(default).ok_or("currency_missing")?.to_ascii_uppercase();
        let decimals = money::decimals(&currency).ok_or("currency_unknown")?;
        let minor = match (name, Provider::of(&self.source.provider)) {
            ("amount", _) => money::minor_units_of_number(&amount, decimals),
            (_, Some(Provider::Stripe)) => stripe_minor_units(&amount, &currency, decimals),
            _ => money::minor_units_of_number(&amount, 0),
        };
        match minor.map_err(reason)? {
            0 if is_part => Err(NOTHING_TAKEN_BACK),
            minor => Ok(Some((minor, currency))),
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
                let text = if name == "wclid" { token::repaired(&text) } else { text };
                let touch = json!({ member: text });
                if text.is_empty() {
                    continue;
                }
                if text.len() > TOUCH_BYTES_MAX && name == "code" {
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

/// Why an amount is refused, as a fixed word.
fn reason(error: AmountError) -> &'static str {
    match error {
        AmountError::Form => "amount_unreadable",
        AmountError::Separators => "amount_with_separators",
        AmountError::Negative => "amount_negative",
        AmountError::Decimals { .. } => "amount_too_precise",
        AmountError::TooLarge => "amount_too_large",
    }
}
