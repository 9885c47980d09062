//! The providers. Each module has `verify` (one secret), `events`, and what a dead letter keeps.

mod generic;
mod hubspot;
mod intercom;
mod postback;
mod salesforce;
mod shopify;
mod standard;
mod stripe;

pub use salesforce::ACK as SALESFORCE_ACK;
pub use stripe::minor_units as stripe_minor_units;

use super::delivery::{Delivery, EVENTS_MAX, ProviderEvent, Refusal, Unreadable};
use serde_json::{Value, json};
use whence_schemas::event::{WebhookScheme, WebhookSource};

/// Ids that one merge can make one; a provider merges two at a time.
const MERGED_MAX: usize = 100;

macro_rules! providers {
    ($($(#[$doc:meta])* $provider:ident = $word:literal, $module:ident;)+) => {
        /// Who sends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Provider {
            $($(#[$doc])* $provider,)+
        }

        impl Provider {
            /// All, in the order of the documentation.
            pub const ALL: [Provider; [$($word),+].len()] = [$(Provider::$provider),+];

            /// The word in mappings and metrics.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Provider::$provider => $word,)+ }
            }

            fn verify_with(
                self,
                delivery: &Delivery<'_>,
                scheme: &WebhookScheme,
                secret: &[u8],
            ) -> Result<(), Refusal> {
                match self { $(Provider::$provider => $module::verify(delivery, scheme, secret),)+ }
            }

            fn read(
                self,
                delivery: &Delivery<'_>,
                scheme: &WebhookScheme,
            ) -> Result<Vec<ProviderEvent>, Unreadable> {
                match self { $(Provider::$provider => $module::events(delivery, scheme),)+ }
            }

            /// JSON Pointers to what a dead letter keeps of an event: ids and fixed words.
            #[must_use]
            pub fn keeps(self) -> &'static [&'static str] {
                match self { $(Provider::$provider => $module::KEEPS,)+ }
            }

            /// The built-in rules, as the API takes them; an empty list where only the operator knows.
            #[must_use]
            pub fn default_rules(self) -> &'static str {
                match self { $(Provider::$provider => $module::RULES,)+ }
            }
        }
    };
}

providers! {
    /// Stripe
    Stripe = "stripe", stripe;
    /// HubSpot
    HubSpot = "hubspot", hubspot;
    /// Salesforce: outbound messages (SOAP) and callouts of flows (JSON)
    Salesforce = "salesforce", salesforce;
    /// Intercom
    Intercom = "intercom", intercom;
    /// Shopify
    Shopify = "shopify", shopify;
    /// Everybody who signs as Standard Webhooks say
    StandardWebhooks = "standard_webhooks", standard;
    /// Zapier, Make, n8n, any CRM: JSON, with a bearer key or an HMAC
    Generic = "generic", generic;
    /// Affiliate networks that call an address
    Postback = "postback", postback;
}

impl Provider {
    /// The provider of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Provider> {
        Provider::ALL.into_iter().find(|provider| provider.word() == word)
    }

    /// What a person needs to know of an event that can't be used, beside the reason. Names parameters, no values.
    #[must_use]
    pub fn hint(self, event: &ProviderEvent) -> Option<String> {
        if self == Provider::Postback { postback::hint(event) } else { None }
    }

    /// Whether a request carries a proof to look at, right or wrong: its head shows that before its body is
    /// read.
    #[must_use]
    pub fn is_signed(self, head: &Delivery<'_>, source: &WebhookSource) -> bool {
        // What has to prove a message of Salesforce depends on how its body begins.
        [&b"{"[..], b"<"].into_iter().any(|body| {
            let begun = Delivery { body, ..head.clone() };
            self.verify_with(&begun, scheme(source), b"") != Err(Refusal::Unsigned)
        })
    }

    /// Proves that one of the secrets has signed this request, and recently, where the scheme has a time.
    ///
    /// # Errors
    /// See [`Refusal`]; of several secrets, that of the one that came furthest.
    pub fn verify(
        self,
        delivery: &Delivery<'_>,
        source: &WebhookSource,
        secrets: &[&[u8]],
    ) -> Result<(), Refusal> {
        let scheme = scheme(source);
        let mut refusal = Refusal::Unsigned;
        for secret in secrets {
            match self.verify_with(delivery, scheme, secret) {
                Ok(()) => return Ok(()),
                Err(Refusal::Stale) => return Err(Refusal::Stale),
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }

    /// The events in a request that was proved; none where the provider only tries the address.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn events(
        self,
        delivery: &Delivery<'_>,
        source: &WebhookSource,
    ) -> Result<Vec<ProviderEvent>, Unreadable> {
        let events = self.read(delivery, scheme(source))?;
        if events.len() > EVENTS_MAX { Err(Unreadable::TooMany) } else { Ok(events) }
    }
}

fn scheme(source: &WebhookSource) -> &WebhookScheme {
    static NONE: WebhookScheme = WebhookScheme {
        url: String::new(),
        organization: String::new(),
        signature_header: String::new(),
        signature_prefix: String::new(),
        signature_encoding: String::new(),
        event_at: String::new(),
        id_at: String::new(),
    };
    source.scheme.as_ref().unwrap_or(&NONE)
}

/// The body as a JSON object.
fn object(delivery: &Delivery<'_>) -> Result<Value, Unreadable> {
    let value: Value = serde_json::from_slice(delivery.body).map_err(|_| Unreadable::Body)?;
    value.is_object().then_some(value).ok_or(Unreadable::Body)
}

/// The text or number at a pointer, as text; empty where there is none.
fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// A text that must be there.
fn required(value: &Value, pointer: &str) -> Result<String, Unreadable> {
    Some(text(value, pointer)).filter(|text| !text.is_empty()).ok_or(Unreadable::Body)
}

/// The event of a merge, once for each of the ids that are one from now on: of each alias an event names one only, so
/// all of them share the name `/whence/merge/into`, beside their own, `/whence/merge/id`. Where there is only one id,
/// the event as it is.
fn merge(event: ProviderEvent, ids: Vec<String>, into: &str) -> Vec<ProviderEvent> {
    let mut distinct: Vec<String> = Vec::new();
    for id in ids.into_iter().take(MERGED_MAX).filter(|id| !id.is_empty()) {
        if !distinct.contains(&id) {
            distinct.push(id);
        }
    }
    if distinct.len() < 2 {
        return vec![event];
    }
    let one = |id: String| {
        let mut body = event.body.clone();
        body["whence"] = json!({ "merge": { "id": id, "into": into } });
        ProviderEvent { id: format!("{}-{id}", event.id), body, ..event.clone() }
    };
    distinct.into_iter().map(one).collect()
}

/// The texts and numbers in the list at a pointer, as texts.
fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let list = value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    list.map(|one| text(one, "")).collect()
}
