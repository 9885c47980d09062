//! `/v1/programs/P/referrers`

use super::{
    Api,
    auth::Scope,
    batch,
    call::Call,
    json::Fields,
    problem::Problem,
    programs::{object, same_as_path},
    route::Page,
    write,
};
use crate::registry::{Change, EntryKey};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};
use whence_runtime::http::Full;
use whence_schemas::event::Referrer;

/// `POST`: one or many, whose ids must be free.
pub(super) async fn create(api: &Api, call: Call, program: String) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &program)?;
    api.known_program(&program)?;
    api.create(call, |value| {
        write::record(value, "a referrer", |fields| {
            let id = fields.required_text("id").unwrap_or_default();
            read(fields, &program, id)
        })
        .map(Change::CreateReferrer)
    })
    .await
}

/// `PUT`: creates the referrer or replaces all of it.
pub(super) async fn put(
    api: &Api,
    call: Call,
    program: String,
    id: String,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &program)?;
    let body = api.read_object(call).await?;
    let referrer = write::record(body, "a referrer", |fields| {
        same_as_path(fields, "id", &id);
        read(fields, &program, id)
    })?;
    let is_new = api.registry.shared().read().referrer(&referrer.program, &referrer.id).is_none();
    let entry = api.write_one(Change::PutReferrer(referrer)).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(batch::json_response(status, &api.view_of(&entry).into()))
}

fn read(fields: &mut Fields<'_>, program: &str, id: String) -> Referrer {
    same_as_path(fields, "program", program);
    Referrer {
        program: program.to_owned(),
        id,
        name: fields.text("name").unwrap_or_default(),
        disabled: fields.flag("disabled").unwrap_or(false),
    }
}

/// `GET` of one.
pub(super) fn show(api: &Api, call: &Call, program: &str, id: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.show(&EntryKey::Referrer { program: program.to_owned(), id: id.to_owned() }, id)
}

/// `GET` of the program's, by id.
pub(super) fn list(api: &Api, call: &Call, program: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.known_program(program)?;
    let page = Page::of(call.query.as_deref())?;
    let state = api.registry.shared().read();
    let referrers: Vec<&Referrer> = state.referrers_after(program, &page.after, page.limit + 1).collect();
    Ok(write::page(referrers, &page, |referrer| referrer.id.clone(), view))
}

/// A referrer as callers see it.
pub(super) fn view(referrer: &Referrer) -> Map<String, Value> {
    object(json!({
        "program": referrer.program,
        "id": referrer.id,
        "name": referrer.name,
        "disabled": referrer.disabled,
    }))
}
