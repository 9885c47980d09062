//! `/v1/programs`

use super::{
    Api,
    auth::Scope,
    batch,
    call::Call,
    json::Fields,
    problem::{Code, Problem},
    rewards,
    route::Page,
    write,
};
use crate::registry::{Change, EntryKey};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};
use whence_runtime::http::Full;
use whence_schemas::event::{AttributionModel, AttributionRule, ConsentMode, ExistingCustomers, Program};

/// The attribution window of a program that names none: 30 days, the field's usual.
pub const WINDOW_MS_DEFAULT: u64 = 30 * 24 * 60 * 60 * 1000;

const MODELS: [(&str, AttributionModel); 2] =
    [("last_touch", AttributionModel::LastTouch), ("first_touch", AttributionModel::FirstTouch)];
const EXISTING: [(&str, ExistingCustomers); 2] =
    [("refuse", ExistingCustomers::Refuse), ("allow", ExistingCustomers::Allow)];
const CONSENTS: [(&str, ConsentMode); 2] = [("none", ConsentMode::None), ("cookie", ConsentMode::Cookie)];

/// `PUT`: creates the program or replaces all of it; what is not named is as in a new one.
pub(super) async fn put(api: &Api, call: Call, id: String) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &id)?;
    let caller = call.caller.clone();
    let body = api.read_object(call).await?;
    let program = write::record(body, "a program", |fields| read(fields, id))?;
    let key = EntryKey::Program { id: program.id.clone() };
    let is_new = api.registry.shared().read().entry(&key).is_none();
    let entry = api.write_one(write::asked_by(&caller, Change::PutProgram(program))).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(batch::json_response(status, &api.view_of(&entry).into()))
}

fn read(fields: &mut Fields<'_>, id: String) -> Program {
    same_as_path(fields, "id", &id);
    let window_ms = fields.integer("window_ms");
    if window_ms.is_some_and(|ms| ms < 1) {
        fields.wrong("window_ms", Code::Invalid, "must be at least 1");
    }
    Program {
        id,
        name: fields.text("name").unwrap_or_default(),
        destination_hosts: fields.texts("destination_hosts"),
        fallback: fields.text("fallback").unwrap_or_default(),
        link_hosts: fields.texts("link_hosts"),
        channels: fields.texts("channels"),
        rule: Some(AttributionRule {
            model: fields.word("model", &MODELS).unwrap_or(AttributionModel::LastTouch).into(),
            window_ms: window_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(WINDOW_MS_DEFAULT),
            existing_customers: fields
                .word("existing_customers", &EXISTING)
                .unwrap_or(ExistingCustomers::Refuse)
                .into(),
        }),
        consent: fields.word("consent", &CONSENTS).unwrap_or(ConsentMode::None).into(),
        hash_lead_ids: fields.flag("hash_lead_ids").unwrap_or(false),
        disabled: fields.flag("disabled").unwrap_or(false),
        rewards: rewards::read(fields),
    }
}

/// A field may repeat what the path says, but not say otherwise.
pub(super) fn same_as_path(fields: &mut Fields<'_>, name: &str, path: &str) {
    if fields.text(name).is_some_and(|own| own != path) {
        fields.wrong(name, Code::Invalid, "does not fit the path");
    }
}

/// `GET` of one.
pub(super) fn show(api: &Api, call: &Call, id: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, id)?;
    api.show(&EntryKey::Program { id: id.to_owned() }, id)
}

/// `GET` of those that the key may see.
pub(super) fn list(api: &Api, call: &Call) -> Result<Response<Full>, Problem> {
    call.caller.require(Scope::RegistryRead)?;
    let page = Page::of(call.query.as_deref())?;
    let state = api.registry.shared().read();
    let programs: Vec<&Program> = match call.caller.program() {
        Some(own) => state.program(own).filter(|_| page.after.as_str() < own).into_iter().collect(),
        None => state.programs_after(&page.after, page.limit + 1).collect(),
    };
    Ok(write::page(programs, &page, |program| program.id.clone(), view))
}

/// A program as callers see it.
pub(super) fn view(program: &Program) -> Map<String, Value> {
    let rule = program.rule.unwrap_or_default();
    let model = MODELS.into_iter().find(|(_, model)| i32::from(*model) == rule.model).map(|(word, _)| word);
    let existing = EXISTING.into_iter().find(|(_, existing)| *existing == rule.existing_customers());
    let consent = CONSENTS.into_iter().find(|(_, mode)| i32::from(*mode) == program.consent);
    let mut view = object(json!({
        "id": program.id,
        "name": program.name,
        "destination_hosts": program.destination_hosts,
        "fallback": program.fallback,
        "link_hosts": program.link_hosts,
        "channels": program.channels,
        "model": model,
        "window_ms": rule.window_ms,
        "existing_customers": existing.map_or("refuse", |(word, _)| word),
        "consent": consent.map(|(word, _)| word),
        "hash_lead_ids": program.hash_lead_ids,
        "disabled": program.disabled,
    }));
    if let Some(terms) = &program.rewards {
        rewards::view(terms, &mut view);
    }
    view
}

/// The fields of a JSON object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
