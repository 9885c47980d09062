//! What providers send, proved and understood. Pure: raw bytes, secrets, a mapping and the time come in,
//! events as the events API takes them come out. HTTP is in the events API.
//!
//! | module | what it does |
//! |---|---|
//! | [`delivery`] | one request of a provider, and the events in it |
//! | [`providers`] | one module per provider: signature, event ids, events, built-in mapping |
//! | [`sign`] | HMACs, comparisons in constant time, windows of time |
//! | [`check`](self::check()) | everything that is wrong with a mapping |
//! | [`mod@translate`] | what a provider's event becomes under a mapping |
//! | [`check_endpoint`] | everything that is wrong with an endpoint, to which whence sends webhooks of its own |
//! | [`moment`] | times as providers write them |
//! | [`history`] | conditions on the person's history |
//! | [`keep`] | what a dead letter keeps of a body |
//! | [`secrets`] | secrets by program and name |
//!
//! Mappings are data in the registry ([`whence_schemas::event::WebhookSource`]); the built-in ones are
//! `defaults/*.json`, in the form that the API takes.
//!
//! Architecture invariant: nothing of a body is parsed before its signature is proved.

mod check;
pub mod delivery;
mod endpoint;
pub mod history;
pub mod keep;
pub mod moment;
pub mod providers;
pub mod secrets;
pub mod sign;
pub mod translate;

pub use check::{FIELDS, GIVES, IS, Mistake, check};
pub use delivery::{Delivery, ProviderEvent, Refusal, Unreadable};
pub use endpoint::check_endpoint;
pub use providers::Provider;
pub use secrets::{NamedSecrets, SecretsError, WebhookSecretsSettings};
pub use translate::{Translated, Translation, translate};
