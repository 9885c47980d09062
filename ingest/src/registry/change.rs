//! What a caller may ask of the registry, and why it is refused. Knows no HTTP and no store.

use std::fmt;
use whence_schemas::event::{
    ApiKey, HostClaim, Link, Program, Referrer, RegistryEntry, WebhookEndpoint, WebhookSource,
    registry_entry::Entry,
};

/// A wish. It says what to change, not what the record is to be afterwards, wherever two callers could
/// overwrite each other: the writer works it out on the newest state.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Creates a program or replaces all of it.
    PutProgram(Program),
    /// Creates a referrer or replaces all of it.
    PutReferrer(Referrer),
    /// Creates a referrer whose id must be free.
    CreateReferrer(Referrer),
    /// Creates a link whose code must be free on its host.
    CreateLink(Link),
    /// Changes a link of `program`. Whom it belongs to is not among what can change: a token says only
    /// which link was clicked, and must go on to mean the same referrer.
    ChangeLink {
        /// The program the caller speaks for; a link of another one is not found.
        program: String,
        /// The link's host.
        host: String,
        /// The link's code.
        code: String,
        /// What is new.
        patch: LinkPatch,
    },
    /// What a key for one program asks for: it may put codes only on hosts that the program has, and claims none by
    /// listing it. A key for all programs may share hosts.
    OfOneProgram(Box<Change>),
    /// Makes a host the program's, unless it is another's.
    ClaimHost(HostClaim),
    /// Makes a host of the program's nobody's.
    ReleaseHost {
        /// The program the caller speaks for.
        program: String,
        /// The host.
        host: String,
    },
    /// Creates an API key whose id must be free.
    CreateKey(ApiKey),
    /// Notes that a key was used on this day. An earlier day than the one that is noted changes nothing.
    KeyUsed {
        /// The key's id.
        id: String,
        /// Days since 1970-01-01 (UTC).
        day: i32,
    },
    /// Creates a source of webhooks or replaces all of it.
    PutSource(WebhookSource),
    /// Creates an endpoint for webhooks or replaces all of it but for when it begins.
    PutEndpoint(WebhookEndpoint),
    /// Disables something, or enables it again.
    SetDisabled {
        /// What.
        key: EntryKey,
        /// Whether it is to be disabled.
        disabled: bool,
    },
}

/// What is new about a link; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkPatch {
    /// Where visitors go.
    pub destination: Option<String>,
    /// Where it is shared.
    pub channel: Option<String>,
    /// When it ends, milliseconds since the epoch; 0: never.
    pub expires_at_ms: Option<i64>,
    /// Whether it is disabled.
    pub disabled: Option<bool>,
    /// Whether query parameters are passed on.
    pub passthrough: Option<bool>,
    /// Whether `?c=` may name another channel.
    pub channel_override: Option<bool>,
    /// Whether its clicks are tests.
    pub test: Option<bool>,
    /// 301, 302, 307, 308, or 0 for the usual 302.
    pub status: Option<u32>,
}

/// Names one record of the registry. Its text is the key in the topic and in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKey {
    /// `program/ID`
    Program {
        /// Its id.
        id: String,
    },
    /// `referrer/PROGRAM/ID`
    Referrer {
        /// The program.
        program: String,
        /// Its id in the program.
        id: String,
    },
    /// `link/HOST/CODE`. `program` is who may touch it and no part of the text.
    Link {
        /// The program the link belongs to.
        program: String,
        /// The host.
        host: String,
        /// The code.
        code: String,
    },
    /// `key/ID`
    ApiKey {
        /// Its id.
        id: String,
    },
    /// `source/PROGRAM/ID`
    Source {
        /// The program.
        program: String,
        /// Its id in the program.
        id: String,
    },
    /// `endpoint/PROGRAM/ID`
    Endpoint {
        /// The program.
        program: String,
        /// Its id in the program.
        id: String,
    },
    /// `host/HOST`
    Host {
        /// The host.
        host: String,
    },
}

impl EntryKey {
    /// The key of an entry's record, or `None` where the entry holds none (of a later version, say).
    #[must_use]
    pub fn of(entry: &RegistryEntry) -> Option<EntryKey> {
        entry.entry.as_ref().map(EntryKey::of_body)
    }

    /// The key of a record.
    #[must_use]
    pub fn of_body(body: &Entry) -> EntryKey {
        match body {
            Entry::Program(program) => EntryKey::Program { id: program.id.clone() },
            Entry::Referrer(referrer) => {
                EntryKey::Referrer { program: referrer.program.clone(), id: referrer.id.clone() }
            }
            Entry::Link(link) => EntryKey::Link {
                program: link.program.clone(),
                host: link.host.clone(),
                code: link.code.clone(),
            },
            Entry::ApiKey(key) => EntryKey::ApiKey { id: key.id.clone() },
            Entry::WebhookSource(source) => {
                EntryKey::Source { program: source.program.clone(), id: source.id.clone() }
            }
            Entry::WebhookEndpoint(endpoint) => {
                EntryKey::Endpoint { program: endpoint.program.clone(), id: endpoint.id.clone() }
            }
            Entry::HostClaim(claim) => EntryKey::Host { host: claim.host.clone() },
        }
    }

    /// What it names, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            EntryKey::Program { .. } => "program",
            EntryKey::Referrer { .. } => "referrer",
            EntryKey::Link { .. } => "link",
            EntryKey::ApiKey { .. } => "key",
            EntryKey::Source { .. } => "source",
            EntryKey::Endpoint { .. } => "endpoint",
            EntryKey::Host { .. } => "host",
        }
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryKey::Program { id } => write!(f, "program/{id}"),
            EntryKey::Referrer { program, id } => write!(f, "referrer/{program}/{id}"),
            EntryKey::Link { host, code, .. } => write!(f, "link/{host}/{code}"),
            EntryKey::ApiKey { id } => write!(f, "key/{id}"),
            EntryKey::Source { program, id } => write!(f, "source/{program}/{id}"),
            EntryKey::Endpoint { program, id } => write!(f, "endpoint/{program}/{id}"),
            EntryKey::Host { host } => write!(f, "host/{host}"),
        }
    }
}

/// Why a change is refused. The reason completes the sentence that starts with the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A field's value cannot be.
    #[error("{field} {reason}")]
    Invalid {
        /// The field of the API's JSON.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A field's value is taken.
    #[error("{field} {reason}")]
    Conflict {
        /// The field of the API's JSON.
        field: String,
        /// By what.
        reason: String,
    },
    /// What is to be changed, or the program it is to belong to, is not there.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// `program`, `referrer`, `link`, `key`, `source`, `endpoint` or `host`.
        what: &'static str,
        /// Its id as the caller wrote it.
        id: String,
    },
    /// The registry holds as many as it may.
    #[error("there are already {max} {what}, the most there may be")]
    Full {
        /// `programs`, `referrers`, `links`, `keys`, `sources`, `endpoints` or `hosts`.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}

impl ChangeError {
    /// This field's value cannot be.
    pub fn invalid(field: impl Into<String>, reason: impl fmt::Display) -> ChangeError {
        ChangeError::Invalid { field: field.into(), reason: reason.to_string() }
    }

    /// This field's value is taken.
    pub fn conflict(field: impl Into<String>, reason: impl fmt::Display) -> ChangeError {
        ChangeError::Conflict { field: field.into(), reason: reason.to_string() }
    }

    /// A fixed word for metrics and error bodies.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            ChangeError::Invalid { .. } => "invalid",
            ChangeError::Conflict { .. } => "conflict",
            ChangeError::NotFound { .. } => "not_found",
            ChangeError::Full { .. } => "registry_full",
        }
    }
}
