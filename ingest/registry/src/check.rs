//! Whether a change fits the registry's present, and the entries that a batch of changes makes. Pure: the
//! writers (embedded, Kafka) call [`stage`] on the newest state and then make the entries durable.

mod hosts;
mod records;

pub use hosts::HOSTS_MAX;

use super::{
    Change, ChangeError, Effect, EntryKey, Kind, Order, RegistryState, Written,
    state::{address, is_seen},
};
use std::sync::Arc;
use whence_schemas::{
    event::{
        ApiKey, Link, Program, Referrer, RegistryEntry, WebhookEndpoint, WebhookSource, registry_entry::Entry,
    },
    ids::LinkNumber,
    outgoing::Reach,
    time::UnixMs,
};
use whence_webhooks as webhooks;

/// Programs of one registry.
pub const PROGRAMS_MAX: usize = 10_000;
/// Referrers of one registry.
pub const REFERRERS_MAX: usize = 10_000_000;
/// Links of one registry: every node holds all of them in memory, at well under 1 KiB each.
pub const LINKS_MAX: usize = 10_000_000;
/// API keys of one registry.
pub const KEYS_MAX: usize = 10_000;
/// Sources of webhooks of one registry.
pub const SOURCES_MAX: usize = 10_000;
/// Endpoints for webhooks of one registry.
pub const ENDPOINTS_MAX: usize = 1_000;

/// What keys for one program may make of them for it: the rest is there for others.
const SOURCES_OF_PROGRAM_MAX: usize = 1_000;
const ENDPOINTS_OF_PROGRAM_MAX: usize = 100;
const HOSTS_OF_PROGRAM_MAX: usize = 1_000;

/// What a batch of changes comes to.
#[derive(Debug, Default)]
pub struct Staged {
    /// One for each change. A change that changes nothing has the entry that is there already.
    pub outcomes: super::Outcomes,
    /// The entries that are to be written, in the order of their versions.
    pub entries: Vec<Arc<RegistryEntry>>,
}

/// Checks each change against `state` and the changes before it, and gives those that fit the versions
/// after the state's. The state must be the newest there is, and stay so until the entries are durable.
#[must_use]
pub fn stage(state: &RegistryState, changes: &[Change], now: UnixMs) -> Staged {
    let mut ahead = RegistryState::default();
    let mut staged = Staged::default();
    for change in changes {
        let view = View { state, ahead: &ahead };
        let body = match view.check(change) {
            Ok(body) => body,
            Err(refusal) => {
                staged.outcomes.push(Err(refusal));
                continue;
            }
        };
        let key = EntryKey::of_body(&body);
        let present = view.entry(&key);
        if let Some(present) = present.filter(|present| present.entry.as_ref() == Some(&body)) {
            let written = Written { entry: Arc::clone(present), effect: Effect::Unchanged };
            staged.outcomes.push(Ok(written));
            continue;
        }
        let version = state.version() + staged.entries.len() as u64 + 1;
        let former = present.filter(|present| is_seen(present, &key));
        let created_at_ms = former.map_or(now.0, |former| former.created_at_ms);
        let effect = if former.is_some() { Effect::Changed } else { Effect::Created };
        let entry =
            Arc::new(RegistryEntry { version, changed_at_ms: now.0, created_at_ms, entry: Some(body) });
        ahead.apply(Arc::clone(&entry)).expect("versions rise, and link numbers have been checked");
        staged.entries.push(Arc::clone(&entry));
        staged.outcomes.push(Ok(Written { entry, effect }));
    }
    staged
}

impl RegistryState {
    /// Whether the program may put codes on the host.
    #[must_use]
    pub fn has_host(&self, program: &str, host: &str) -> bool {
        View { state: self, ahead: &RegistryState::default() }.has_host(program, host)
    }

    /// How many records of this kind the program has, up to `max`.
    fn count_of(&self, kind: Kind, program: &str, max: usize) -> usize {
        self.scan(kind, program, Order::default(), "").map_or(0, |found| found.take(max).count())
    }

    /// The record that this change would make, or why it is refused.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub fn check(&self, change: &Change) -> Result<Entry, ChangeError> {
        View { state: self, ahead: &RegistryState::default() }.check(change)
    }
}

/// The state with the entries of the batch in hand laid over it.
struct View<'a> {
    state: &'a RegistryState,
    ahead: &'a RegistryState,
}

impl<'a> View<'a> {
    fn entry(&self, key: &EntryKey) -> Option<&'a Arc<RegistryEntry>> {
        self.ahead.entry(key).or_else(|| self.state.entry(key))
    }

    /// The version of a record as its program sees it.
    fn version(&self, key: &EntryKey) -> Option<u64> {
        self.entry(key).filter(|entry| is_seen(entry, key)).map(|entry| entry.version)
    }

    fn program(&self, id: &str) -> Result<&'a Program, ChangeError> {
        let program = self.ahead.program(id).or_else(|| self.state.program(id));
        program.ok_or_else(|| ChangeError::NotFound { what: "program", id: id.into() })
    }

    fn referrer(&self, program: &str, id: &str) -> Option<&'a Referrer> {
        self.ahead.referrer(program, id).or_else(|| self.state.referrer(program, id))
    }

    fn link(&self, program: &str, host: &str, code: &str) -> Result<&'a Link, ChangeError> {
        let link = self.ahead.link(host, code).or_else(|| self.state.link(host, code));
        let owned = link.filter(|link| link.program == program);
        owned.ok_or_else(|| ChangeError::NotFound { what: "link", id: address(host, code) })
    }

    fn key(&self, id: &str) -> Option<&'a ApiKey> {
        self.ahead.key(id).or_else(|| self.state.key(id))
    }

    /// At most `max`, the batch in hand counted as if it replaced nothing.
    fn room(&self, what: &'static str, max: usize) -> Result<(), ChangeError> {
        let (state, ahead) = (self.state.counts(), self.ahead.counts());
        let count = match what {
            "programs" => state.programs + ahead.programs,
            "referrers" => state.referrers + ahead.referrers,
            "links" => state.links + ahead.links,
            "sources" => state.sources + ahead.sources,
            "endpoints" => state.endpoints + ahead.endpoints,
            "hosts" => state.hosts + ahead.hosts,
            _ => state.keys + ahead.keys,
        };
        if count < max { Ok(()) } else { Err(ChangeError::Full { what, max }) }
    }

    fn check(&self, change: &Change) -> Result<Entry, ChangeError> {
        match change {
            Change::PutProgram(program) => self.put_program(program),
            Change::PutReferrer(referrer) => self.put_referrer(referrer),
            Change::CreateReferrer(referrer) => self.create_referrer(referrer),
            Change::CreateLink(link) => self.create_link(link),
            Change::PutLink(link) => self.put_link(link),
            Change::When { key, expected, change } => {
                let version = self.version(key);
                if !expected.holds(version) {
                    return Err(ChangeError::Unexpected { version });
                }
                self.check(change)
            }
            Change::OfOneProgram(change) => self.of_one_program(change),
            Change::ClaimHost(claim) => self.claim_host(claim),
            Change::ReleaseHost { program, host } => self.release_host(program, host),
            Change::CreateKey(key) => self.create_key(key),
            Change::PutKey(key) => self.put_key(key),
            Change::KeyUsed { id, day } => {
                let key =
                    self.key(id).ok_or_else(|| ChangeError::NotFound { what: "key", id: id.clone() })?;
                Ok(Entry::ApiKey(ApiKey { last_used_day: key.last_used_day.max(*day), ..key.clone() }))
            }
            Change::PutSource(source) => self.put_source(source),
            Change::PutEndpoint(endpoint) => self.put_endpoint(endpoint),
            Change::SetDisabled { key, disabled } => self.set_disabled(key, *disabled),
        }
    }

    fn put_program(&self, program: &Program) -> Result<Entry, ChangeError> {
        records::program(program)?;
        match self.program(&program.id) {
            Ok(former) => records::rules_keep_their_currency(former, program)?,
            Err(_) => self.room("programs", PROGRAMS_MAX)?,
        }
        for (index, host) in program.link_hosts.iter().enumerate() {
            if self.is_anothers(host, &program.id) {
                let reason = format_args!("{host:?} belongs to another program");
                return Err(ChangeError::conflict(format!("link_hosts[{index}]"), reason));
            }
        }
        Ok(Entry::Program(program.clone()))
    }

    /// A change that a key for one program asks for: it puts no code on a host that the program does not have, be it by
    /// making a link, by changing or enabling one, or by listing the host. And it makes only so much that others have room.
    fn of_one_program(&self, change: &Change) -> Result<Entry, ChangeError> {
        let body = self.check(change)?;
        let is_new = self.entry(&EntryKey::of_body(&body)).is_none();
        match &body {
            Entry::Link(link) if is_new || !link.disabled => {
                self.require_host("host", &link.program, &link.host)?;
            }
            Entry::Program(program) => {
                let mut hosts = program.link_hosts.iter().enumerate();
                hosts.try_for_each(|(index, host)| {
                    self.require_host(&format!("link_hosts[{index}]"), &program.id, host)
                })?;
            }
            Entry::WebhookSource(source) if self.source(&source.program, &source.id).is_none() => {
                let (program, max) = (&source.program, SOURCES_OF_PROGRAM_MAX);
                let count = |state: &RegistryState| state.count_of(Kind::Source, program, max);
                self.room_of_program("sources of one program", max, count)?;
            }
            Entry::WebhookEndpoint(endpoint) if self.endpoint(&endpoint.program, &endpoint.id).is_none() => {
                let (program, max) = (&endpoint.program, ENDPOINTS_OF_PROGRAM_MAX);
                let count = |state: &RegistryState| state.count_of(Kind::Endpoint, program, max);
                self.room_of_program("endpoints of one program", max, count)?;
            }
            Entry::HostClaim(claim) if !claim.released && !self.has_host(&claim.program, &claim.host) => {
                let (program, max) = (&claim.program, HOSTS_OF_PROGRAM_MAX);
                // Released ones too: their records stay.
                let count = |state: &RegistryState| state.claims_made(program);
                self.room_of_program("hosts of one program", max, count)?;
            }
            _ => {}
        }
        Ok(body)
    }

    fn room_of_program(
        &self,
        what: &'static str,
        max: usize,
        count: impl Fn(&RegistryState) -> usize,
    ) -> Result<(), ChangeError> {
        if count(self.state) + count(self.ahead) < max {
            Ok(())
        } else {
            Err(ChangeError::Full { what, max })
        }
    }

    fn put_referrer(&self, referrer: &Referrer) -> Result<Entry, ChangeError> {
        self.program(&referrer.program)?;
        records::referrer(referrer)?;
        if self.referrer(&referrer.program, &referrer.id).is_none() {
            self.room("referrers", REFERRERS_MAX)?;
        }
        Ok(Entry::Referrer(referrer.clone()))
    }

    fn create_referrer(&self, referrer: &Referrer) -> Result<Entry, ChangeError> {
        let body = self.put_referrer(referrer)?;
        self.is_free_for(&body)?;
        Ok(body)
    }

    /// # Errors
    /// There is a record of this name, and it is not this one.
    fn is_free_for(&self, body: &Entry) -> Result<(), ChangeError> {
        match self.entry(&EntryKey::of_body(body)) {
            Some(present) if present.entry.as_ref() != Some(body) => {
                Err(ChangeError::Exists { asked: body.clone().into(), present: Arc::clone(present) })
            }
            _ => Ok(()),
        }
    }

    fn create_link(&self, link: &Link) -> Result<Entry, ChangeError> {
        records::link(link, self.program(&link.program)?)?;
        if self.referrer(&link.program, &link.referrer).is_none() {
            return Err(ChangeError::invalid("referrer", "is not a referrer of the program"));
        }
        let number = LinkNumber::of(&address(&link.host, &link.code));
        let holder = self.ahead.link_by_number(number).or_else(|| self.state.link_by_number(number));
        if let Some(holder) = holder {
            let is_same = (&holder.host, &holder.code) == (&link.host, &link.code);
            if is_same && holder.program == link.program {
                let body = Entry::Link(link.clone());
                self.is_free_for(&body)?;
                return Ok(body);
            }
            // Whose it is, is not for another program's key to know.
            let reason =
                if is_same { "is taken on this host" } else { "has the same number as another link" };
            return Err(ChangeError::conflict("code", reason));
        }
        records::new_code(&link.code)?;
        let is_sensitive = self.is_case_sensitive(&link.host);
        let states = [self.ahead, self.state];
        if !is_sensitive
            && let Some(other) =
                states.into_iter().find_map(|state| state.links_in_any_case(&link.host, &link.code).next())
        {
            // Whose it is, is not for another program's key to know, nor how it is written.
            let reason = match other.program == link.program {
                true => format!("is taken on this host by {:?}: case makes no difference there", other.code),
                false => "is taken on this host, where case makes no difference".to_owned(),
            };
            return Err(ChangeError::conflict("code", reason));
        }
        // A lead may name a referrer by the code alone.
        let is_the_same =
            |other: &&Link| other.code == link.code || !is_sensitive || !self.is_case_sensitive(&other.host);
        let mut elsewhere =
            states.into_iter().flat_map(|state| state.links_of_code(&link.program, &link.code));
        if let Some(other) = elsewhere.find(|other| other.referrer != link.referrer && is_the_same(other)) {
            let reason = match other.code == link.code {
                true => "names another referrer of the program on another host".to_owned(),
                false => format!(
                    "names another referrer of the program on another host, where it is {:?}",
                    other.code
                ),
            };
            return Err(ChangeError::conflict("code", reason));
        }
        self.room("links", LINKS_MAX)?;
        Ok(Entry::Link(link.clone()))
    }

    fn put_link(&self, link: &Link) -> Result<Entry, ChangeError> {
        let Ok(present) = self.link(&link.program, &link.host, &link.code) else {
            return self.create_link(link);
        };
        records::link(link, self.program(&link.program)?)?;
        if present.referrer != link.referrer {
            return Err(ChangeError::conflict("referrer", "can't be changed: make a link of another code"));
        }
        Ok(Entry::Link(link.clone()))
    }

    fn put_key(&self, key: &ApiKey) -> Result<Entry, ChangeError> {
        let missing = || ChangeError::NotFound { what: "key", id: key.id.clone() };
        let present = self.key(&key.id).ok_or_else(missing)?;
        let (hash, last_used_day) = (present.hash.clone(), present.last_used_day);
        let key = ApiKey { hash, last_used_day, ..key.clone() };
        records::key(&key)?;
        if key.program != present.program {
            return Err(ChangeError::conflict("program", "can't be changed: make another key"));
        }
        if present.disabled && !key.disabled {
            return Err(ChangeError::conflict("disabled", "can't be taken back: make another key"));
        }
        Ok(Entry::ApiKey(key))
    }

    fn create_key(&self, key: &ApiKey) -> Result<Entry, ChangeError> {
        records::key(key)?;
        if !key.program.is_empty() {
            self.program(&key.program)?;
        }
        if self.key(&key.id).is_some() {
            return Err(ChangeError::conflict("id", "is taken by another key"));
        }
        self.room("keys", KEYS_MAX)?;
        Ok(Entry::ApiKey(key.clone()))
    }

    fn source(&self, program: &str, id: &str) -> Option<&'a WebhookSource> {
        self.ahead.source(program, id).or_else(|| self.state.source(program, id))
    }

    fn put_source(&self, source: &WebhookSource) -> Result<Entry, ChangeError> {
        self.program(&source.program)?;
        if let Some(mistake) = webhooks::check(source).into_iter().next() {
            return Err(ChangeError::invalid(mistake.field, mistake.reason));
        }
        if self.source(&source.program, &source.id).is_none() {
            self.room("sources", SOURCES_MAX)?;
        }
        Ok(Entry::WebhookSource(source.clone()))
    }

    fn endpoint(&self, program: &str, id: &str) -> Option<&'a WebhookEndpoint> {
        self.ahead.endpoint(program, id).or_else(|| self.state.endpoint(program, id))
    }

    fn put_endpoint(&self, endpoint: &WebhookEndpoint) -> Result<Entry, ChangeError> {
        self.program(&endpoint.program)?;
        // What a deployment reaches is for its processes to know: here is looked at the address's form.
        if let Some(mistake) = webhooks::check_endpoint(endpoint, Reach::Private).into_iter().next() {
            return Err(ChangeError::invalid(mistake.field, mistake.reason));
        }
        match self.endpoint(&endpoint.program, &endpoint.id) {
            None => self.room("endpoints", ENDPOINTS_MAX)?,
            // What was sent is not sent again, and what was passed over not later.
            Some(present) if present.since_ms != endpoint.since_ms => {
                let reason = "can't be changed: make an endpoint of another id";
                return Err(ChangeError::conflict("since", reason));
            }
            Some(_) => {}
        }
        Ok(Entry::WebhookEndpoint(endpoint.clone()))
    }

    fn set_disabled(&self, key: &EntryKey, disabled: bool) -> Result<Entry, ChangeError> {
        Ok(match key {
            EntryKey::Program { id } => Entry::Program(Program { disabled, ..self.program(id)?.clone() }),
            EntryKey::Referrer { program, id } => {
                self.program(program)?;
                let referrer = self
                    .referrer(program, id)
                    .ok_or_else(|| ChangeError::NotFound { what: "referrer", id: id.clone() })?;
                Entry::Referrer(Referrer { disabled, ..referrer.clone() })
            }
            EntryKey::Link { program, host, code } => {
                Entry::Link(Link { disabled, ..self.link(program, host, code)?.clone() })
            }
            EntryKey::ApiKey { id } => {
                let key =
                    self.key(id).ok_or_else(|| ChangeError::NotFound { what: "key", id: id.clone() })?;
                Entry::ApiKey(ApiKey { disabled, ..key.clone() })
            }
            EntryKey::Source { program, id } => {
                let source = self.source(program, id);
                let source =
                    source.ok_or_else(|| ChangeError::NotFound { what: "source", id: id.clone() })?;
                Entry::WebhookSource(WebhookSource { disabled, ..source.clone() })
            }
            EntryKey::Endpoint { program, id } => {
                let endpoint = self.endpoint(program, id);
                let endpoint =
                    endpoint.ok_or_else(|| ChangeError::NotFound { what: "endpoint", id: id.clone() })?;
                Entry::WebhookEndpoint(WebhookEndpoint { disabled, ..endpoint.clone() })
            }
            // Nothing that is on or off.
            EntryKey::Host { host } => return Err(ChangeError::NotFound { what: "host", id: host.clone() }),
        })
    }
}
