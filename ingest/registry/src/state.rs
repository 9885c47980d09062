//! The registry's present, in memory. Pure: it applies entries and answers look-ups, and knows no store.
//!
//! Every record is held once, behind an `Arc`; the indexes share it. Nothing is ever deleted, only
//! disabled, so an index entry never dangles.

use super::change::{EntryKey, Kind};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};
use whence_schemas::{
    event::{
        ApiKey, HostClaim, Link, Program, Referrer, RegistryEntry, WebhookEndpoint, WebhookSource,
        registry_entry::Entry,
    },
    ids::LinkNumber,
};

/// Records by the version that made each what it is, and the indexes over them.
#[derive(Clone, Debug, Default)]
pub struct RegistryState {
    version: u64,
    by_version: BTreeMap<u64, Arc<RegistryEntry>>,
    programs: BTreeMap<String, Arc<RegistryEntry>>,
    referrers: BTreeMap<ReferrerKey, Arc<RegistryEntry>>,
    links: HashMap<LinkNumber, Arc<RegistryEntry>>,
    /// Links whose code has letters in upper case: the number that they would have in lower case, and their own.
    folded: BTreeSet<(LinkNumber, LinkNumber)>,
    /// Hosts with links that differ in case alone, of before hosts said whether that may be.
    mixed: BTreeSet<Box<str>>,
    /// Lists a program's links, and finds them by code.
    links_by_program: BTreeMap<LinkKey, Arc<RegistryEntry>>,
    /// The programs that have or had links on a host, with how many of them are not disabled.
    hosts: HashMap<Box<str>, BTreeMap<Box<str>, usize>>,
    /// The programs that list a host among their `link_hosts`; more than one only in an old registry.
    listed: HashMap<String, BTreeSet<String>>,
    /// Whose a host is by a record of its own.
    claims: BTreeMap<String, Arc<RegistryEntry>>,
    keys: BTreeMap<String, Arc<RegistryEntry>>,
    /// By program and id.
    sources: BTreeMap<(Arc<str>, Arc<str>), Arc<RegistryEntry>>,
    /// By program and id.
    endpoints: BTreeMap<(Arc<str>, Arc<str>), Arc<RegistryEntry>>,
}

/// Program, id.
type ReferrerKey = (Arc<str>, Arc<str>);
/// Program, code, host.
type LinkKey = (Arc<str>, Code, Arc<str>);

/// A code, in the order of its letters whatever their case; those that differ in case alone stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Code(Arc<str>);

impl Ord for Code {
    fn cmp(&self, other: &Code) -> Ordering {
        fn folded(code: &Code) -> impl Iterator<Item = u8> + '_ {
            code.0.bytes().map(|byte| byte.to_ascii_lowercase())
        }
        folded(self).cmp(folded(other)).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Code {
    fn partial_cmp(&self, other: &Code) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why an entry was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The record is not newer than the state: a replay, nothing to do.
    #[error("version {version} is not after {newest}")]
    Known {
        /// The entry's version.
        version: u64,
        /// The state's.
        newest: u64,
    },
    /// It holds no record that this version of whence knows.
    #[error("the entry holds no known record")]
    Unknown,
    /// Another link has its number. Writers refuse that, so somebody else wrote to the topic.
    #[error("links {link} and {other} have the same number")]
    LinkNumber {
        /// The entry's link.
        link: String,
        /// The one that is there.
        other: String,
    },
}

/// A link's address without its scheme: what [`LinkNumber::of`] takes and records call `link`.
#[must_use]
pub fn address(host: &str, code: &str) -> String {
    format!("{host}/{code}")
}

/// How a list is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// By the version of the last change, which is its order in time; otherwise by name.
    pub by_change: bool,
    /// The last first.
    pub is_reverse: bool,
}

/// How many there are of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Programs.
    pub programs: usize,
    /// Referrers of all programs.
    pub referrers: usize,
    /// Links of all programs.
    pub links: usize,
    /// API keys.
    pub keys: usize,
    /// Sources of webhooks of all programs.
    pub sources: usize,
    /// Endpoints for webhooks of all programs.
    pub endpoints: usize,
    /// Hosts with a record of their own.
    pub hosts: usize,
}

macro_rules! record {
    ($view:ident, $variant:ident, $type:ty) => {
        fn $view(entry: &Arc<RegistryEntry>) -> &$type {
            match &entry.entry {
                Some(Entry::$variant(record)) => record,
                _ => unreachable!("an index holds records of its own kind only"),
            }
        }
    };
}
record!(as_program, Program, Program);
record!(as_referrer, Referrer, Referrer);
record!(as_link, Link, Link);
record!(as_key, ApiKey, ApiKey);
record!(as_source, WebhookSource, WebhookSource);
record!(as_endpoint, WebhookEndpoint, WebhookEndpoint);
record!(as_claim, HostClaim, HostClaim);

impl RegistryState {
    /// The version of the newest entry, 0 without one.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many there are of each.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            programs: self.programs.len(),
            referrers: self.referrers.len(),
            links: self.links.len(),
            keys: self.keys.len(),
            sources: self.sources.len(),
            endpoints: self.endpoints.len(),
            hosts: self.claims.len(),
        }
    }

    /// Applies the next entry. Entries come in the order of their versions, which may have gaps: a
    /// compacted topic keeps only the newest entry of a key.
    ///
    /// # Errors
    /// See [`ApplyError`]; the state is then as before, except that an entry which is new but cannot be
    /// applied still moves the version on.
    pub fn apply(&mut self, entry: Arc<RegistryEntry>) -> Result<(), ApplyError> {
        if entry.version <= self.version {
            return Err(ApplyError::Known { version: entry.version, newest: self.version });
        }
        self.version = entry.version;
        let replaced = match entry.entry.as_ref().ok_or(ApplyError::Unknown)? {
            Entry::Program(program) => self.index_program(program, &entry),
            Entry::Referrer(referrer) => {
                let key = (referrer.program.as_str().into(), referrer.id.as_str().into());
                self.referrers.insert(key, Arc::clone(&entry))
            }
            Entry::Link(link) => self.index_link(link, &entry)?,
            Entry::ApiKey(key) => self.keys.insert(key.id.clone(), Arc::clone(&entry)),
            Entry::WebhookSource(source) => {
                let key = (source.program.as_str().into(), source.id.as_str().into());
                self.sources.insert(key, Arc::clone(&entry))
            }
            Entry::WebhookEndpoint(endpoint) => {
                let key = (endpoint.program.as_str().into(), endpoint.id.as_str().into());
                self.endpoints.insert(key, Arc::clone(&entry))
            }
            Entry::HostClaim(claim) => self.claims.insert(claim.host.clone(), Arc::clone(&entry)),
        };
        if let Some(replaced) = replaced {
            self.by_version.remove(&replaced.version);
        }
        self.by_version.insert(entry.version, entry);
        Ok(())
    }

    fn index_program(&mut self, program: &Program, entry: &Arc<RegistryEntry>) -> Option<Arc<RegistryEntry>> {
        let replaced = self.programs.insert(program.id.clone(), Arc::clone(entry));
        for host in replaced.as_ref().map_or(&[][..], |former| &as_program(former).link_hosts) {
            if let Some(programs) = self.listed.get_mut(host) {
                programs.remove(&program.id);
                if programs.is_empty() {
                    self.listed.remove(host);
                }
            }
        }
        for host in &program.link_hosts {
            self.listed.entry(host.clone()).or_default().insert(program.id.clone());
        }
        replaced
    }

    fn index_link(
        &mut self,
        link: &Link,
        entry: &Arc<RegistryEntry>,
    ) -> Result<Option<Arc<RegistryEntry>>, ApplyError> {
        let address = address(&link.host, &link.code);
        let number = LinkNumber::of(&address);
        if let Some(other) = self.links.get(&number).map(as_link) {
            if (&other.host, &other.code) != (&link.host, &link.code) {
                let other = self::address(&other.host, &other.code);
                return Err(ApplyError::LinkNumber { link: address, other });
            }
            // It may have been another program's, if somebody else wrote to the topic.
            let (key, former) = (link_key(other), (other.program.clone(), other.disabled));
            self.links_by_program.remove(&key);
            if !former.1
                && let Some(enabled) =
                    self.hosts.get_mut(link.host.as_str()).and_then(|of| of.get_mut(&*former.0))
            {
                *enabled = enabled.saturating_sub(1);
            }
        }
        if !self.links.contains_key(&number) {
            self.fold(link, number);
        }
        self.links_by_program.insert(link_key(link), Arc::clone(entry));
        let programs = match self.hosts.get_mut(link.host.as_str()) {
            Some(programs) => programs,
            None => self.hosts.entry(link.host.as_str().into()).or_default(),
        };
        let enabled = match programs.get_mut(link.program.as_str()) {
            Some(enabled) => enabled,
            None => programs.entry(link.program.as_str().into()).or_default(),
        };
        *enabled += usize::from(!link.disabled);
        Ok(self.links.insert(number, Arc::clone(entry)))
    }

    /// Has a new link found in any case.
    fn fold(&mut self, link: &Link, number: LinkNumber) {
        if self.links_in_any_case(&link.host, &link.code).next().is_some() {
            self.mixed.insert(link.host.as_str().into());
        }
        let lower = number_in_lower_case(&link.host, &link.code);
        if lower != number {
            self.folded.insert((lower, number));
        }
    }

    /// The program of this id.
    #[must_use]
    pub fn program(&self, id: &str) -> Option<&Program> {
        self.programs.get(id).map(as_program)
    }

    /// The newest entry of this record.
    #[must_use]
    pub fn entry(&self, key: &EntryKey) -> Option<&Arc<RegistryEntry>> {
        match key {
            EntryKey::Program { id } => self.programs.get(id),
            EntryKey::Referrer { program, id } => {
                self.referrers.get(&(program.as_str().into(), id.as_str().into()))
            }
            EntryKey::Link { host, code, .. } => self.link_entry(host, code),
            EntryKey::ApiKey { id } => self.keys.get(id),
            EntryKey::Source { program, id } => {
                self.sources.get(&(program.as_str().into(), id.as_str().into()))
            }
            EntryKey::Endpoint { program, id } => {
                self.endpoints.get(&(program.as_str().into(), id.as_str().into()))
            }
            EntryKey::Host { host } => self.claims.get(host),
        }
    }

    /// The newest entry of a record as its program sees it: not another program's link, and no host that was released.
    #[must_use]
    pub fn seen(&self, key: &EntryKey) -> Option<&Arc<RegistryEntry>> {
        self.entry(key).filter(|entry| is_seen(entry, key))
    }

    /// The referrer of this id in this program.
    #[must_use]
    pub fn referrer(&self, program: &str, id: &str) -> Option<&Referrer> {
        self.referrers.get(&(program.into(), id.into())).map(as_referrer)
    }

    /// The link at `host/code`, of whatever program.
    #[must_use]
    pub fn link(&self, host: &str, code: &str) -> Option<&Link> {
        self.link_entry(host, code).map(as_link)
    }

    fn link_entry(&self, host: &str, code: &str) -> Option<&Arc<RegistryEntry>> {
        let entry = self.links.get(&LinkNumber::of(&address(host, code)))?;
        let link = as_link(entry);
        (link.host == host && link.code == code).then_some(entry)
    }

    /// The link that tokens of this number name.
    #[must_use]
    pub fn link_by_number(&self, number: LinkNumber) -> Option<&Link> {
        self.links.get(&number).map(as_link)
    }

    /// The links on the host whose codes are this one but for case, of whatever program.
    pub fn links_in_any_case<'a>(&'a self, host: &str, code: &str) -> impl Iterator<Item = &'a Link> {
        let lower = number_in_lower_case(host, code);
        let others = self.folded.range((lower, LinkNumber(0))..=(lower, LinkNumber(u64::MAX)));
        let numbers = std::iter::once(lower).chain(others.map(|(_, own)| *own));
        let links = numbers.filter_map(|number| self.links.get(&number)).map(as_link);
        links.filter(move |link| link.host == host && link.code.eq_ignore_ascii_case(code))
    }

    /// Whether the host has links that differ in case alone.
    #[must_use]
    pub fn is_mixed(&self, host: &str) -> bool {
        self.mixed.contains(host)
    }

    /// Whether codes of the host may differ in case alone: its record says so, or they do.
    #[must_use]
    pub fn is_case_sensitive(&self, host: &str) -> bool {
        self.claim(host).is_some_and(|claim| claim.case_sensitive) || self.is_mixed(host)
    }

    /// Whether the host has links, of whatever program.
    #[must_use]
    pub fn has_links(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// The links of this program whose codes are this one but for case, in the order of their codes and hosts.
    pub fn links_of_code<'a>(&'a self, program: &str, code: &str) -> impl Iterator<Item = &'a Link> {
        // Upper case comes first.
        let from = (Arc::from(program), Code(code.to_ascii_uppercase().into()), Arc::from(""));
        let links = self.links_by_program.range(from..).map(|(_, entry)| as_link(entry));
        links.take_while(move |link| link.program == program && link.code.eq_ignore_ascii_case(code))
    }

    /// The link that a lead of this program names by its code alone. A code as it was made counts before one in another
    /// case, and that only where it is one referrer's. Of several on different hosts the one whose host comes
    /// first in the alphabet.
    #[must_use]
    pub fn link_by_code(&self, program: &str, code: &str) -> Option<&Link> {
        let exact = (Arc::from(program), Code(code.into()), Arc::from(""));
        let exact = self.links_by_program.range(exact..).map(|(_, entry)| as_link(entry)).next();
        if let Some(link) = exact.filter(|link| link.program == program && link.code == code) {
            return Some(link);
        }
        let mut links = self.links_of_code(program, code);
        let first = links.next()?;
        links.all(|other| other.referrer == first.referrer).then_some(first)
    }

    /// The code as it was made of what may be the link's in another case, where that makes no difference.
    #[must_use]
    pub fn stored_code(&self, host: &str, code: &str) -> Option<&str> {
        if self.is_case_sensitive(host) || self.link(host, code).is_some() {
            return None;
        }
        self.links_in_any_case(host, code).next().map(|link| link.code.as_str())
    }

    /// Whether a program other than this one has links on the host.
    #[must_use]
    pub fn is_host_of_another(&self, host: &str, program: &str) -> bool {
        self.hosts.get(host).is_some_and(|programs| programs.keys().any(|other| **other != *program))
    }

    /// How many links of the program on the host are not disabled; `None` where it never had one there.
    #[must_use]
    pub fn links_on(&self, host: &str, program: &str) -> Option<usize> {
        self.hosts.get(host)?.get(program).copied()
    }

    /// The programs that list the host among their `link_hosts`.
    pub fn listed_by(&self, host: &str) -> impl Iterator<Item = &str> {
        self.listed.get(host).into_iter().flatten().map(String::as_str)
    }

    /// The host's own record of whose it is.
    #[must_use]
    pub fn claim(&self, host: &str) -> Option<&HostClaim> {
        self.claims.get(host).map(as_claim)
    }

    /// How many records of hosts the program has made, with those of hosts that it has released.
    #[must_use]
    pub fn claims_made(&self, program: &str) -> usize {
        self.claims.values().filter(|entry| as_claim(entry).program == program).count()
    }

    /// The API key of this id.
    #[must_use]
    pub fn key(&self, id: &str) -> Option<&ApiKey> {
        self.keys.get(id).map(as_key)
    }

    /// The source of webhooks of this id in this program.
    #[must_use]
    pub fn source(&self, program: &str, id: &str) -> Option<&WebhookSource> {
        self.sources.get(&(program.into(), id.into())).map(as_source)
    }

    /// All sources of webhooks, by program and id.
    pub fn sources(&self) -> impl Iterator<Item = &WebhookSource> {
        self.sources.values().map(as_source)
    }

    /// The endpoint for webhooks of this id in this program.
    #[must_use]
    pub fn endpoint(&self, program: &str, id: &str) -> Option<&WebhookEndpoint> {
        self.endpoints.get(&(program.into(), id.into())).map(as_endpoint)
    }

    /// All endpoints for webhooks, by program and id.
    pub fn endpoints(&self) -> impl Iterator<Item = &WebhookEndpoint> {
        self.endpoints.values().map(as_endpoint)
    }

    /// All programs, by id.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.values().map(as_program)
    }

    /// The newest entries of the records of this kind, of this program alone where such records are of programs, in
    /// this order, after `after`: what [`place`] says of an entry, or empty for the beginning. `None` where `after` is no
    /// place.
    ///
    /// Others are among them: see [`is_listed`]. Whoever takes them bounds how many.
    #[must_use]
    pub fn scan<'a>(&'a self, kind: Kind, program: &str, order: Order, after: &str) -> Option<Scan<'a>> {
        fn walk<'a, K: Ord>(
            map: &'a BTreeMap<K, Arc<RegistryEntry>>,
            after: Option<K>,
            ends: Option<[K; 2]>,
            is_reverse: bool,
        ) -> Scan<'a> {
            let (mut from, mut to) = match ends {
                Some([first, end]) => (Bound::Included(first), Bound::Excluded(end)),
                None => (Bound::Unbounded, Bound::Unbounded),
            };
            match after {
                Some(after) if is_reverse => to = Bound::Excluded(after),
                Some(after) => from = Bound::Excluded(after),
                None => {}
            }
            let found = map.range((from, to)).map(|(_, entry)| entry);
            if is_reverse { Box::new(found.rev()) } else { Box::new(found) }
        }
        let is_reverse = order.is_reverse;
        let named = (!after.is_empty()).then_some(after);
        if order.by_change {
            let after = named.map(str::parse).transpose().ok()?;
            return Some(walk(&self.by_version, after, None, is_reverse));
        }
        let plain = |map: &'a BTreeMap<String, _>| walk(map, named.map(str::to_owned), None, is_reverse);
        // The text that comes next after the program's id.
        let (own, next): (Arc<str>, Arc<str>) = (program.into(), format!("{program}\0").into());
        let none = || Arc::<str>::from("");
        let of_program = |map: &'a BTreeMap<(Arc<str>, Arc<str>), _>| {
            let after = named.map(|id| (Arc::clone(&own), Arc::from(id)));
            walk(map, after, Some([(Arc::clone(&own), none()), (Arc::clone(&next), none())]), is_reverse)
        };
        Some(match kind {
            Kind::Program => plain(&self.programs),
            Kind::Key => plain(&self.keys),
            Kind::Host => plain(&self.claims),
            Kind::Referrer => of_program(&self.referrers),
            Kind::Source => of_program(&self.sources),
            Kind::Endpoint => of_program(&self.endpoints),
            Kind::Link => {
                let after = match named {
                    Some(place) => {
                        let (code, host) = place.split_once('/')?;
                        Some((Arc::clone(&own), Code(code.into()), Arc::from(host)))
                    }
                    None => None,
                };
                let ends = [(own, Code(none()), none()), (next, Code(none()), none())];
                walk(&self.links_by_program, after, Some(ends), is_reverse)
            }
        })
    }

    /// At most `limit` entries after this version, oldest first: of each record only the newest.
    #[must_use]
    pub fn entries_after(&self, version: u64, limit: usize) -> Vec<Arc<RegistryEntry>> {
        let from = (Bound::Excluded(version), Bound::Unbounded);
        self.by_version.range(from).take(limit).map(|(_, entry)| Arc::clone(entry)).collect()
    }
}

/// Whether this entry of the record is one that its program sees.
pub(super) fn is_seen(entry: &RegistryEntry, key: &EntryKey) -> bool {
    match (&entry.entry, key) {
        (Some(Entry::Link(link)), EntryKey::Link { program, .. }) => link.program == *program,
        (Some(Entry::HostClaim(claim)), _) => !claim.released,
        _ => true,
    }
}

/// What [`RegistryState::scan`] passes.
pub type Scan<'a> = Box<dyn Iterator<Item = &'a Arc<RegistryEntry>> + 'a>;

/// Whether the entry is in the list of the records of this kind, and of this program where such records are of programs.
#[must_use]
pub fn is_listed(entry: &RegistryEntry, kind: Kind, program: &str) -> bool {
    match (&entry.entry, kind) {
        (Some(Entry::Program(_)), Kind::Program) | (Some(Entry::ApiKey(_)), Kind::Key) => true,
        (Some(Entry::Referrer(referrer)), Kind::Referrer) => referrer.program == program,
        (Some(Entry::Link(link)), Kind::Link) => link.program == program,
        (Some(Entry::WebhookSource(source)), Kind::Source) => source.program == program,
        (Some(Entry::WebhookEndpoint(endpoint)), Kind::Endpoint) => endpoint.program == program,
        (Some(Entry::HostClaim(claim)), Kind::Host) => claim.program == program && !claim.released,
        _ => false,
    }
}

/// The entry's place in a list of this order.
#[must_use]
pub fn place(entry: &RegistryEntry, order: Order) -> String {
    if order.by_change {
        return entry.version.to_string();
    }
    match &entry.entry {
        Some(Entry::Program(program)) => program.id.clone(),
        Some(Entry::Referrer(referrer)) => referrer.id.clone(),
        Some(Entry::Link(link)) => format!("{}/{}", link.code, link.host),
        Some(Entry::ApiKey(key)) => key.id.clone(),
        Some(Entry::WebhookSource(source)) => source.id.clone(),
        Some(Entry::WebhookEndpoint(endpoint)) => endpoint.id.clone(),
        Some(Entry::HostClaim(claim)) => claim.host.clone(),
        None => String::new(),
    }
}

fn link_key(link: &Link) -> LinkKey {
    (link.program.as_str().into(), Code(link.code.as_str().into()), link.host.as_str().into())
}

fn number_in_lower_case(host: &str, code: &str) -> LinkNumber {
    LinkNumber::of(&address(host, &code.to_ascii_lowercase()))
}
