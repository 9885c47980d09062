//! Everything that is wrong with a source of webhooks and its mapping. The registry refuses what has a
//! mistake; the API shows all of them.

use super::{providers::Provider, secrets};
use crate::history;
use prost::Message;
use std::fmt::Display;
use whence_schemas::{
    event::{
        HistoryCondition, WebhookCondition, WebhookField, WebhookRule, WebhookScheme, WebhookSource,
        history_condition::Is,
    },
    ids::ProgramId,
    money,
};

/// Secrets of one source: two while one is replaced, with room.
pub const SECRETS_MAX: usize = 4;
/// Rules of one source.
pub const RULES_MAX: usize = 64;
/// Event names of a rule, and values of a condition.
pub const NAMES_MAX: usize = 64;
/// Conditions of a rule.
pub const CONDITIONS_MAX: usize = 16;
/// Pointers of a field.
pub const POINTERS_MAX: usize = 8;
/// Bytes of a source's record: well under what a record may have.
pub const SOURCE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of each text.
pub const TEXT_MAX: usize = 256;
/// Characters of an id, a qualification's name and a reason, as in events.
pub(super) const ID_MAX: usize = 32;
const NAME_MAX: usize = 64;

/// What a rule can give.
pub const GIVES: [&str; 5] = ["lead", "qualification", "disqualification", "reinstatement", "identify"];
/// How a condition can compare.
pub const IS: [&str; 7] = ["equals", "not_equals", "contains", "at_least", "at_most", "exists", "absent"];
/// Fields that say who an event is about.
const ALIASES: [&str; 5] = ["lead", "email", "phone", "customer", "contact"];
/// What a mapping can fill, in the order of the documentation.
pub const FIELDS: [&str; 16] = [
    "key",
    "lead",
    "email",
    "phone",
    "customer",
    "contact",
    "wclid",
    "code",
    "amount",
    "minor",
    "currency",
    "occurred_at",
    "qualification",
    "disqualification",
    "payments",
    "record",
];

/// One thing that is wrong. The reason completes the sentence that starts with the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The field of the API's JSON: `rules[0].fields.wclid`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// All that is wrong with a source; nothing, where it can be used.
#[must_use]
pub fn check(source: &WebhookSource) -> Vec<Mistake> {
    let mut mistakes = Mistakes(Vec::new());
    if let Err(error) = source.program.parse::<ProgramId>() {
        mistakes.add("program", error);
    }
    if !is_plain(&source.id, ID_MAX) {
        mistakes.add("id", format_args!("must be 1 to {ID_MAX} of a-z, 0-9, '-', '_' and '.'"));
    }
    let provider = Provider::of(&source.provider);
    if provider.is_none() {
        let words = Provider::ALL.map(Provider::word).join(", ");
        mistakes.add("provider", format_args!("must be one of {words}"));
    }
    mistakes.secrets(&source.secrets);
    let scheme = source.scheme.clone().unwrap_or_default();
    if let Some(provider) = provider {
        mistakes.scheme(&scheme, provider);
    }
    let default = source.default_currency.as_str();
    if !default.is_empty() && money::decimals(default).is_none() {
        mistakes.add("default_currency", "is not an ISO 4217 currency code such as \"EUR\"");
    }
    if source.rules.is_empty() || source.rules.len() > RULES_MAX {
        mistakes.add("rules", format_args!("must have 1 to {RULES_MAX} rules"));
    }
    for (index, rule) in source.rules.iter().enumerate().take(RULES_MAX) {
        mistakes.rule(&format!("rules[{index}]"), rule, !default.is_empty());
    }
    if source.encoded_len() > SOURCE_BYTES_MAX {
        mistakes.add("rules", format_args!("must have at most {} KiB together", SOURCE_BYTES_MAX / 1024));
    }
    mistakes.0
}

pub(super) struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    pub fn add(&mut self, field: impl Into<String>, reason: impl Display) {
        self.0.push(Mistake { field: field.into(), reason: reason.to_string() });
    }

    /// Names of secrets, one at least.
    pub fn secrets(&mut self, names: &[String]) {
        if names.is_empty() || names.len() > SECRETS_MAX {
            self.add("secrets", format_args!("must name 1 to {SECRETS_MAX} secrets"));
        }
        for (index, name) in names.iter().enumerate() {
            if !secrets::is_name(name) {
                let reason = "must name a secret of this program (1 to 64 of a-z, 0-9, '-' and '_'), never be a secret";
                self.add(format!("secrets[{index}]"), reason);
            } else if names[..index].contains(name) {
                self.add(format!("secrets[{index}]"), "is in the list twice");
            }
        }
    }

    fn scheme(&mut self, scheme: &WebhookScheme, provider: Provider) {
        use Provider::{Generic, HubSpot, Salesforce, StandardWebhooks};
        let fields = [
            ("url", &scheme.url, &[HubSpot][..]),
            ("organization", &scheme.organization, &[Salesforce]),
            ("signature_header", &scheme.signature_header, &[Generic, Salesforce]),
            ("signature_prefix", &scheme.signature_prefix, &[Generic, Salesforce]),
            ("signature_encoding", &scheme.signature_encoding, &[Generic, Salesforce]),
            ("event_at", &scheme.event_at, &[Generic, Salesforce, StandardWebhooks]),
            ("id_at", &scheme.id_at, &[Generic, Salesforce]),
        ];
        for (field, value, providers) in fields {
            if !value.is_empty() && !providers.contains(&provider) {
                self.add(field, format_args!("is not a field of {}", provider.word()));
            }
            self.short(field, value);
        }
        if !scheme.url.is_empty() && !scheme.url.starts_with("https://") && !scheme.url.starts_with("http://")
        {
            self.add("url", "must be the whole address, beginning with https://");
        }
        let is_id = |id: &str| matches!(id.len(), 15 | 18) && id.bytes().all(|b| b.is_ascii_alphanumeric());
        if provider == Salesforce && !is_id(&scheme.organization) {
            self.add("organization", "must be the organization's id of 15 or 18 letters and digits");
        }
        let is_header =
            |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_header(&scheme.signature_header) {
            self.add("signature_header", "must be a header's name in lower case");
        }
        if scheme.signature_header.is_empty() {
            for (field, value) in [
                ("signature_prefix", &scheme.signature_prefix),
                ("signature_encoding", &scheme.signature_encoding),
            ] {
                if !value.is_empty() {
                    self.add(field, "needs a signature_header");
                }
            }
        }
        if !matches!(scheme.signature_encoding.as_str(), "" | "hex" | "base64") {
            self.add("signature_encoding", "must be \"hex\" or \"base64\"");
        }
        for (field, pointer) in [("event_at", &scheme.event_at), ("id_at", &scheme.id_at)] {
            if !pointer.is_empty() {
                self.pointer(field, pointer);
            }
        }
    }

    fn rule(&mut self, path: &str, rule: &WebhookRule, has_currency: bool) {
        if rule.events.len() > NAMES_MAX {
            self.add(format!("{path}.events"), format_args!("must have at most {NAMES_MAX} entries"));
        }
        for (index, event) in rule.events.iter().enumerate().take(NAMES_MAX) {
            self.short(&format!("{path}.events[{index}]"), event);
            if event.is_empty() {
                self.add(format!("{path}.events[{index}]"), "must not be empty");
            }
        }
        if rule.when.len() > CONDITIONS_MAX {
            self.add(format!("{path}.when"), format_args!("must have at most {CONDITIONS_MAX} entries"));
        }
        for (index, condition) in rule.when.iter().enumerate().take(CONDITIONS_MAX) {
            self.condition(&format!("{path}.when[{index}]"), condition);
        }
        if !GIVES.contains(&rule.gives.as_str()) {
            self.add(format!("{path}.gives"), format_args!("must be one of {}", GIVES.join(", ")));
            return;
        }
        let is_named = matches!(rule.gives.as_str(), "qualification" | "disqualification" | "reinstatement");
        if is_named && !is_plain(&rule.name, NAME_MAX) {
            let reason = format_args!("must be 1 to {NAME_MAX} of a-z, 0-9, '-', '_' and '.'");
            self.add(format!("{path}.name"), reason);
        }
        if !is_named && !rule.name.is_empty() {
            self.add(format!("{path}.name"), format_args!("is not a field of a rule for {}", rule.gives));
        }
        if let Some(condition) = &rule.history {
            self.history(path, rule, condition);
        }
        self.fields(path, rule, has_currency);
    }

    fn history(&mut self, path: &str, rule: &WebhookRule, condition: &HistoryCondition) {
        if let Some((field, reason)) = history::check(condition) {
            self.add(format!("{path}.history.{field}"), reason);
        }
        if rule.gives != "qualification" {
            self.add(format!("{path}.history"), format_args!("is not a field of a rule for {}", rule.gives));
        }
        let has_amount = rule.fields.iter().any(|field| matches!(field.field.as_str(), "amount" | "minor"));
        if matches!(condition.is, Some(Is::SpendAtLeast(_))) && !has_amount {
            self.add(format!("{path}.history"), "needs an amount or minor among the fields");
        }
    }

    fn condition(&mut self, path: &str, condition: &WebhookCondition) {
        self.pointer(&format!("{path}.at"), &condition.at);
        let is = condition.is.as_str();
        if !IS.contains(&is) {
            self.add(format!("{path}.is"), format_args!("must be one of {}", IS.join(", ")));
            return;
        }
        let values = format!("{path}.values");
        match is {
            "exists" | "absent" if !condition.values.is_empty() => {
                self.add(values, format_args!("must be left out with {is:?}"));
            }
            "exists" | "absent" => {}
            "at_least" | "at_most" => {
                let is_number = |text: &String| text.parse::<f64>().is_ok_and(f64::is_finite);
                if condition.values.len() != 1 || !condition.values.iter().all(is_number) {
                    self.add(values, "must be one number");
                }
            }
            _ if condition.values.is_empty() || condition.values.len() > NAMES_MAX => {
                self.add(values, format_args!("must have 1 to {NAMES_MAX} entries"));
            }
            _ => {
                for (index, value) in condition.values.iter().enumerate() {
                    self.short(&format!("{values}[{index}]"), value);
                }
            }
        }
    }

    fn fields(&mut self, rule_path: &str, rule: &WebhookRule, has_currency: bool) {
        let path = |name: &str| format!("{rule_path}.fields.{name}");
        for (index, field) in rule.fields.iter().enumerate() {
            let name = field.field.as_str();
            if !FIELDS.contains(&name) {
                let name: String = name.chars().take(NAME_MAX).collect();
                self.add(path(&name), format_args!("must be one of {}", FIELDS.join(", ")));
                continue;
            }
            if rule.fields[..index].iter().any(|other| other.field == name) {
                self.add(path(name), "is there twice");
            }
            if !fits(name, &rule.gives) {
                self.add(path(name), format_args!("is not a field of a rule for {}", rule.gives));
            }
            self.field(&path(name), field);
        }
        let has = |name: &str| rule.fields.iter().any(|field| field.field == name);
        let subjects = ALIASES.into_iter().filter(|name| has(name)).count();
        let names_payment = has("payments");
        match rule.gives.as_str() {
            "reinstatement" if !names_payment && !has("disqualification") => {
                self.add(
                    format!("{rule_path}.fields"),
                    "must say what it undoes, with disqualification or payments",
                );
            }
            "reinstatement" => {}
            _ if subjects == 0 && !names_payment => self.add(
                format!("{rule_path}.fields"),
                "must say who it is about, with one of lead, email, phone, customer or contact, or with payments",
            ),
            "identify" if subjects == 1 && !names_payment => {
                self.add(format!("{rule_path}.fields"), "must have at least two names of one person");
            }
            _ => {}
        }
        if has("amount") && has("minor") {
            self.add(path("minor"), "must not be given together with amount");
        }
        match (has("amount") || has("minor"), has("currency")) {
            (true, false) if !has_currency => {
                self.add(
                    path("currency"),
                    "is missing: an amount needs one, here or as the source's default_currency",
                );
            }
            (false, true) => self.add(path("currency"), "needs an amount or minor beside it"),
            _ => {}
        }
    }

    fn field(&mut self, path: &str, field: &WebhookField) {
        let name = field.field.as_str();
        if field.at.is_empty() == field.constant.is_empty() {
            self.add(path, "must have one of at and constant");
        }
        if !field.constant.is_empty() && !matches!(name, "currency" | "code") {
            self.add(path, "can't be a constant; currency and code can");
        }
        if field.at.len() > POINTERS_MAX {
            self.add(path, format_args!("must have at most {POINTERS_MAX} pointers"));
        }
        for pointer in field.at.iter().take(POINTERS_MAX) {
            self.pointer(path, pointer);
        }
        let is_prefixed = matches!(
            name,
            "key"
                | "qualification"
                | "disqualification"
                | "payments"
                | "record"
                | "lead"
                | "customer"
                | "contact"
        );
        if !field.prefix.is_empty() && !is_prefixed {
            self.add(path, "can't have a prefix");
        }
        if field.prefix.chars().count() > ID_MAX || field.prefix.chars().any(char::is_control) {
            self.add(path, format_args!("must have a prefix of at most {ID_MAX} characters"));
        }
        self.short(path, &field.constant);
    }

    fn short(&mut self, field: &str, text: &str) {
        if text.len() > TEXT_MAX {
            self.add(field, format_args!("must have at most {TEXT_MAX} bytes"));
        }
    }

    /// RFC 6901: empty, or segments that each begin with `/`, in which `~` stands for `~0` and `~1` only.
    fn pointer(&mut self, field: &str, pointer: &str) {
        self.short(field, pointer);
        let mut rest = pointer;
        let mut is_escaped = true;
        while let Some(at) = rest.find('~') {
            rest = &rest[at + 1..];
            is_escaped &= rest.starts_with(['0', '1']);
        }
        if !pointer.starts_with('/') || !is_escaped {
            self.add(field, "must be a JSON Pointer (RFC 6901) such as /data/object/id");
        }
    }
}

/// Whether a rule that gives this can have the field.
fn fits(field: &str, gives: &str) -> bool {
    match field {
        "wclid" | "code" | "record" => gives == "lead",
        "amount" | "minor" | "currency" => {
            matches!(gives, "qualification" | "disqualification" | "reinstatement")
        }
        "qualification" => gives == "disqualification",
        "disqualification" => gives == "reinstatement",
        "payments" => gives != "lead",
        _ => true,
    }
}

/// A name that stands in tables and in queries: few, short and plain.
pub(super) fn is_plain(name: &str, max: usize) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    (1..=max).contains(&name.len()) && name.bytes().all(fits)
}
