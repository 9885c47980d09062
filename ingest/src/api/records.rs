//! What the calls for all records of the registry have in common: showing, replacing, patching, creating.
//!
//! A record has one form ([`super::form`]), which both reads and shows it: what `GET` shows, `PUT` takes. `PUT` replaces
//! all of a record. `PATCH` merges into what `GET` shows (RFC 7396) and goes on like a `PUT` of the result: it is written
//! only where the record is still the one that was merged into, and worked out once more where it is not.

use super::{
    Api,
    auth::{Caller, Scope},
    batch::{self, Body, Outcome},
    call::Call,
    conditions,
    encoding::Unambiguous,
    endpoints,
    form::{self, MADE_HERE, shown_moment},
    hosts::HostFields,
    keys, links,
    merge::merge,
    problem::{Code, FieldError, Problem},
    programs, referrers,
    route::Route,
    webhooks,
};
use crate::registry::{CHANGES_MAX, Change, ChangeError, Effect, EntryKey, Expected, Written};
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue},
};
use serde_json::{Map, Value};
use std::sync::Arc;
use whence_runtime::{
    http::{Full, empty},
    seldom,
};
use whence_schemas::event::{ApiKey, RegistryEntry, registry_entry::Entry};

whence_metrics::declare! {
    /// Registry writes that failed as a whole, by reason.
    counter API_REGISTRY_FAILURES: "whence_api_registry_failures_total" {
        reason: ["too_many_changes", "registry_store", "registry_not_ready"]
    };
}

/// Bytes of a body with registry records: as many links as one request may have, with room.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often a patch is worked out, where others change its record in between.
const PATCHES_MAX: usize = 8;

/// Records that are created in lists.
pub(super) enum Collection {
    /// Of this program.
    Referrers(String),
    /// Of this program.
    Links(String),
}

/// `GET` of one.
pub(super) fn show(api: &Api, call: &Call, key: &EntryKey) -> Result<Response<Full>, Problem> {
    require(&call.caller, Scope::RegistryRead, key)?;
    let key = &api.stored(key.clone());
    let entry = api.entry(key).ok_or_else(|| api.missing(key.kind(), &key.name()))?;
    if conditions::is_known(&call.headers, Some(entry.version))? {
        return Ok(not_modified(entry.version));
    }
    Ok(answer(StatusCode::OK, entry.version, api.view_of(&entry)))
}

/// `PUT`: creates the record or replaces all of it; what is not named is as in a new one.
pub(super) async fn put(api: &Api, call: Call, key: EntryKey) -> Result<Response<Full>, Problem> {
    require(&call.caller, Scope::RegistryWrite, &key)?;
    let (caller, expected) = (call.caller.clone(), conditions::expected(&call.headers)?);
    let body = api.read_object(call).await?;
    let present = api.entry(&key);
    let change = api.change(&key, body, present.as_deref(), &caller)?;
    let done = api.write_one(change.when(key, expected)).await?;
    Ok(written(done.effect, &done.entry, api.view_of(&done.entry)))
}

/// `PATCH`: changes what is named.
pub(super) async fn patch(api: &Api, call: Call, key: EntryKey) -> Result<Response<Full>, Problem> {
    require(&call.caller, Scope::RegistryWrite, &key)?;
    is_merge_patch(&call)?;
    let key = api.stored(key);
    let (caller, expected) = (call.caller.clone(), conditions::expected(&call.headers)?);
    let patch = api.read_object(call).await?;
    for _ in 0..PATCHES_MAX {
        let present = api.entry(&key).ok_or_else(|| api.missing(key.kind(), &key.name()))?;
        let mut whole = Value::Object(api.view_of(&present));
        merge(&mut whole, patch.clone());
        let change = api.change(&key, whole, Some(&present), &caller)?;
        let expected = Expected { exactly: Some(Some(present.version)), ..expected.clone() };
        match api.write_once(change.when(key.clone(), expected)).await? {
            Ok(done) => return Ok(written(done.effect, &done.entry, api.view_of(&done.entry))),
            // Others were faster: what they have written is known here now.
            Err(ChangeError::Unexpected { version }) if version != Some(present.version) => {}
            Err(error) => return Err(api.problem(error)),
        }
    }
    Err(Problem::new(Code::Busy, "the record is being changed by others; try again"))
}

/// # Errors
/// 415 for a patch of another kind. Other types are taken for what they are most often: JSON that a script sends under
/// its library's type.
pub(super) fn is_merge_patch(call: &Call) -> Result<(), Problem> {
    let given = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if given.ends_with("+json") && given != "application/merge-patch+json" {
        let detail = "send a JSON Merge Patch (RFC 7396) as application/merge-patch+json or application/json";
        return Err(Problem::new(Code::MediaType, detail));
    }
    Ok(())
}

/// `POST` to a list: creates what the entries of the body say, one, or each of many for itself.
pub(super) async fn create(api: &Api, call: Call, into: Collection) -> Result<Response<Full>, Problem> {
    let (Collection::Referrers(program) | Collection::Links(program)) = &into;
    call.caller.require_in(Scope::RegistryWrite, program)?;
    api.known_program(program)?;
    let host = api.registry.shared().read().program(program).and_then(|p| p.link_hosts.first().cloned());
    let (caller, expected) = (call.caller.clone(), conditions::expected(&call.headers)?);
    let content_type =
        call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let scheme = api.settings.api_link_scheme;
    let read = |body| {
        let (key, change) = match &into {
            Collection::Referrers(program) => {
                let referrer = referrers::read_new(body, program)?;
                let key = EntryKey::Referrer { program: program.clone(), id: referrer.id.clone() };
                (key, Change::CreateReferrer(referrer))
            }
            Collection::Links(program) => {
                let link = links::read_new(body, program, host.as_deref(), scheme)?;
                let (host, code) = (link.host.clone(), link.code.clone());
                let key = EntryKey::Link { program: program.clone(), host, code };
                (key, Change::CreateLink(link))
            }
        };
        Ok::<Change, Problem>(asked_by(&caller, change).when(key, expected.clone()))
    };
    let (body, _room) = api.read_body(call, BODY_BYTES_MAX).await?;
    let entries = match batch::split(content_type.as_deref(), &body, CHANGES_MAX)? {
        Body::One(entry) => {
            let done = api.write_one(read(entry)?).await?;
            return Ok(written(done.effect, &done.entry, api.view_of(&done.entry)));
        }
        Body::Many(entries) => entries,
    };
    let mut outcomes = Vec::with_capacity(entries.len());
    let (mut places, mut changes) = (Vec::new(), Vec::new());
    for entry in entries {
        let result = entry.and_then(&read).map(|change| {
            places.push(outcomes.len());
            changes.push(change);
            CREATED
        });
        outcomes.push(Outcome { head: Map::new(), result });
    }
    let done = if changes.is_empty() { Vec::new() } else { api.write(changes).await? };
    for (place, done) in places.into_iter().zip(done) {
        outcomes[place] = match done {
            Ok(done) => {
                let word = if done.effect == Effect::Unchanged { UNCHANGED } else { CREATED };
                Outcome { head: api.view_of(&done.entry), result: Ok(word) }
            }
            Err(error) => Outcome::refused(api.problem(error)),
        };
    }
    let is_any_new = outcomes.iter().any(|outcome| outcome.word() == CREATED);
    let status = if is_any_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(batch::answer_many(outcomes, status, &[CREATED, UNCHANGED]))
}

const CREATED: &str = "created";
const UNCHANGED: &str = "unchanged";

/// `POST …/disable` and `POST …/enable`.
pub(super) async fn switch(
    api: &Api,
    call: &Call,
    target: &Route,
    disabled: bool,
) -> Result<Response<Full>, Problem> {
    let key = target.record().ok_or_else(|| Problem::new(Code::NotFound, "there is no such path"))?;
    require(&call.caller, Scope::RegistryWrite, &key)?;
    let key = api.stored(key);
    let expected = conditions::expected(&call.headers)?;
    let change = asked_by(&call.caller, Change::SetDisabled { key: key.clone(), disabled });
    let done = api.write_one(change.when(key, expected)).await?;
    Ok(written(done.effect, &done.entry, api.view_of(&done.entry)))
}

/// The answer to a change that has made a record what this view shows.
pub(super) fn written(effect: Effect, entry: &RegistryEntry, view: Map<String, Value>) -> Response<Full> {
    let status = if effect == Effect::Created { StatusCode::CREATED } else { StatusCode::OK };
    answer(status, entry.version, view)
}

/// An answer with a record of this version. Whoever keeps it asks whether it is still so.
pub(super) fn answer(status: StatusCode, version: u64, view: Map<String, Value>) -> Response<Full> {
    let mut response = batch::json_response(status, &view.into());
    tag(&mut response, version);
    response
}

/// The client has this version.
pub(super) fn not_modified(version: u64) -> Response<Full> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    tag(&mut response, version);
    response
}

fn tag(response: &mut Response<Full>, version: u64) {
    let headers = response.headers_mut();
    headers.insert(ETAG, conditions::tag(version));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

/// Says that nobody keeps this answer.
pub(super) fn never_kept(response: &mut Response<Full>) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// The change as this caller may ask for it.
pub(super) fn asked_by(caller: &Caller, change: Change) -> Change {
    match caller.program() {
        Some(_) => Change::OfOneProgram(change.into()),
        None => change,
    }
}

fn require(caller: &Caller, scope: Scope, key: &EntryKey) -> Result<(), Problem> {
    match key.program() {
        Some(program) => caller.require_in(scope, program),
        None => caller.require_everywhere(scope),
    }
}

impl Api {
    /// Writes one change.
    pub(super) async fn write_one(&self, change: Change) -> Result<Written, Problem> {
        self.write_once(change).await?.map_err(|error| self.problem(error))
    }

    async fn write_once(&self, change: Change) -> Result<Result<Written, ChangeError>, Problem> {
        let outcome = self.write(vec![change]).await?.pop();
        Ok(outcome.expect("a write has an outcome for each change"))
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Vec<Result<Written, ChangeError>>, Problem> {
        let outcomes = self.registry.write(changes).await.map_err(|error| {
            seldom!(warn, error = &error as &dyn std::error::Error, "registry not written");
            metrics::counter!(API_REGISTRY_FAILURES, "reason" => error.tag()).increment(1);
            Problem::from(&error)
        })?;
        let same_is_no_conflict = |outcome| match outcome {
            Err(ChangeError::Exists { asked, present }) if self.differences(&asked, &present).is_empty() => {
                Ok(Written { entry: present, effect: Effect::Unchanged })
            }
            outcome => outcome,
        };
        Ok(outcomes.into_iter().map(same_is_no_conflict).collect())
    }

    /// The fields in which what was to be made is not what is there.
    fn differences(&self, asked: &Entry, present: &RegistryEntry) -> Vec<String> {
        let asked = self.fields_of(asked);
        let there = present.entry.as_ref().map(|record| self.fields_of(record)).unwrap_or_default();
        let names = there.keys().chain(asked.keys().filter(|name| !there.contains_key(*name)));
        names.filter(|name| asked.get(*name) != there.get(*name)).cloned().collect()
    }

    /// Why a change is refused. Where another record has the name, with every field in which the two differ.
    fn problem(&self, error: ChangeError) -> Problem {
        let ChangeError::Exists { asked, present } = &error else { return error.into() };
        let key = EntryKey::of_body(asked);
        let detail = format!("is not that of the {} {:?} that is there", key.kind(), key.name());
        let differing = self.differences(asked, present).into_iter();
        let errors =
            differing.map(|field| FieldError { field, code: Code::Conflict, detail: detail.clone() });
        Problem::of_fields(errors.collect())
    }

    /// The JSON value that is this body.
    pub(super) async fn read_object(&self, call: Call) -> Result<Value, Problem> {
        let (body, _room) = self.read_body(call, BODY_BYTES_MAX).await?;
        let read = serde_json::from_slice::<Unambiguous>(&body);
        read.map(|value| value.0).map_err(|error| Problem::new(Code::Malformed, error))
    }

    /// The same; `None` where there is no body.
    pub(super) async fn read_object_or_none(&self, call: Call) -> Result<Option<Value>, Problem> {
        let (body, _room) = self.read_body(call, BODY_BYTES_MAX).await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let read = serde_json::from_slice::<Unambiguous>(&body);
        read.map(|value| Some(value.0)).map_err(|error| Problem::new(Code::Malformed, error))
    }

    /// The change that makes the record what this body says.
    fn change(
        &self,
        key: &EntryKey,
        body: Value,
        present: Option<&RegistryEntry>,
        caller: &Caller,
    ) -> Result<Change, Problem> {
        let now = (self.intake.clock)();
        let record = match key {
            EntryKey::Program { id } => {
                let mut program = programs::new(id);
                form::read(body, "a program", |form| programs::form(form, &mut program))?;
                Entry::Program(program)
            }
            EntryKey::Referrer { program, id } => {
                let mut referrer = referrers::new(program, id);
                form::read(body, "a referrer", |form| referrers::form(form, &mut referrer))?;
                Entry::Referrer(referrer)
            }
            EntryKey::Link { program, host, code } => {
                let mut link = links::new(program, host, code);
                let scheme = self.settings.api_link_scheme;
                form::read(body, "a link", |form| links::form(form, &mut link, scheme))?;
                Entry::Link(link)
            }
            EntryKey::ApiKey { id } => {
                let Some(Entry::ApiKey(key)) = present.and_then(|entry| entry.entry.as_ref()) else {
                    // Its secret is made here, and shown once.
                    return Err(self.missing("key", id));
                };
                let mut key: ApiKey = key.clone();
                keys::read(body, &mut key, caller, now)?;
                Entry::ApiKey(key)
            }
            // Secrets are of a program that is there.
            EntryKey::Source { program, .. } | EntryKey::Endpoint { program, .. }
                if self.known_program(program).is_err() =>
            {
                return Err(self.missing("program", program));
            }
            EntryKey::Source { program, id } => {
                Entry::WebhookSource(webhooks::form::read(self, body, program, id)?)
            }
            EntryKey::Endpoint { program, id } => {
                let begins_ms = match present.and_then(|entry| entry.entry.as_ref()) {
                    Some(Entry::WebhookEndpoint(endpoint)) => endpoint.since_ms,
                    _ => now.0,
                };
                Entry::WebhookEndpoint(endpoints::read(self, body, program, id, begins_ms)?)
            }
            EntryKey::Host { .. } => return Err(Problem::new(Code::NotFound, "there is no such path")),
        };
        // What is shown alike is stored as it is: an older version may have stored it in another way.
        let is_as_shown = |there: &&Entry| self.fields_of(there) == self.fields_of(&record);
        let present = present.and_then(|entry| entry.entry.as_ref()).filter(is_as_shown).cloned();
        Ok(asked_by(caller, Change::put(present.unwrap_or(record))))
    }

    /// An entry as callers see it: its record, and what whence says of it.
    pub(super) fn view_of(&self, entry: &RegistryEntry) -> Map<String, Value> {
        let mut view = entry.entry.as_ref().map(|record| self.fields_of(record)).unwrap_or_default();
        let made_here: [Value; 3] = [
            shown_moment(entry.created_at_ms).into(),
            shown_moment(entry.changed_at_ms).into(),
            entry.version.into(),
        ];
        view.extend(MADE_HERE.map(str::to_owned).into_iter().zip(made_here));
        view
    }

    /// A record's own fields.
    fn fields_of(&self, record: &Entry) -> Map<String, Value> {
        form::shown(|form| match record.clone() {
            Entry::Program(mut program) => programs::form(form, &mut program),
            Entry::Referrer(mut referrer) => referrers::form(form, &mut referrer),
            Entry::Link(mut link) => links::form(form, &mut link, self.settings.api_link_scheme),
            Entry::ApiKey(mut key) => keys::form(form, &mut key),
            Entry::WebhookSource(mut source) => webhooks::form::form(form, &mut source),
            Entry::WebhookEndpoint(mut endpoint) => endpoints::form(form, &mut endpoint),
            Entry::HostClaim(claim) => {
                let is_case_sensitive = self.is_case_sensitive(&claim.host);
                let mut shown = HostFields { is_claimed: true, is_case_sensitive };
                self.host_form(form, &claim.program, &claim.host, &mut shown);
            }
        })
    }

    /// The key of the record that is there: of a link in another case, where that makes no difference.
    fn stored(&self, key: EntryKey) -> EntryKey {
        match key {
            EntryKey::Link { program, host, code } => {
                let stored = self.registry.shared().read().stored_code(&host, &code).map(str::to_owned);
                EntryKey::Link { program, host, code: stored.unwrap_or(code) }
            }
            key => key,
        }
    }

    /// The newest entry of a record, as its program sees it.
    pub(super) fn entry(&self, key: &EntryKey) -> Option<Arc<RegistryEntry>> {
        let state = self.registry.shared().read();
        state.seen(key).cloned()
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
}
