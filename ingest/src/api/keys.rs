//! `/v1/keys`: for keys of all programs only. A key is for one program, or for all of them where that is asked for.

use super::{
    Api,
    auth::Scope,
    batch,
    call::Call,
    json::Fields,
    key_text::new_key,
    moment,
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
use whence_schemas::{
    event::ApiKey,
    ids::ProgramId,
    time::{self, UnixMs},
};

/// `POST`: makes a key. The answer is the only time that it is shown.
pub(super) async fn create(api: &Api, call: Call) -> Result<Response<Full>, Problem> {
    call.caller.require_everywhere(Scope::RegistryWrite)?;
    let caller = call.caller.clone();
    let body = api.read_object(call).await?;
    let now = (api.intake.clock)();
    let asked = write::record(body, "a key", |fields| read(fields, now))?;
    // Nobody gives away more than they have.
    let beyond = Scope::ALL
        .into_iter()
        .find(|scope| asked.scopes.iter().any(|s| s == scope.word()) && !caller.has(*scope));
    if let Some(scope) = beyond {
        let detail = format_args!("has {}, which your key has not", scope.word());
        return Err(Problem::of_field("scopes", Code::Forbidden, detail));
    }
    let new = new_key();
    let key = ApiKey { id: new.id, hash: bytes::Bytes::copy_from_slice(&new.hash), ..asked };
    let entry = api.write_one(Change::CreateKey(key)).await?;
    let mut view = api.view_of(&entry);
    view.insert("key".into(), new.key.expose_secret().into());
    Ok(batch::json_response(StatusCode::CREATED, &view.into()))
}

/// What a body asks for. A key of everything comes of no slip: an empty or missing variable of a script asks for none.
fn read(fields: &mut Fields<'_>, now: UnixMs) -> ApiKey {
    let is_for_all = fields.flag("all_programs").unwrap_or(false);
    let program = match (fields.has("program"), is_for_all) {
        (true, true) => {
            fields.text("program");
            fields.wrong("program", Code::Invalid, "must be left out with all_programs");
            None
        }
        (true, false) => fields.text("program"),
        (false, true) => None,
        (false, false) => {
            let reason =
                "is missing: name the key's program, or ask for all of them with \"all_programs\": true";
            fields.wrong("program", Code::Required, reason);
            None
        }
    };
    if program.as_deref().is_some_and(|program| program.parse::<ProgramId>().is_err()) {
        fields.wrong("program", Code::Invalid, "is no program's id");
    }
    let expires_at = moment::field(fields, "expires_at");
    if expires_at.is_some_and(|at| at <= now) {
        fields.wrong("expires_at", Code::Invalid, "has passed");
    }
    ApiKey {
        program: program.unwrap_or_default(),
        scopes: fields.texts("scopes"),
        name: fields.text("name").unwrap_or_default(),
        expires_at_ms: expires_at.map_or(0, |at| at.0),
        ..ApiKey::default()
    }
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
        "name": key.name,
        "program": program,
        "all_programs": program.is_none(),
        "scopes": key.scopes,
        "expires_at": (key.expires_at_ms != 0).then_some(key.expires_at_ms),
        "last_used_on": (key.last_used_day != 0).then(|| time::day_text(key.last_used_day)),
        "disabled": key.disabled,
    }))
}
