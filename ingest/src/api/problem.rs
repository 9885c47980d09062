//! Every error the API answers with (RFC 9457), and the one place that maps a failure to a status.

use crate::registry::{ChangeError, RegistryError};
use hyper::{
    Response, StatusCode,
    header::{
        ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;
use std::fmt::Display;
use whence_journal::CommitError;
use whence_runtime::{
    http::{BodyError, Full, full},
    shares::Beyond,
};
use whence_schemas::token::TokenError;

/// Field errors of one event or record that are reported; the rest is left out.
pub const FIELD_ERRORS_MAX: usize = 32;

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $tag:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong: a fixed word for programs, with its status and its title for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $code,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$code,)+];

            /// The word in `code`, in `type` and in metrics.
            #[must_use]
            pub fn tag(self) -> &'static str {
                match self { $(Code::$code => $tag,)+ }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Code::$code => StatusCode::$status,)+ }
            }

            /// The sentence in `title`.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Code::$code => $title,)+ }
            }
        }
    };
}

codes! {
    /// Not JSON, or not of the kind this call takes.
    Malformed = "json_malformed", BAD_REQUEST, "The body is not the JSON this call takes";
    /// The body could not be read.
    BodyBroken = "body_broken", BAD_REQUEST, "The body could not be read";
    /// The body did not come in time.
    BodySlow = "body_slow", REQUEST_TIMEOUT, "The body did not arrive in time";
    /// Too many bytes, or too many events or records.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "The request is too large";
    /// No key, or not a valid one.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A valid API key is needed";
    /// A webhook's signature proves nothing.
    Unproved = "unproved", UNAUTHORIZED, "The request does not prove where it comes from";
    /// The key does not allow this.
    Forbidden = "forbidden", FORBIDDEN, "The API key does not allow this";
    /// No such path or record.
    NotFound = "not_found", NOT_FOUND, "There is nothing here";
    /// The path has other methods.
    Method = "method_not_allowed", METHOD_NOT_ALLOWED, "This path does not take this method";
    /// A name is taken.
    Conflict = "conflict", CONFLICT, "The value is taken";
    /// Another event has this id.
    ConflictingBody = "conflicting_body", CONFLICT, "Another event was accepted under this id";
    /// The record is not the one that the request expects.
    Precondition = "precondition_failed", PRECONDITION_FAILED, "The record is not the one that is expected";
    /// A patch of another kind than a merge patch.
    MediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body has a type that this call does not take";
    /// A body that is compressed in a way that is not taken.
    Encoding = "unsupported_encoding", UNSUPPORTED_MEDIA_TYPE, "The body is encoded in a way that this call does not take";
    /// A query parameter that is unknown, not valid or given twice.
    Parameter = "invalid_parameter", UNPROCESSABLE_ENTITY, "A query parameter is wrong";
    /// The registry holds as many as it may.
    RegistryFull = "registry_full", UNPROCESSABLE_ENTITY, "The registry is full";
    /// A field that must be there is not.
    Required = "required", UNPROCESSABLE_ENTITY, "A field is missing";
    /// A field has a value of another JSON type.
    WrongType = "wrong_type", UNPROCESSABLE_ENTITY, "A field has the wrong type";
    /// A field's value cannot be.
    Invalid = "invalid", UNPROCESSABLE_ENTITY, "A field has an impossible value";
    /// An unknown field, perhaps misspelled.
    UnknownField = "unknown_field", UNPROCESSABLE_ENTITY, "There is no such field";
    /// No program of this id.
    UnknownProgram = "unknown_program", UNPROCESSABLE_ENTITY, "There is no such program";
    /// No referrer of this id in the program.
    UnknownReferrer = "unknown_referrer", UNPROCESSABLE_ENTITY, "There is no such referrer";
    /// No link of this code in the program.
    UnknownCode = "unknown_code", UNPROCESSABLE_ENTITY, "There is no such referral code";
    /// The code's link, referrer or program is disabled, or the link has expired.
    InactiveCode = "inactive_code", UNPROCESSABLE_ENTITY, "The referral code is no longer active";
    /// Not a token.
    TokenMalformed = "token_malformed", UNPROCESSABLE_ENTITY, "The click token is not one";
    /// Not made with our key.
    TokenForged = "token_forged", UNPROCESSABLE_ENTITY, "The click token has a wrong signature";
    /// The click is too long ago.
    TokenExpired = "token_expired", UNPROCESSABLE_ENTITY, "The click token has expired";
    /// The click is later than the event.
    TokenFuture = "token_from_the_future", UNPROCESSABLE_ENTITY, "The click is later than the event";
    /// The link is another program's.
    TokenForeign = "token_foreign", UNPROCESSABLE_ENTITY, "The click token is another program's";
    /// Made with a key that this process does not have yet.
    TokenUnknownKey = "token_unknown_key", SERVICE_UNAVAILABLE, "The click token's key is not known here yet";
    /// A valid token of a link that this process does not know yet.
    LinkUnknown = "link_unknown", SERVICE_UNAVAILABLE, "The click token's link is not known here yet";
    /// Not found, while the registry here may lack what others have written.
    Behind = "registry_behind", SERVICE_UNAVAILABLE, "The registry is not up to date here";
    /// The journal cannot take the event now.
    Journal = "journal_unavailable", SERVICE_UNAVAILABLE, "Events can't be stored at the moment";
    /// The registry cannot take the change now.
    Registry = "registry_unavailable", SERVICE_UNAVAILABLE, "Changes can't be stored at the moment";
    /// A source of webhooks names secrets that this process was not given.
    SecretMissing = "secret_missing", SERVICE_UNAVAILABLE, "The source's secret is not known here";
    /// The host's DNS does not have the record that proves it.
    HostUnproved = "host_unproved", UNPROCESSABLE_ENTITY, "The host is not proved to be the program's";
    /// Nobody says what the DNS has.
    Dns = "dns_unavailable", SERVICE_UNAVAILABLE, "Names can't be looked up at the moment";
    /// The network has used up its share of requests that prove nothing.
    Limited = "too_many_requests", TOO_MANY_REQUESTS, "Too many such requests from this network";
    /// As much is being worked on as may be.
    Busy = "busy", SERVICE_UNAVAILABLE, "Too much is being worked on";
}

impl Code {
    /// Whether the same request can succeed later.
    #[must_use]
    pub fn is_retriable(self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE
    }

    /// Seconds after which to try again. Rotating keys and new links travel within seconds; a disk that
    /// hiccups is back sooner.
    fn retry_after_s(self) -> Option<u32> {
        match self {
            Code::TokenUnknownKey | Code::LinkUnknown | Code::Behind => Some(5),
            _ => self.is_retriable().then_some(1),
        }
    }
}

impl From<TokenError> for Code {
    fn from(error: TokenError) -> Code {
        match error {
            TokenError::Malformed => Code::TokenMalformed,
            TokenError::UnknownKey { .. } => Code::TokenUnknownKey,
            TokenError::Forged => Code::TokenForged,
            TokenError::Expired { .. } => Code::TokenExpired,
            TokenError::FromTheFuture { .. } => Code::TokenFuture,
        }
    }
}

/// What is wrong with one field. `detail` completes the sentence that starts with the field, and never
/// repeats a value: it may be somebody's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Path of the field: `touches[0].token`.
    pub field: String,
    /// Why.
    #[serde(serialize_with = "tag")]
    pub code: Code,
    /// Why, in words.
    pub detail: String,
}

fn tag<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.tag())
}

/// An error as the caller sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    /// What exactly, in words.
    pub detail: String,
    /// Every field at fault. The first is also the problem's own `field`.
    pub errors: Vec<FieldError>,
    /// What became of each entry of a batch, where none was taken.
    pub results: Vec<Value>,
    /// The methods of a path that was asked with another one.
    allow: Option<String>,
    /// Seconds after which to try again, where the code does not say.
    retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem with no field to blame.
    pub fn new(code: Code, detail: impl Display) -> Problem {
        let detail = detail.to_string();
        Problem { code, detail, errors: Vec::new(), results: Vec::new(), allow: None, retry_after_s: None }
    }

    /// These fields are wrong (at least one). What waiting does not help comes first.
    #[must_use]
    pub fn of_fields(mut errors: Vec<FieldError>) -> Problem {
        errors.sort_by_key(|error| error.code.is_retriable());
        errors.truncate(FIELD_ERRORS_MAX);
        let (code, detail) = match errors.first() {
            Some(first) => (first.code, format!("{} {}", first.field, first.detail)),
            None => (Code::Invalid, String::new()),
        };
        Problem { errors, ..Problem::new(code, detail) }
    }

    /// This one field is wrong.
    pub fn of_field(field: impl Into<String>, code: Code, detail: impl Display) -> Problem {
        Problem::of_fields(vec![FieldError { field: field.into(), code, detail: detail.to_string() }])
    }

    /// These query parameters are wrong (at least one): what is wrong, in words, and the name.
    #[must_use]
    pub fn of_parameters(errors: Vec<(String, String)>) -> Problem {
        let detail = errors.first().map(|(detail, _)| detail.clone()).unwrap_or_default();
        let error = |(detail, field)| FieldError { field, code: Code::Parameter, detail };
        Problem { detail, ..Problem::of_fields(errors.into_iter().map(error).collect()) }
    }

    /// The path takes these methods only.
    #[must_use]
    pub fn method(allow: String) -> Problem {
        let detail = format!("this path takes {allow}");
        Problem { allow: Some(allow), ..Problem::new(Code::Method, detail) }
    }

    /// The caller's network has used up its share of requests that end with this problem.
    #[must_use]
    pub fn limited(&self, beyond: Beyond) -> Problem {
        let retry_after_s = Some(beyond.retry_after_s);
        Problem { retry_after_s, ..Problem::new(Code::Limited, &self.detail) }
    }

    /// Seconds after which to try again.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s.or(self.code.retry_after_s())
    }

    /// The answer to the caller.
    #[must_use]
    pub fn response(&self) -> Response<Full> {
        let body = serde_json::to_vec(self).expect("problems are text and numbers");
        let mut response = Response::new(full(body));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"whence\""));
        }
        if let Some(allow) = self.allow.as_ref().and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if self.code == Code::MediaType {
            headers.insert("accept-patch", HeaderValue::from_static("application/merge-patch+json"));
        }
        if self.code == Code::Encoding {
            // RFC 7694.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("urn:whence:problem:{}", self.code.tag()))?;
        map.serialize_entry("title", self.code.title())?;
        map.serialize_entry("status", &self.code.status().as_u16())?;
        map.serialize_entry("detail", &self.detail)?;
        if let Some(first) = self.errors.first() {
            map.serialize_entry("field", &first.field)?;
        }
        map.serialize_entry("code", self.code.tag())?;
        if !self.errors.is_empty() {
            map.serialize_entry("errors", &self.errors)?;
        }
        if !self.results.is_empty() {
            map.serialize_entry("results", &self.results)?;
        }
        map.end()
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        let code = match error {
            BodyError::TooLarge { .. } => Code::TooLarge,
            BodyError::TooSlow { .. } => Code::BodySlow,
            BodyError::Broken(_) => Code::BodyBroken,
        };
        Problem::new(code, error)
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Problem {
        match error {
            ChangeError::Invalid { field, reason } => Problem::of_field(field, Code::Invalid, reason),
            ChangeError::Conflict { field, reason } => Problem::of_field(field, Code::Conflict, reason),
            ChangeError::Exists { .. } => Problem::new(Code::Conflict, error),
            ChangeError::Unexpected { .. } => Problem::new(Code::Precondition, error),
            ChangeError::NotFound { .. } => Problem::new(Code::NotFound, error),
            ChangeError::Full { .. } => Problem::new(Code::RegistryFull, error),
        }
    }
}

impl From<&RegistryError> for Problem {
    fn from(error: &RegistryError) -> Problem {
        match error {
            RegistryError::TooMany(_) => Problem::new(Code::TooLarge, error),
            RegistryError::Store(_) | RegistryError::NotReady(_) => Problem::new(Code::Registry, error),
        }
    }
}

impl From<&CommitError> for Problem {
    fn from(error: &CommitError) -> Problem {
        let code = if error.is_retriable() { Code::Journal } else { Code::TooLarge };
        Problem::new(code, error)
    }
}
