//! What a caller may ask of the registry, and why it is refused. Knows no HTTP and no store.

use std::{fmt, sync::Arc};
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
    /// Creates a link or replaces all of it but its referrer: a token says only which link was clicked, and
    /// must go on to mean the same referrer.
    PutLink(Link),
    /// A change that is made only while the record is as its author has seen it.
    When {
        /// The record.
        key: EntryKey,
        /// What must hold for it.
        expected: Expected,
        /// What to do then.
        change: Box<Change>,
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
    /// Replaces what may change of an API key. Its hash, its program and when it was used stay; one that is disabled
    /// stays so: the author may not be the only one who has it.
    PutKey(ApiKey),
    /// Notes that a key was used on this day. An earlier day than the one that is noted changes nothing.
    KeyUsed {
        /// The key's id.
        id: String,
        /// Days since 1970-01-01 (UTC).
        day: i32,
    },
    /// Creates a source of webhooks or replaces all of it.
    PutSource(WebhookSource),
    /// Creates an endpoint for webhooks or replaces all of it except for when it begins.
    PutEndpoint(WebhookEndpoint),
    /// Disables something, or enables it again.
    SetDisabled {
        /// What.
        key: EntryKey,
        /// Whether it is to be disabled.
        disabled: bool,
    },
}

impl Change {
    /// Creates the record or replaces all of it.
    #[must_use]
    pub fn put(record: Entry) -> Change {
        match record {
            Entry::Program(program) => Change::PutProgram(program),
            Entry::Referrer(referrer) => Change::PutReferrer(referrer),
            Entry::Link(link) => Change::PutLink(link),
            Entry::ApiKey(key) => Change::PutKey(key),
            Entry::WebhookSource(source) => Change::PutSource(source),
            Entry::WebhookEndpoint(endpoint) => Change::PutEndpoint(endpoint),
            Entry::HostClaim(claim) => Change::ClaimHost(claim),
        }
    }

    /// The change, made only if this holds of the record.
    #[must_use]
    pub fn when(self, key: EntryKey, expected: Expected) -> Change {
        if expected == Expected::default() {
            return self;
        }
        Change::When { key, expected, change: self.into() }
    }
}

/// Versions of a record; none is one that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Whichever it is.
    Any,
    /// One of these.
    Of(Vec<u64>),
}

impl Versions {
    fn has(&self, version: Option<u64>) -> bool {
        match self {
            Versions::Any => version.is_some(),
            Versions::Of(versions) => version.is_some_and(|version| versions.contains(&version)),
        }
    }
}

/// What must hold of a record for a change of it to be made; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its version is one of these.
    pub is: Option<Versions>,
    /// Its version is not one of these.
    pub is_not: Option<Versions>,
    /// Its version, or that it is not there, is exactly this.
    pub exactly: Option<Option<u64>>,
}

impl Expected {
    /// Whether it holds of a record of this version, or of none.
    #[must_use]
    pub fn holds(&self, version: Option<u64>) -> bool {
        self.is.as_ref().is_none_or(|versions| versions.has(version))
            && self.is_not.as_ref().is_none_or(|versions| !versions.has(version))
            && self.exactly.is_none_or(|exactly| exactly == version)
    }
}

/// What a change has done to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was not there before.
    Created,
    /// It was another one before.
    Changed,
    /// It was like this before, and has kept its version.
    Unchanged,
}

/// A record as a change has left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Its newest entry.
    pub entry: Arc<RegistryEntry>,
    /// What was done to it.
    pub effect: Effect,
}

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`EntryKey::Program`]
    Program,
    /// [`EntryKey::Referrer`]
    Referrer,
    /// [`EntryKey::Link`]
    Link,
    /// [`EntryKey::ApiKey`]
    Key,
    /// [`EntryKey::Source`]
    Source,
    /// [`EntryKey::Endpoint`]
    Endpoint,
    /// [`EntryKey::Host`]
    Host,
}

impl Kind {
    /// The kind of a record.
    #[must_use]
    pub fn of(record: &Entry) -> Kind {
        match record {
            Entry::Program(_) => Kind::Program,
            Entry::Referrer(_) => Kind::Referrer,
            Entry::Link(_) => Kind::Link,
            Entry::ApiKey(_) => Kind::Key,
            Entry::WebhookSource(_) => Kind::Source,
            Entry::WebhookEndpoint(_) => Kind::Endpoint,
            Entry::HostClaim(_) => Kind::Host,
        }
    }
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

    /// The program whose record it is, or which it is; `None` for what belongs to no program.
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        match self {
            EntryKey::Program { id: program }
            | EntryKey::Referrer { program, .. }
            | EntryKey::Link { program, .. }
            | EntryKey::Source { program, .. }
            | EntryKey::Endpoint { program, .. } => Some(program),
            EntryKey::ApiKey { .. } | EntryKey::Host { .. } => None,
        }
    }

    /// The record's name among those of its kind and program.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            EntryKey::Program { id }
            | EntryKey::Referrer { id, .. }
            | EntryKey::ApiKey { id }
            | EntryKey::Source { id, .. }
            | EntryKey::Endpoint { id, .. } => id.clone(),
            EntryKey::Link { host, code, .. } => format!("{host}/{code}"),
            EntryKey::Host { host } => host.clone(),
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
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
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
    /// There is such a record already, and it is not the one that was to be made.
    #[error("there is already another one of this name")]
    Exists {
        /// What was to be made.
        asked: Box<Entry>,
        /// What is there.
        present: Arc<RegistryEntry>,
    },
    /// The record is not as it is expected to be ([`Change::When`]).
    #[error("{}", unexpected(*version))]
    Unexpected {
        /// Its version; `None` where it is not there.
        version: Option<u64>,
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
    #[error("there are already {max} {what}, which is the maximum")]
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
            ChangeError::Exists { .. } => "exists",
            ChangeError::Unexpected { .. } => "unexpected",
            ChangeError::NotFound { .. } => "not_found",
            ChangeError::Full { .. } => "registry_full",
        }
    }
}

fn unexpected(version: Option<u64>) -> String {
    match version {
        Some(version) => format!("the record is there, in version {version}"),
        None => "the record is not there".to_owned(),
    }
}
