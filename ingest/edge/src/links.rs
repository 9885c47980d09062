//! The link table: `host/code` to what the edge answers, fed by registry records and read on every
//! request. Knows nothing of where records come from.
//!
//! Readers take one shard's read lock for the time of a look-up; one writer at a time, behind a lock that
//! no reader takes. A program's rules stand in one place that its links share, so a change of the program
//! reaches a million links at once.

mod cache;
mod program;
mod resolved;
#[cfg(test)]
mod tests;

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use dashmap::{DashMap, Entry as MapEntry};
use whence_schemas::{
    event::{HostClaim, Link, Program, Referrer, RegistryEntry, registry_entry::Entry},
    ids::{LinkHost, NameError, ProgramId, ReferrerId},
};

pub use cache::{CacheSlot, LinkCache, SETS};
pub use program::{ProgramPlace, ProgramRules};
pub use resolved::ResolvedLink;

use super::reading::Reading;
use whence_registry::check::{HOSTS_MAX, LINKS_MAX, PROGRAMS_MAX, REFERRERS_MAX};

whence_metrics::declare! {
    /// Links in the table.
    gauge EDGE_LINKS: "whence_edge_links";
    /// Registry records the table could not take.
    counter EDGE_REGISTRY_REFUSED: "whence_edge_registry_refused_total" { reason };
}

/// Hosts with a record or with links that differ in case alone.
const CASES_MAX: usize = 2 * HOSTS_MAX;

/// How much the table holds. What is over is refused, counted and logged; clicks on it are answered as
/// unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// Programs.
    pub programs_max: usize,
    /// Referrers, at about 150 bytes each.
    pub referrers_max: usize,
    /// Links, at about 500 bytes each.
    pub links_max: usize,
}

impl Default for TableLimits {
    /// As many as a registry can have.
    fn default() -> Self {
        TableLimits { programs_max: PROGRAMS_MAX, referrers_max: REFERRERS_MAX, links_max: LINKS_MAX }
    }
}

/// All links of a deployment.
#[derive(Debug)]
pub struct LinkTable {
    links: DashMap<ByKey, ()>,
    /// Those whose code has letters in upper case, by the key in lower case.
    folded: DashMap<Box<str>, Arc<ResolvedLink>>,
    /// Hosts on which case may make a difference.
    cases: DashMap<Box<str>, HostCase>,
    /// Whose fallback answers a host's unknown codes.
    hosts: DashMap<Box<str>, Arc<ProgramPlace>>,
    known: Mutex<Known>,
    limits: TableLimits,
}

/// A link as its own key: it has the key in its text.
#[derive(Debug)]
struct ByKey(Arc<ResolvedLink>);

impl Borrow<[u8]> for ByKey {
    fn borrow(&self) -> &[u8] {
        self.0.key()
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &ByKey) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for ByKey {}

/// Whether case tells codes of a host apart.
#[derive(Clone, Copy, Debug, Default)]
struct HostCase {
    /// Of the host's record.
    version: u64,
    /// The record says so.
    is_sensitive: bool,
    /// It has links that differ in nothing else, of before hosts said it.
    is_mixed: bool,
}

/// What only the writer needs.
#[derive(Debug, Default)]
struct Known {
    programs: HashMap<Box<str>, KnownProgram>,
    /// By `program/referrer`.
    referrers: HashMap<Box<str>, KnownReferrer>,
    hosts: HashMap<Box<str>, KnownHost>,
}

/// Which programs have, or had, links on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum LinkedBy {
    #[default]
    Nobody,
    One(Box<str>),
    /// Whose what is unknown there would be is not to be told.
    Several,
}

/// Who answers for what is unknown on a host: the program of its record, else one that lists it, else the only one that has
/// links there.
#[derive(Debug, Default)]
struct KnownHost {
    holder: Option<Box<str>>,
    /// It was a program's and is nobody's, whoever has links there.
    is_released: bool,
    /// The programs that list it. More than one only between two records of a move.
    listed_by: Vec<Box<str>>,
    linked_by: LinkedBy,
}

#[derive(Debug)]
struct KnownProgram {
    place: Arc<ProgramPlace>,
    link_hosts: Vec<Box<str>>,
}

#[derive(Debug)]
struct KnownReferrer {
    /// 0: only links have named it.
    version: u64,
    is_disabled: bool,
    /// Its links, which hold its state: a look at the referrer on every request would be one more cache
    /// miss.
    links: Vec<Arc<ResolvedLink>>,
}

impl Known {
    /// Takes a link that was replaced from its referrer's.
    fn forget(&mut self, link: &Arc<ResolvedLink>) {
        let owner = link.owner();
        if let Some(referrer) = self.referrers.get_mut(&*owner) {
            referrer.links.retain(|other| !Arc::ptr_eq(other, link));
        }
    }
}

/// Why a record is not in the table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the table is full of {0}")]
    Full(&'static str),
    #[error("a name in it is not valid")]
    Name(#[from] NameError),
}

impl Refusal {
    fn tag(&self) -> &'static str {
        match self {
            Refusal::Full(what) => what,
            Refusal::Name(_) => "malformed",
        }
    }
}

impl LinkTable {
    /// An empty table.
    #[must_use]
    pub fn new(limits: TableLimits) -> LinkTable {
        LinkTable {
            links: DashMap::new(),
            folded: DashMap::new(),
            cases: DashMap::new(),
            hosts: DashMap::new(),
            known: Mutex::default(),
            limits,
        }
    }

    /// Takes a record in, whatever the order they come in: one that is not newer than what the table has
    /// of the same thing changes nothing. API keys, sources of webhooks,
    /// endpoints and whose hosts are, are of no concern here; of a host's record, whether it is case-sensitive.
    ///
    /// A record that cannot be used is counted in `whence_edge_registry_refused_total{reason}` and logged.
    pub fn apply(&self, entry: &RegistryEntry) {
        // No code panics while it holds the lock; if some ever does, a table with one record less is
        // better than none.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let version = entry.version;
        let applied = match &entry.entry {
            Some(Entry::Program(program)) => self.apply_program(&mut known, program, version),
            Some(Entry::Referrer(referrer)) => self.apply_referrer(&mut known, referrer, version),
            Some(Entry::Link(link)) => self.apply_link(&mut known, link, version),
            Some(Entry::HostClaim(claim)) => self.apply_host(&mut known, claim, version),
            Some(Entry::ApiKey(_) | Entry::WebhookSource(_) | Entry::WebhookEndpoint(_)) | None => Ok(()),
        };
        if let Err(refusal) = applied {
            metrics::counter!(EDGE_REGISTRY_REFUSED, "reason" => refusal.tag()).increment(1);
            tracing::error!(version, error = %refusal, "a registry record is not in the link table");
        }
    }

    /// The link of this key (`host/code`).
    #[must_use]
    pub fn link(&self, key: &str) -> Option<Arc<ResolvedLink>> {
        self.links.get(key.as_bytes()).map(|link| Arc::clone(&link.key().0))
    }

    /// The link of this code on this host, and whether it is one in another case: on a host where that makes no
    /// difference.
    #[must_use]
    pub fn read(&self, host: &str, code: &str) -> Option<(Arc<ResolvedLink>, Reading)> {
        let mut key = format!("{host}/{code}");
        if let Some(link) = self.link(&key) {
            return Some((link, Reading::Exact));
        }
        if self.is_case_sensitive(host) {
            return None;
        }
        key.make_ascii_lowercase();
        let link = self.link(&key).or_else(|| self.folded.get(key.as_str()).map(|link| Arc::clone(&link)))?;
        Some((link, Reading::Case))
    }

    /// Whether codes of this host may differ in case alone.
    #[must_use]
    pub fn is_case_sensitive(&self, host: &str) -> bool {
        self.cases.get(host).is_some_and(|case| case.is_sensitive || case.is_mixed)
    }

    /// The hosts that programs list, in no order.
    #[must_use]
    pub fn listed_hosts(&self) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = known.hosts.iter().filter(|(_, host)| !host.listed_by.is_empty());
        listed.map(|(host, _)| host.to_string()).collect()
    }

    /// The program that answers for what is unknown on this host.
    #[must_use]
    pub fn program_of_host(&self, host: &str) -> Option<Arc<ProgramPlace>> {
        self.hosts.get(host).map(|place| Arc::clone(&place))
    }

    /// Links in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there are no links.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    fn apply_program(&self, known: &mut Known, program: &Program, version: u64) -> Result<(), Refusal> {
        let rules = ProgramRules::of(program, version)?;
        for host in &program.link_hosts {
            host.parse::<LinkHost>()?;
        }
        self.place_of(known, &program.id)?;
        let entry = known.programs.get_mut(&*program.id).expect("it has just got its place");
        if version <= entry.place.rules().version {
            return Ok(());
        }
        entry.place.put(rules);
        let after: Vec<Box<str>> = program.link_hosts.iter().map(|host| host.as_str().into()).collect();
        let before = std::mem::replace(&mut entry.link_hosts, after.clone());
        for host in &before {
            if let Some(known) = known.hosts.get_mut(host) {
                known.listed_by.retain(|program_id| **program_id != *program.id);
            }
        }
        for host in &after {
            known.hosts.entry(host.clone()).or_default().listed_by.push(program.id.as_str().into());
        }
        for host in before.iter().chain(&after) {
            self.settle(known, host);
        }
        Ok(())
    }

    /// Gives a host to the program that answers for it.
    fn settle(&self, known: &mut Known, host: &str) {
        let place = known.hosts.get(host).and_then(|found| {
            let named = |id: &str| known.programs.get(id);
            let lists = found.listed_by.iter().filter_map(|id| known.programs.get(id));
            let last_listed = || lists.max_by_key(|program| program.place.rules().version);
            let by_links = || match &found.linked_by {
                LinkedBy::One(program) if !found.is_released => named(program),
                LinkedBy::One(_) | LinkedBy::Nobody | LinkedBy::Several => None,
            };
            found.holder.as_deref().and_then(named).or_else(last_listed).or_else(by_links)
        });
        match place {
            Some(program) => drop(self.hosts.insert(host.into(), Arc::clone(&program.place))),
            None => {
                self.hosts.remove(host);
                if known
                    .hosts
                    .get(host)
                    .is_some_and(|found| found.linked_by == LinkedBy::Nobody && !found.is_released)
                {
                    known.hosts.remove(host);
                }
            }
        }
    }

    fn apply_referrer(&self, known: &mut Known, referrer: &Referrer, version: u64) -> Result<(), Refusal> {
        referrer.program.parse::<ProgramId>()?;
        referrer.id.parse::<ReferrerId>()?;
        let entry = self.referrer(known, &referrer.program, &referrer.id)?;
        if version > entry.version {
            entry.version = version;
            entry.is_disabled = referrer.disabled;
            entry.links.iter().for_each(|link| link.set_referrer_disabled(referrer.disabled));
        }
        Ok(())
    }

    fn apply_link(&self, known: &mut Known, link: &Link, version: u64) -> Result<(), Refusal> {
        resolved::check(link)?;
        let before = self.link(&format!("{}/{}", link.host, link.code));
        if before.as_ref().is_some_and(|before| version <= before.version) {
            return Ok(());
        }
        if before.is_none() && self.links.len() >= self.limits.links_max {
            return Err(Refusal::Full("links"));
        }
        let program = self.place_of(known, &link.program)?;
        let is_new = before.is_none();
        let after = if link.referrer.is_empty() {
            ResolvedLink::of(link, version, program, false)
        } else {
            let referrer = self.referrer(known, &link.program, &link.referrer)?;
            let after = ResolvedLink::of(link, version, program, referrer.is_disabled);
            referrer.links.push(Arc::clone(&after));
            after
        };
        self.note_links(known, &link.host, &link.program);
        self.fold(link, &after, is_new);
        match self.links.entry(ByKey(after)) {
            // Replaced as a whole: the key lies in the link.
            MapEntry::Occupied(entry) => drop(entry.replace_entry(())),
            MapEntry::Vacant(entry) => drop(entry.insert(())),
        }
        if let Some(before) = before {
            // Only now: who sees this finds the new one.
            before.set_replaced();
            known.forget(&before);
        }
        metrics::gauge!(EDGE_LINKS).set(self.links.len() as f64);
        Ok(())
    }

    /// Has the link found in any case, and notes where that is not possible: another link differs in case alone.
    fn fold(&self, link: &Link, resolved: &Arc<ResolvedLink>, is_new: bool) {
        let key = format!("{}/{}", link.host, link.code).to_ascii_lowercase();
        let is_lower = key.as_bytes() == resolved.key();
        let other = if is_lower { None } else { self.link(&key) };
        let other = other.or_else(|| self.folded.get(key.as_str()).map(|other| Arc::clone(&other)));
        if is_new && other.is_some_and(|other| other.key() != resolved.key()) {
            self.cases.entry(link.host.as_str().into()).or_default().is_mixed = true;
        }
        if !is_lower {
            self.folded.insert(key.into(), Arc::clone(resolved));
        }
    }

    /// That the program has links on the host.
    fn note_links(&self, known: &mut Known, host: &str, program: &str) {
        if !known.hosts.contains_key(host) {
            known.hosts.insert(host.into(), KnownHost::default());
        }
        let found = known.hosts.get_mut(host).expect("it is there now");
        let linked_by = match &found.linked_by {
            LinkedBy::Nobody => LinkedBy::One(program.into()),
            LinkedBy::One(other) if **other != *program => LinkedBy::Several,
            LinkedBy::One(_) | LinkedBy::Several => return,
        };
        found.linked_by = linked_by;
        self.settle(known, host);
    }

    fn apply_host(&self, known: &mut Known, claim: &HostClaim, version: u64) -> Result<(), Refusal> {
        claim.host.parse::<LinkHost>()?;
        if !self.cases.contains_key(claim.host.as_str()) && self.cases.len() >= CASES_MAX {
            return Err(Refusal::Full("hosts"));
        }
        self.place_of(known, &claim.program)?;
        {
            let mut case = self.cases.entry(claim.host.as_str().into()).or_default();
            if version <= case.version {
                return Ok(());
            }
            (case.version, case.is_sensitive) = (version, claim.case_sensitive);
        }
        let holder = Some(claim.program.as_str().into()).filter(|_| !claim.released);
        let found = known.hosts.entry(claim.host.as_str().into()).or_default();
        (found.holder, found.is_released) = (holder, claim.released);
        self.settle(known, &claim.host);
        Ok(())
    }

    /// The program's place, made if it is not there: records may come in any order.
    fn place_of(&self, known: &mut Known, id: &str) -> Result<Arc<ProgramPlace>, Refusal> {
        if let Some(program) = known.programs.get(id) {
            return Ok(Arc::clone(&program.place));
        }
        if known.programs.len() >= self.limits.programs_max {
            return Err(Refusal::Full("programs"));
        }
        let place = Arc::new(ProgramPlace::new(ProgramRules::unheard(id)));
        known.programs.insert(id.into(), KnownProgram { place: Arc::clone(&place), link_hosts: Vec::new() });
        Ok(place)
    }

    fn referrer<'k>(
        &self,
        known: &'k mut Known,
        program: &str,
        id: &str,
    ) -> Result<&'k mut KnownReferrer, Refusal> {
        let key: Box<str> = format!("{program}/{id}").into();
        if !known.referrers.contains_key(&key) && known.referrers.len() >= self.limits.referrers_max {
            return Err(Refusal::Full("referrers"));
        }
        let unheard = || KnownReferrer { version: 0, is_disabled: false, links: Vec::new() };
        Ok(known.referrers.entry(key).or_insert_with(unheard))
    }
}
