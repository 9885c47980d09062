//! `/v1/keys`: for keys of all programs only.

use super::{
    Api,
    auth::{self, Scope},
    batch,
    call::Call,
    problem::{Code, Problem},
    programs::object,
    route::Page,
    write,
};
use crate::registry::{Change, EntryKey};
use hyper::{Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use whence_runtime::http::Full;
use whence_schemas::event::ApiKey;

/// `POST`: makes a key. The answer is the only time that it is shown.
pub(super) async fn create(api: &Api, call: Call) -> Result<Response<Full>, Problem> {
    call.caller.require_everywhere(Scope::RegistryWrite)?;
    let caller = call.caller.clone();
    let body = api.read_object(call).await?;
    let (program, scopes) = write::record(body, "a key", |fields| {
        let program = fields.text("program");
        // An empty variable of a script must not make a key of everything.
        if program.as_deref() == Some("") {
            fields.wrong("program", Code::Invalid, "is empty; a key without one is for all programs");
        }
        (program.unwrap_or_default(), fields.texts("scopes"))
    })?;
    // Nobody gives away more than they have.
    let beyond =
        Scope::ALL.into_iter().find(|scope| scopes.iter().any(|s| s == scope.word()) && !caller.has(*scope));
    if let Some(scope) = beyond {
        let detail = format_args!("has {}, which your key has not", scope.word());
        return Err(Problem::of_field("scopes", Code::Forbidden, detail));
    }
    let new = auth::new_key();
    let key = ApiKey {
        id: new.id,
        hash: bytes::Bytes::copy_from_slice(&new.hash),
        program,
        scopes,
        disabled: false,
    };
    let entry = api.write_one(Change::CreateKey(key)).await?;
    let mut view = api.view_of(&entry);
    view.insert("key".into(), new.key.expose_secret().into());
    Ok(batch::json_response(StatusCode::CREATED, &view.into()))
}

/// `GET` of one.
pub(super) fn show(api: &Api, call: &Call, id: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_everywhere(Scope::RegistryRead)?;
    api.show(&EntryKey::ApiKey { id: id.to_owned() }, id)
}

/// `GET` of all, by id.
pub(super) fn list(api: &Api, call: &Call) -> Result<Response<Full>, Problem> {
    call.caller.require_everywhere(Scope::RegistryRead)?;
    let page = Page::of(call.query.as_deref())?;
    let state = api.registry.shared().read();
    let keys: Vec<&ApiKey> = state.keys_after(&page.after, page.limit + 1).collect();
    Ok(write::page(keys, &page, |key| key.id.clone(), view))
}

/// A key as callers see it: never its hash.
pub(super) fn view(key: &ApiKey) -> Map<String, Value> {
    let program = (!key.program.is_empty()).then_some(key.program.as_str());
    object(json!({
        "id": key.id,
        "program": program,
        "scopes": key.scopes,
        "disabled": key.disabled,
    }))
}
