//! Whose a host is: who may put codes on it, and whose fallback answers its unknown ones.
//!
//! A host's own record says it. Where there is none, as in registries that are older than these records, or where a key
//! of all programs has just made links, it is the program's that lists it, or else of those that have links there.

use super::{View, records};
use crate::ChangeError;
use whence_schemas::event::{HostClaim, registry_entry::Entry};

/// Hosts with a record of their own, of one registry.
pub const HOSTS_MAX: usize = 100_000;

impl View<'_> {
    fn claim(&self, host: &str) -> Option<&HostClaim> {
        self.ahead.claim(host).or_else(|| self.state.claim(host))
    }

    /// Whether codes of the host may differ in case alone.
    pub(super) fn is_case_sensitive(&self, host: &str) -> bool {
        let is_mixed = self.ahead.is_mixed(host) || self.state.is_mixed(host);
        is_mixed || self.claim(host).is_some_and(|claim| claim.case_sensitive)
    }

    fn lists(&self, program: &str, host: &str) -> bool {
        self.program(program).is_ok_and(|known| known.link_hosts.iter().any(|own| own == host))
    }

    /// Whether a program other than this one lists the host: its unknown codes go to one program's fallback.
    fn is_listed_by_another(&self, host: &str, id: &str) -> bool {
        let is_replaced = |program: &str| self.ahead.program(program).is_some();
        self.ahead.listed_by(host).any(|program| program != id)
            || self.state.listed_by(host).any(|program| program != id && !is_replaced(program))
    }

    fn has_links(&self, host: &str, program: &str) -> bool {
        [self.ahead, self.state].iter().any(|state| state.links_on(host, program).is_some())
    }

    /// Whether the program may put codes on the host.
    pub(super) fn has_host(&self, program: &str, host: &str) -> bool {
        match self.claim(host) {
            Some(claim) if !claim.released => claim.program == program,
            released => {
                let by_links = || {
                    released.is_none()
                        && self.has_links(host, program)
                        && !self.is_listed_by_another(host, program)
                };
                self.lists(program, host) || by_links()
            }
        }
    }

    /// Whether the host is another program's by its record or a list: two of them would both answer for it.
    pub(super) fn is_anothers(&self, host: &str, program: &str) -> bool {
        let is_claimed = self.claim(host).is_some_and(|claim| !claim.released && claim.program != program);
        is_claimed || self.is_listed_by_another(host, program)
    }

    /// Whether another program has the host in any way.
    fn is_held_by_another(&self, host: &str, program: &str) -> bool {
        let is_by_links = self.claim(host).is_none()
            && !self.lists(program, host)
            && [self.ahead, self.state].iter().any(|state| state.is_host_of_another(host, program));
        self.is_anothers(host, program) || is_by_links
    }

    /// # Errors
    /// The program does not have the host; the reason is under this field.
    pub(super) fn require_host(&self, field: &str, program: &str, host: &str) -> Result<(), ChangeError> {
        if self.has_host(program, host) {
            return Ok(());
        }
        if self.is_held_by_another(host, program) {
            return Err(ChangeError::conflict(field, format_args!("{host:?} belongs to another program")));
        }
        let reason = format_args!(
            "{host:?} is not the program's yet: GET /v1/programs/{program}/hosts/{host} says which DNS record proves that it \
             is, PUT claims it"
        );
        Err(ChangeError::conflict(field, reason))
    }

    pub(super) fn claim_host(&self, claim: &HostClaim) -> Result<Entry, ChangeError> {
        self.program(&claim.program)?;
        records::host(&claim.host)?;
        let present = self.claim(&claim.host);
        let is_fixed = self.ahead.has_links(&claim.host) || self.state.has_links(&claim.host);
        if is_fixed && claim.case_sensitive != self.is_case_sensitive(&claim.host) {
            let reason = "can't be changed: the host has links. Use another host";
            return Err(ChangeError::conflict("case_sensitive", reason));
        }
        if let Some(held) = present.filter(|held| !held.released && held.program == claim.program) {
            let case_sensitive = claim.case_sensitive;
            return Ok(Entry::HostClaim(HostClaim { case_sensitive, ..held.clone() }));
        }
        // Who has all programs may settle what two of them share.
        let is_anothers = match claim.proof.as_str() {
            "admin" => self.is_anothers(&claim.host, &claim.program),
            _ => self.is_held_by_another(&claim.host, &claim.program),
        };
        if is_anothers {
            let reason = "belongs to another program, which must release it first";
            return Err(ChangeError::conflict("host", reason));
        }
        if present.is_none() {
            self.room("hosts", HOSTS_MAX)?;
        }
        Ok(Entry::HostClaim(claim.clone()))
    }

    pub(super) fn release_host(&self, program: &str, host: &str) -> Result<Entry, ChangeError> {
        self.program(program)?;
        if !self.has_host(program, host) {
            return Err(ChangeError::NotFound { what: "host", id: host.to_owned() });
        }
        if self.lists(program, host) {
            return Err(ChangeError::conflict(
                "host",
                "is among the program's link_hosts: take it out there first",
            ));
        }
        let enabled = |links: Option<usize>| links.unwrap_or(0);
        // A link that this batch has changed counts twice: then it is released by the next request.
        if enabled(self.state.links_on(host, program)) + enabled(self.ahead.links_on(host, program)) > 0 {
            return Err(ChangeError::conflict("host", "has links of the program: disable them first"));
        }
        let present = self.claim(host);
        if present.is_none() {
            self.room("hosts", HOSTS_MAX)?;
        }
        let proof = present.map(|held| held.proof.clone()).unwrap_or_default();
        let case_sensitive = self.is_case_sensitive(host);
        let (host, program) = (host.to_owned(), program.to_owned());
        Ok(Entry::HostClaim(HostClaim { host, program, proof, released: true, case_sensitive }))
    }
}
