//! `/v1/programs/P/hosts`: on which hosts the program may put codes, and how it comes to have one.
//!
//! A key of all programs claims a host for a program. A key for one program claims it with a TXT record in the host's own
//! DNS: `GET` says which, `PUT` looks for it. Of two programs that claim a host at once the registry's writer gives it to
//! one. A claim lasts until it is released; the record need not stay.

use super::{
    Api,
    auth::Scope,
    batch,
    call::Call,
    problem::{Code, Problem},
    programs::object,
    route::Page,
    write,
};
use crate::{
    hosts::{Proof, TxtRecords},
    registry::{Change, ChangeError},
};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;
use whence_runtime::http::Full;
use whence_schemas::event::HostClaim;

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

impl Api {
    fn proof(&self, program: &str, host: &str) -> Option<Proof> {
        Proof::of(&self.intake.identity, &program.parse().ok()?, &host.parse().ok()?)
    }

    /// A host as a program sees it.
    fn host_view(&self, program: &str, host: &str) -> Map<String, Value> {
        let state = self.registry.shared().read();
        let claim = state.claim(host).filter(|claim| claim.program == program && !claim.released);
        let is_claimed = state.has_host(program, host);
        let by = match claim {
            Some(claim) => Some(claim.proof.as_str()),
            // Its links, or that the program lists it, are older than the claim's own record.
            None => is_claimed.then_some("links"),
        };
        let record = self.proof(program, host);
        let record = record.map(|proof| json!({"type": "TXT", "name": proof.name, "value": proof.value}));
        object(json!({
            "program": program,
            "host": host,
            "claimed": is_claimed,
            "by": by,
            "record": record,
        }))
    }
}

/// `GET` of one: whether the program has it, and the record that proves it.
pub(super) fn show(api: &Api, call: &Call, program: &str, host: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.known_program(program)?;
    well_formed(api, program, host)?;
    Ok(batch::json_response(StatusCode::OK, &api.host_view(program, host).into()))
}

/// `GET` of those that the program has by a claim, by name.
pub(super) fn list(api: &Api, call: &Call, program: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.known_program(program)?;
    let page = Page::of(call.query.as_deref())?;
    let claims: Vec<HostClaim> = {
        let state = api.registry.shared().read();
        state.claims_after(program, &page.after, page.limit + 1).cloned().collect()
    };
    let view = |claim: &HostClaim| api.host_view(program, &claim.host);
    Ok(write::page(claims.iter().collect(), &page, |claim| claim.host.clone(), view))
}

/// `PUT`: claims the host.
pub(super) async fn claim(
    api: &Api,
    call: Call,
    program: String,
    host: String,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &program)?;
    api.known_program(&program)?;
    let is_admin = call.caller.program().is_none();
    let claim = HostClaim {
        host,
        program,
        proof: if is_admin { BY_ADMIN } else { BY_DNS }.to_owned(),
        released: false,
    };
    // Refused before anybody is asked; the registry's writer has the last word.
    let change = write::asked_by(&call.caller, Change::ClaimHost(claim.clone()));
    api.registry.shared().read().check(&change)?;
    let is_new = api
        .registry
        .shared()
        .read()
        .claim(&claim.host)
        .is_none_or(|held| held.released || held.program != claim.program);
    if !is_admin && is_new {
        let Some(proof) = api.proof(&claim.program, &claim.host) else {
            let detail = "is no name in the DNS: only a key of all programs claims it";
            return Err(Problem::of_field("host", Code::Invalid, detail));
        };
        api.proofs.prove(&proof).await?;
    }
    let (program, host) = (claim.program.clone(), claim.host.clone());
    api.write_one(change).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(batch::json_response(status, &api.host_view(&program, &host).into()))
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
    let change = Change::ReleaseHost { program: program.clone(), host: host.clone() };
    api.write_one(change).await?;
    Ok(batch::json_response(StatusCode::OK, &api.host_view(&program, &host).into()))
}

/// # Errors
/// The host is not in the form in which requests name it.
fn well_formed(api: &Api, program: &str, host: &str) -> Result<(), Problem> {
    let claim = HostClaim {
        host: host.to_owned(),
        program: program.to_owned(),
        proof: BY_DNS.to_owned(),
        released: false,
    };
    let checked = api.registry.shared().read().check(&Change::ClaimHost(claim));
    match checked {
        Err(error @ ChangeError::Invalid { .. }) => Err(error.into()),
        _ => Ok(()),
    }
}

/// What a host's record names, for [`Api::view_of`].
pub(super) fn view(claim: &HostClaim) -> Map<String, Value> {
    object(json!({ "host": claim.host, "program": claim.program }))
}
