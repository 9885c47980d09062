//! Changes of the registry, and their answers: what programs, referrers, links and keys have in common.

use super::{
    Api,
    auth::{Caller, Scope},
    batch::{self, Body, Outcome},
    call::Call,
    json::{Errors, Fields},
    problem::{Code, Problem},
    route::{Page, Route},
};
use crate::registry::{CHANGES_MAX, Change, EntryKey};
use hyper::{Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value};
use std::sync::Arc;
use whence_runtime::http::Full;
use whence_runtime::seldom;
use whence_schemas::event::{RegistryEntry, registry_entry::Entry};

whence_metrics::declare! {
    /// Registry writes that failed as a whole, by reason.
    counter API_REGISTRY_FAILURES: "whence_api_registry_failures_total" { reason: ["too_many_changes", "registry_store", "registry_not_ready"] };
}

/// Bytes of a body with registry records: as many links as one request may have, with room.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

impl Api {
    /// Writes one change.
    pub(super) async fn write_one(&self, change: Change) -> Result<Arc<RegistryEntry>, Problem> {
        let outcome = self.write(vec![change]).await?.pop();
        outcome.expect("a write has an outcome for each change")
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Vec<Result<Arc<RegistryEntry>, Problem>>, Problem> {
        let outcomes = self.registry.write(changes).await.map_err(|error| {
            seldom!(warn, error = &error as &dyn std::error::Error, "registry not written");
            metrics::counter!(API_REGISTRY_FAILURES, "reason" => error.tag()).increment(1);
            Problem::from(&error)
        })?;
        Ok(outcomes.into_iter().map(|outcome| outcome.map_err(Problem::from)).collect())
    }

    /// The JSON object that is this body.
    pub(super) async fn read_object(&self, call: Call) -> Result<Value, Problem> {
        let (body, _room) = self.read_body(call, BODY_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|error| Problem::new(Code::Malformed, error))
    }

    /// Creates what the entries of the body say: one, or each of many for itself.
    pub(super) async fn create(
        &self,
        call: Call,
        read: impl Fn(Value) -> Result<Change, Problem> + Send,
    ) -> Result<Response<Full>, Problem> {
        let content_type =
            call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (body, _room) = self.read_body(call, BODY_BYTES_MAX).await?;
        let entries = match batch::split(content_type.as_deref(), &body, CHANGES_MAX)? {
            Body::One(entry) => {
                let entry = self.write_one(read(entry)?).await?;
                return Ok(batch::json_response(StatusCode::CREATED, &self.view_of(&entry).into()));
            }
            Body::Many(entries) => entries,
        };
        let mut outcomes = Vec::with_capacity(entries.len());
        let (mut places, mut changes) = (Vec::new(), Vec::new());
        for entry in entries {
            let result = entry.and_then(&read).map(|change| {
                places.push(outcomes.len());
                changes.push(change);
            });
            outcomes.push(Outcome { head: Map::new(), result });
        }
        let written = if changes.is_empty() { Vec::new() } else { self.write(changes).await? };
        for (place, written) in places.into_iter().zip(written) {
            outcomes[place] = match written {
                Ok(entry) => Outcome { head: self.view_of(&entry), result: Ok(()) },
                Err(problem) => Outcome::refused(problem),
            };
        }
        Ok(batch::answer_many(outcomes, StatusCode::CREATED, "created"))
    }

    /// An entry as callers see it: its record, and what made it so.
    pub(super) fn view_of(&self, entry: &RegistryEntry) -> Map<String, Value> {
        let mut view = match &entry.entry {
            Some(Entry::Program(program)) => super::programs::view(program),
            Some(Entry::Referrer(referrer)) => super::referrers::view(referrer),
            Some(Entry::Link(link)) => super::links::view(link, self.settings.api_link_scheme),
            Some(Entry::ApiKey(key)) => super::keys::view(key),
            Some(Entry::WebhookSource(source)) => super::webhooks::view::source(source),
            Some(Entry::WebhookEndpoint(endpoint)) => super::endpoints::view(endpoint),
            Some(Entry::HostClaim(claim)) => super::hosts::view(claim),
            None => Map::new(),
        };
        view.insert("version".into(), entry.version.into());
        view.insert("changed_at".into(), entry.changed_at_ms.into());
        view
    }

    /// There is no such record; as far as is known here.
    pub(super) fn missing(&self, what: &str, id: &str) -> Problem {
        let code = if self.registry.is_current() { Code::NotFound } else { Code::Behind };
        Problem::new(code, format_args!("there is no {what} {id:?}"))
    }

    /// # Errors
    /// 404 where there is no such program.
    pub(super) fn known_program(&self, program: &str) -> Result<(), Problem> {
        let is_known = self.registry.shared().read().program(program).is_some();
        is_known.then_some(()).ok_or_else(|| self.missing("program", program))
    }

    /// The present of one record.
    pub(super) fn show(&self, key: &EntryKey, id: &str) -> Result<Response<Full>, Problem> {
        let entry = self.registry.shared().read().entry(key).cloned();
        let owned = entry.filter(|entry| match (&entry.entry, key) {
            (Some(Entry::Link(link)), EntryKey::Link { program, .. }) => link.program == *program,
            _ => true,
        });
        match owned {
            Some(entry) => Ok(batch::json_response(StatusCode::OK, &self.view_of(&entry).into())),
            None => Err(self.missing(key.kind(), id)),
        }
    }
}

/// The change as this caller may ask for it.
pub(super) fn asked_by(caller: &Caller, change: Change) -> Change {
    match caller.program() {
        Some(_) => Change::OfOneProgram(change.into()),
        None => change,
    }
}

/// Reads one record with `read`, complaining about everything that is wrong.
pub(super) fn record<T>(
    value: Value,
    what: &str,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Result<T, Problem> {
    let mut errors = Errors::default();
    let record = Fields::of(value, "", &mut errors).map(|mut fields| {
        let record = read(&mut fields);
        fields.finish(what);
        record
    });
    match record {
        Some(record) if errors.is_empty() => Ok(record),
        _ => Err(Problem::of_fields(errors.into_vec())),
    }
}

/// A page of a list: of one record more than the page may have, so that it is known whether more follow.
/// `next` is what to send as `after` for the next page, absent on the last.
pub(super) fn page<T>(
    mut records: Vec<&T>,
    page: &Page,
    next: impl Fn(&T) -> String,
    view: impl Fn(&T) -> Map<String, Value>,
) -> Response<Full> {
    let is_last = records.len() <= page.limit;
    records.truncate(page.limit);
    let items: Vec<Value> = records.iter().map(|record| view(record).into()).collect();
    let mut body = Map::from_iter([("items".to_owned(), items.into())]);
    if let Some(last) = records.last().filter(|_| !is_last) {
        body.insert("next".to_owned(), next(last).into());
    }
    batch::json_response(StatusCode::OK, &body.into())
}

/// `POST …/disable` and `POST …/enable`.
pub(super) async fn switch(
    api: &Api,
    call: &Call,
    target: Route,
    disabled: bool,
) -> Result<Response<Full>, Problem> {
    let key = match target {
        Route::Program(id) => EntryKey::Program { id },
        Route::Referrer(program, id) => EntryKey::Referrer { program, id },
        Route::Link(program, host, code) => EntryKey::Link { program, host, code },
        Route::Key(id) => EntryKey::ApiKey { id },
        Route::Source(program, id) => EntryKey::Source { program, id },
        Route::Endpoint(program, id) => EntryKey::Endpoint { program, id },
        _ => return Err(Problem::new(Code::NotFound, "there is no such path")),
    };
    match &key {
        EntryKey::Program { id: program }
        | EntryKey::Referrer { program, .. }
        | EntryKey::Link { program, .. }
        | EntryKey::Source { program, .. }
        | EntryKey::Endpoint { program, .. } => call.caller.require_in(Scope::RegistryWrite, program)?,
        EntryKey::ApiKey { .. } | EntryKey::Host { .. } => {
            call.caller.require_everywhere(Scope::RegistryWrite)?;
        }
    }
    let change = asked_by(&call.caller, Change::SetDisabled { key, disabled });
    let entry = api.write_one(change).await?;
    Ok(batch::json_response(StatusCode::OK, &api.view_of(&entry).into()))
}
