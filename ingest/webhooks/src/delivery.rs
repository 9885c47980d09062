//! One request of a provider as it arrived, and what it says.

use hyper::HeaderMap;
use serde_json::Value;
use std::borrow::Cow;
use whence_schemas::time::UnixMs;

/// Events in one request: providers send a hundred at most.
pub const EVENTS_MAX: usize = 1000;

/// One request, unparsed.
#[derive(Clone)]
pub struct Delivery<'a> {
    /// `POST`, …
    pub method: &'a str,
    /// The address that was asked for, with scheme, host and query.
    pub uri: Cow<'a, str>,
    /// The query, undecoded.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body's bytes.
    pub body: &'a [u8],
    /// Now.
    pub now: UnixMs,
}

impl Delivery<'_> {
    /// The header of this name (in lower case), if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first value of this name in the query, decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut pairs = form_urlencoded::parse(self.query.unwrap_or_default().as_bytes());
        pairs.find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The key in `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, key) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    }
}

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The header or parameter with the proof is missing.
    #[error("the request is not signed")]
    Unsigned,
    /// The proof is there and does not have the scheme's form.
    #[error("the signature does not have the form of this provider's scheme")]
    Malformed,
    /// The proof is not of these bytes and one of the source's secrets.
    #[error("the signature is not of this body and one of the source's secrets")]
    Forged,
    /// The proof is right, and too far from now.
    #[error("the request was signed more than 5 minutes from now")]
    Stale,
    /// It speaks for somebody else than the source is for.
    #[error("the request is from another organization than the source's")]
    Organization,
    /// The secret does not have the form that the scheme needs.
    #[error("the source's secret does not have the form of this provider's secrets")]
    Secret,
}

impl Refusal {
    /// A fixed word for metrics and dead letters.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Refusal::Unsigned => "unsigned",
            Refusal::Malformed => "signature_malformed",
            Refusal::Forged => "signature_wrong",
            Refusal::Stale => "stale",
            Refusal::Organization => "organization_wrong",
            Refusal::Secret => "secret_unusable",
        }
    }
}

/// Why no events can be found in a body that is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not what this provider sends. Never says more: parsers quote the body.
    #[error("the body is not what this provider sends")]
    Body,
    /// More than [`EVENTS_MAX`].
    #[error("the body has more than {EVENTS_MAX} events")]
    TooMany,
    /// Proved by secret, but of another sender than the source is for.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// One event as its provider sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderEvent {
    /// What makes it one: the same over retries.
    pub id: String,
    /// The provider's name of what happened.
    pub name: String,
    /// What mappings point into: the provider's own JSON, with a member `whence` for what JSON Pointers
    /// cannot reach.
    pub body: Value,
    /// Whether the provider says that it is a test.
    pub is_test: bool,
}
