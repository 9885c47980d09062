//! Who calls, and what they may do. API keys are `whk_ID_SECRET`; only SHA-256 hashes are kept, which is
//! enough for 32 random bytes.

use super::{
    admin_key::AdminKey,
    key_text::{PREFIX, hash},
    key_uses::KeyUses,
    problem::{Code, Problem},
};
use crate::registry::Registry;
use hyper::{HeaderMap, header::AUTHORIZATION};
use subtle::ConstantTimeEq;
use whence_runtime::shares::{Callers, Prefix};
use whence_schemas::time::UnixMs;

/// Bytes of the longest key: longer ones are not valid.
const KEY_BYTES_MAX: usize = 512;

/// What an API key may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Reporting what has happened: leads, qualifications, and what else is not named below.
    EventsWrite,
    /// Deciding about rewards.
    RewardsDecide,
    /// Having persons forgotten.
    PersonsErase,
    /// Changing programs, referrers, links and, for a key of all programs, API keys.
    RegistryWrite,
    /// Reading them. Who may change them may read them, too.
    RegistryRead,
    /// Reading what is stored: lineage, status, reports.
    ReportsRead,
}

impl Scope {
    /// All, in the order of the documentation.
    pub const ALL: [Scope; 6] = [
        Scope::EventsWrite,
        Scope::RewardsDecide,
        Scope::PersonsErase,
        Scope::RegistryWrite,
        Scope::RegistryRead,
        Scope::ReportsRead,
    ];

    /// The word in API keys.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Scope::EventsWrite => "events:write",
            Scope::RewardsDecide => "rewards:decide",
            Scope::PersonsErase => "persons:erase",
            Scope::RegistryWrite => "registry:write",
            Scope::RegistryRead => "registry:read",
            Scope::ReportsRead => "reports:read",
        }
    }
}

/// Somebody with a valid key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The program the key is for; `None`: all of them.
    program: Option<String>,
    scopes: Vec<Scope>,
}

impl Caller {
    /// A caller who may do everything.
    #[must_use]
    pub fn admin() -> Caller {
        Caller { program: None, scopes: Scope::ALL.to_vec() }
    }

    /// A caller who may do this in this program.
    #[must_use]
    pub fn of(program: &str, scopes: &[Scope]) -> Caller {
        Caller { program: Some(program.to_owned()), scopes: scopes.to_vec() }
    }

    /// The program the key is for; `None`: all of them.
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        self.program.as_deref()
    }

    /// Whether the key is for this program.
    #[must_use]
    pub fn may_touch(&self, program: &str) -> bool {
        self.program.as_deref().is_none_or(|own| own == program)
    }

    /// Whether the key has this scope.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        let implied = scope == Scope::RegistryRead && self.scopes.contains(&Scope::RegistryWrite);
        implied || self.scopes.contains(&scope)
    }

    /// # Errors
    /// 403 where the key does not have this scope.
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.has(scope) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, format_args!("the API key needs the scope {}", scope.word())))
    }

    /// # Errors
    /// 403 where the key has none of these scopes (at least one, the least of them first).
    pub fn require_any(&self, scopes: &[Scope]) -> Result<(), Problem> {
        if scopes.iter().any(|scope| self.has(*scope)) {
            return Ok(());
        }
        self.require(scopes[0])
    }

    /// # Errors
    /// 403 where the key does not have this scope or is for another program.
    pub fn require_in(&self, scope: Scope, program: &str) -> Result<(), Problem> {
        self.require(scope)?;
        self.require_program(program)
    }

    /// # Errors
    /// 403 where the key is for another program.
    pub fn require_program(&self, program: &str) -> Result<(), Problem> {
        if self.may_touch(program) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, "the API key is for another program"))
    }

    /// # Errors
    /// 403 where the key does not have this scope or is for one program only.
    pub fn require_everywhere(&self, scope: Scope) -> Result<(), Problem> {
        self.require(scope)?;
        if self.program.is_none() {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, "the API key is for one program only"))
    }
}

/// Finds out who sends this request.
///
/// # Errors
/// 401 without a valid key; the reason is the same for every key that is not valid, and another for one that was
/// until it expired. 503 where a key is not known and the registry may not have heard of it yet.
pub fn authenticate(
    headers: &HeaderMap,
    registry: &dyn Registry,
    admin: &AdminKey,
    uses: &KeyUses,
    now: UnixMs,
) -> Result<Caller, Problem> {
    let refused = || Problem::new(Code::Unauthorized, "the API key is not valid");
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Err(Problem::new(Code::Unauthorized, "send the API key as Authorization: Bearer whk_…"));
    };
    let (scheme, key) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || key.len() > KEY_BYTES_MAX {
        return Err(refused());
    }
    let hash = hash(key);
    if admin.is(&hash) {
        return Ok(Caller::admin());
    }
    let id = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).map(|(id, _)| id);
    let state = registry.shared().read();
    let stored = match id.map(|id| state.key(id)) {
        Some(Some(stored)) => stored,
        Some(None) if !registry.is_current() => {
            return Err(Problem::new(Code::Behind, "the API key is not known here yet"));
        }
        _ => return Err(refused()),
    };
    let is_right: bool = stored.hash.as_ref().ct_eq(&hash).into();
    if !is_right || stored.disabled {
        return Err(refused());
    }
    if stored.expires_at_ms != 0 && stored.expires_at_ms <= now.0 {
        return Err(Problem::new(Code::Unauthorized, "the API key has expired"));
    }
    uses.note(stored, now);
    let program = (!stored.program.is_empty()).then(|| stored.program.clone());
    let scopes = Scope::ALL.into_iter().filter(|scope| stored.scopes.iter().any(|word| word == scope.word()));
    Ok(Caller { program, scopes: scopes.collect() })
}

/// What to answer a request with whose key was refused with `problem`. Right keys are never asked for here:
/// what others of a network have tried takes nothing from them.
#[must_use]
pub fn refused(callers: &Callers, headers: &HeaderMap, network: Prefix, problem: Problem) -> Problem {
    if problem.code != Code::Unauthorized {
        return problem;
    }
    let share = if headers.contains_key(AUTHORIZATION) { &callers.wrong_keys } else { &callers.unproved };
    match share.take(network) {
        Ok(()) => problem,
        Err(beyond) => problem.limited(beyond),
    }
}
