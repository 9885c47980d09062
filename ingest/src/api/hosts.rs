//! `/v1/programs/P/hosts`: on which hosts the program may put codes, and how it comes to have one.
//!
//! A key of all programs claims a host for a program. A key for one program claims it with a TXT record in the host's own
//! DNS: `GET` says which, `PUT` looks for it. Of two programs that claim a host at once the registry's writer gives it to
//! one. A claim lasts until it is released; the record need not stay.

use super::{
    Api,
    auth::{Caller, Scope},
    batch,
    call::Call,
    conditions,
    form::{self, Form, MADE_HERE},
    merge::merge,
    problem::{Code, Problem},
    records,
};
use crate::{
    hosts::{Proof, TxtRecords},
    registry::{Change, ChangeError, Effect, EntryKey, Expected},
};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;
use whence_runtime::http::Full;
use whence_schemas::event::{HostClaim, RegistryEntry, registry_entry::Entry};

whence_metrics::declare! {
    /// Hosts that were looked up to be proved, by outcome.
    counter HOST_PROOFS: "whence_host_proofs_total" { outcome: ["proved", "unproved", "no_answer", "busy"] };
}

/// Questions to the DNS at a time.
const QUESTIONS_MAX: usize = 8;
/// How a host was proved, as records have it.
const BY_ADMIN: &str = "admin";
const BY_DNS: &str = "dns";

/// Who is asked for records that prove hosts.
pub(super) struct Proofs {
    names: Arc<dyn TxtRecords>,
    questions: Semaphore,
}

impl Proofs {
    pub fn new(names: Arc<dyn TxtRecords>) -> Proofs {
        Proofs { names, questions: Semaphore::new(QUESTIONS_MAX) }
    }

    /// Whether the host's DNS has the record.
    async fn prove(&self, proof: &Proof) -> Result<(), Problem> {
        let counted = |outcome: &'static str| {
            metrics::counter!(HOST_PROOFS, "outcome" => outcome).increment(1);
        };
        let Ok(_place) = self.questions.try_acquire() else {
            counted("busy");
            return Err(Problem::new(Code::Busy, "too many hosts are being looked up at the moment"));
        };
        let texts = self.names.texts(&proof.name).await.map_err(|error| {
            counted("no_answer");
            tracing::warn!(error = &error as &dyn std::error::Error, "a host can't be proved");
            Problem::new(Code::Dns, error)
        })?;
        if proof.is_among(&texts) {
            counted("proved");
            return Ok(());
        }
        counted("unproved");
        let found = texts.len();
        let detail = format_args!(
            "is not proved: {} needs a TXT record {} (found {found} others)",
            proof.name, proof.value
        );
        Err(Problem::of_field("host", Code::HostUnproved, detail))
    }
}

/// What a program may write of a host.
pub(super) struct HostFields {
    /// Whether it is the program's, or is to be.
    pub is_claimed: bool,
    /// Whether its codes may differ in case alone.
    pub is_case_sensitive: bool,
}

impl Api {
    fn proof(&self, program: &str, host: &str) -> Option<Proof> {
        Proof::of(&self.intake.identity, &program.parse().ok()?, &host.parse().ok()?)
    }

    /// A host as a program writes and sees it.
    pub(super) fn host_form(
        &self,
        form: &mut Form<'_, '_>,
        program: &str,
        host: &str,
        wanted: &mut HostFields,
    ) {
        form.of_path("program", program);
        form.of_path("host", host);
        form.flag("claimed", &mut wanted.is_claimed);
        form.flag("case_sensitive", &mut wanted.is_case_sensitive);
        let is_claimed = wanted.is_claimed;
        form.made_here("by", || match self.claim(program, host).as_deref() {
            Some(RegistryEntry { entry: Some(Entry::HostClaim(claim)), .. }) => claim.proof.as_str().into(),
            // Its links, or that the program lists it, are older than the claim's own record.
            _ => is_claimed.then_some("links").into(),
        });
        form.made_here("record", || {
            let record = self.proof(program, host);
            record.map(|proof| json!({"type": "TXT", "name": proof.name, "value": proof.value})).into()
        });
    }

    /// The host's own record, where it says that the host is this program's.
    fn claim(&self, program: &str, host: &str) -> Option<Arc<RegistryEntry>> {
        let entry = self.entry(&EntryKey::Host { host: host.to_owned() })?;
        matches!(&entry.entry, Some(Entry::HostClaim(claim)) if claim.program == program).then_some(entry)
    }

    pub(super) fn is_case_sensitive(&self, host: &str) -> bool {
        self.registry.shared().read().is_case_sensitive(host)
    }

    /// The host as the program sees it, with the version of its record.
    fn host_view(&self, program: &str, host: &str) -> (Option<u64>, Map<String, Value>) {
        if let Some(entry) = self.claim(program, host) {
            return (Some(entry.version), self.view_of(&entry));
        }
        let is_claimed = self.registry.shared().read().has_host(program, host);
        let mut wanted = HostFields { is_claimed, is_case_sensitive: self.is_case_sensitive(host) };
        let mut view = form::shown(|form| self.host_form(form, program, host, &mut wanted));
        view.extend(MADE_HERE.map(|name| (name.to_owned(), Value::Null)));
        (None, view)
    }

    fn host_answer(&self, status: StatusCode, program: &str, host: &str) -> Response<Full> {
        match self.host_view(program, host) {
            (Some(version), view) => records::answer(status, version, view),
            (None, view) => batch::json_response(status, &view.into()),
        }
    }
}

/// `GET` of one: whether the program has it, and the record that proves it. It has a tag only where it has a record of its
/// own: whose it is otherwise, other records decide.
pub(super) fn show(api: &Api, call: &Call, program: &str, host: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.known_program(program)?;
    well_formed(api, program, host)?;
    let (version, _) = api.host_view(program, host);
    match version {
        Some(version) if conditions::is_known(&call.headers, Some(version))? => {
            Ok(records::not_modified(version))
        }
        Some(_) => Ok(api.host_answer(StatusCode::OK, program, host)),
        None => {
            conditions::is_known(&call.headers, None)?;
            Ok(api.host_answer(StatusCode::OK, program, host))
        }
    }
}

/// `PUT`: claims the host, also with no body; with `"claimed": false` releases it. Whether it is case-sensitive stays as it
/// is where that is not said: others may have links there.
pub(super) async fn put(
    api: &Api,
    call: Call,
    program: String,
    host: String,
) -> Result<Response<Full>, Problem> {
    set(api, call, program, host, |_, body| body).await
}

/// `PATCH`: the same, where the patch names `claimed`.
pub(super) async fn patch(
    api: &Api,
    call: Call,
    program: String,
    host: String,
) -> Result<Response<Full>, Problem> {
    records::is_merge_patch(&call)?;
    let merged = |mut present, patch| {
        merge(&mut present, patch);
        present
    };
    set(api, call, program, host, merged).await
}

/// Makes the host what `whole` makes of what is there and of the body. A body that says what is there changes nothing.
async fn set(
    api: &Api,
    call: Call,
    program: String,
    host: String,
    whole: impl FnOnce(Value, Value) -> Value + Send,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &program)?;
    api.known_program(&program)?;
    well_formed(api, &program, &host)?;
    let (caller, expected) = (call.caller.clone(), conditions::expected(&call.headers)?);
    let body = api.read_object_or_none(call).await?.unwrap_or_else(|| json!({}));
    let (version, present) = api.host_view(&program, &host);
    let present = Value::Object(present);
    let whole = whole(present.clone(), body);
    let is_as_shown = given(&whole) == given(&present);
    let is_case_sensitive = api.is_case_sensitive(&host);
    let mut wanted = HostFields { is_claimed: true, is_case_sensitive };
    form::read(whole, "a host", |form| api.host_form(form, &program, &host, &mut wanted))?;
    let is_claimed = wanted.is_claimed;
    if !is_claimed && wanted.is_case_sensitive != is_case_sensitive {
        let detail = "can be changed of a host only that is claimed";
        return Err(Problem::of_field("case_sensitive", Code::Invalid, detail));
    }
    let is_held = present["claimed"] == json!(true);
    if is_as_shown || (!is_claimed && !is_held) {
        if !expected.holds(version) {
            return Err(ChangeError::Unexpected { version }.into());
        }
        return Ok(api.host_answer(StatusCode::OK, &program, &host));
    }
    if is_claimed {
        claim(api, &caller, program, host, wanted.is_case_sensitive, expected).await
    } else {
        free(api, program, host, expected).await
    }
}

/// The fields that are not `null`, which is as good as none.
fn given(value: &Value) -> Option<Vec<(&String, &Value)>> {
    Some(value.as_object()?.iter().filter(|(_, value)| !value.is_null()).collect())
}

async fn claim(
    api: &Api,
    caller: &Caller,
    program: String,
    host: String,
    case_sensitive: bool,
    expected: Expected,
) -> Result<Response<Full>, Problem> {
    let is_admin = caller.program().is_none();
    let claim = HostClaim {
        host,
        program,
        proof: if is_admin { BY_ADMIN } else { BY_DNS }.to_owned(),
        released: false,
        case_sensitive,
    };
    // Refused before anybody is asked; the registry's writer has the last word.
    let change = records::asked_by(caller, Change::ClaimHost(claim.clone()));
    api.registry.shared().read().check(&change)?;
    if !is_admin && api.claim(&claim.program, &claim.host).is_none() {
        let Some(proof) = api.proof(&claim.program, &claim.host) else {
            let detail = "is not a DNS name: only a key of all programs can claim it";
            return Err(Problem::of_field("host", Code::Invalid, detail));
        };
        api.proofs.prove(&proof).await?;
    }
    let (program, host) = (claim.program.clone(), claim.host.clone());
    let done = api.write_one(change.when(EntryKey::Host { host: host.clone() }, expected)).await?;
    let status = if done.effect == Effect::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(api.host_answer(status, &program, &host))
}

/// `DELETE`: releases the host. It is nobody's then, and whoever proves it next has it.
pub(super) async fn release(
    api: &Api,
    call: Call,
    program: String,
    host: String,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &program)?;
    api.known_program(&program)?;
    let expected = conditions::expected(&call.headers)?;
    free(api, program, host, expected).await
}

async fn free(
    api: &Api,
    program: String,
    host: String,
    expected: Expected,
) -> Result<Response<Full>, Problem> {
    let change = Change::ReleaseHost { program: program.clone(), host: host.clone() };
    api.write_one(change.when(EntryKey::Host { host: host.clone() }, expected)).await?;
    Ok(api.host_answer(StatusCode::OK, &program, &host))
}

/// # Errors
/// The host is not in the form in which requests name it.
fn well_formed(api: &Api, program: &str, host: &str) -> Result<(), Problem> {
    let claim = HostClaim {
        host: host.to_owned(),
        program: program.to_owned(),
        proof: BY_DNS.to_owned(),
        released: false,
        case_sensitive: false,
    };
    let checked = api.registry.shared().read().check(&Change::ClaimHost(claim));
    match checked {
        Err(error @ ChangeError::Invalid { .. }) => Err(error.into()),
        _ => Ok(()),
    }
}
