//! `/v1/programs/P/sources`

use super::{read, view};
use crate::api::{Api, auth::Scope, batch, call::Call, problem::Problem, route::Page, write};
use crate::registry::{Change, EntryKey};
use hyper::{Response, StatusCode};
use whence_runtime::http::Full;
use whence_schemas::event::WebhookSource;

/// `PUT`: creates the source or replaces all of it. Without `rules` it has the provider's built-in ones,
/// which are stored like others: a later version of whence changes nothing.
pub(in crate::api) async fn put(
    api: &Api,
    call: Call,
    program: String,
    id: String,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &program)?;
    api.known_program(&program)?;
    let caller = call.caller.clone();
    let body = api.read_object(call).await?;
    let source = write::record(body, "a source", |fields| {
        read::source(fields, program, id, |fields, program| api.webhooks.secret_names(fields, program))
    })?;
    let key = EntryKey::Source { program: source.program.clone(), id: source.id.clone() };
    let is_new = api.registry.shared().read().entry(&key).is_none();
    let entry = api.write_one(write::asked_by(&caller, Change::PutSource(source))).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(batch::json_response(status, &api.view_of(&entry).into()))
}

/// `GET` of one.
pub(in crate::api) fn show(
    api: &Api,
    call: &Call,
    program: &str,
    id: &str,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.show(&EntryKey::Source { program: program.to_owned(), id: id.to_owned() }, id)
}

/// `GET` of the program's, by id.
pub(in crate::api) fn list(api: &Api, call: &Call, program: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.known_program(program)?;
    let page = Page::of(call.query.as_deref())?;
    let state = api.registry.shared().read();
    let sources: Vec<&WebhookSource> = state.sources_after(program, &page.after, page.limit + 1).collect();
    Ok(write::page(sources, &page, |source| source.id.clone(), view::source))
}
