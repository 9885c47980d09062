//! `/v1/programs/P/endpoints`: where the program's messages are sent.

use super::{
    Api,
    auth::Scope,
    batch,
    call::Call,
    json::Fields,
    moment,
    problem::{Code, Problem},
    programs::{object, same_as_path},
    route::Page,
    write,
};
use crate::{
    registry::{Change, EntryKey},
    webhooks::check_endpoint,
};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};
use whence_runtime::http::Full;
use whence_schemas::event::WebhookEndpoint;

/// `PUT`: creates the endpoint or replaces all of it. A new one begins with what is announced from now on, or
/// from `since` on.
pub(super) async fn put(
    api: &Api,
    call: Call,
    program: String,
    id: String,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &program)?;
    api.known_program(&program)?;
    let caller = call.caller.clone();
    let body = api.read_object(call).await?;
    let present = api.registry.shared().read().endpoint(&program, &id).map(|endpoint| endpoint.since_ms);
    let begins = present.unwrap_or_else(|| (api.intake.clock)().0);
    let endpoint = write::record(body, "an endpoint", |fields| read(api, fields, program, id, begins))?;
    let entry = api.write_one(write::asked_by(&caller, Change::PutEndpoint(endpoint))).await?;
    let status = if present.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    Ok(batch::json_response(status, &api.view_of(&entry).into()))
}

fn read(api: &Api, fields: &mut Fields<'_>, program: String, id: String, begins_ms: i64) -> WebhookEndpoint {
    same_as_path(fields, "program", &program);
    same_as_path(fields, "id", &id);
    let secrets = api.webhooks.secret_names(fields, &program);
    let endpoint = WebhookEndpoint {
        program,
        id,
        url: fields.text("url").unwrap_or_default(),
        types: fields.texts("types"),
        secrets,
        since_ms: moment::field(fields, "since").map_or(begins_ms, |since| since.0),
        disabled: fields.flag("disabled").unwrap_or(false),
    };
    for mistake in check_endpoint(&endpoint, api.reach) {
        fields.errors().add(mistake.field, Code::Invalid, mistake.reason);
    }
    endpoint
}

/// `GET` of one.
pub(super) fn show(api: &Api, call: &Call, program: &str, id: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.show(&EntryKey::Endpoint { program: program.to_owned(), id: id.to_owned() }, id)
}

/// `GET` of the program's, by id.
pub(super) fn list(api: &Api, call: &Call, program: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.known_program(program)?;
    let page = Page::of(call.query.as_deref())?;
    let state = api.registry.shared().read();
    let endpoints: Vec<&WebhookEndpoint> =
        state.endpoints_after(program, &page.after, page.limit + 1).collect();
    Ok(write::page(endpoints, &page, |endpoint| endpoint.id.clone(), view))
}

/// An endpoint as callers see it.
pub(super) fn view(endpoint: &WebhookEndpoint) -> Map<String, Value> {
    object(json!({
        "program": endpoint.program,
        "id": endpoint.id,
        "url": endpoint.url,
        "types": endpoint.types,
        "secrets": endpoint.secrets,
        "since": endpoint.since_ms,
        "disabled": endpoint.disabled,
    }))
}
