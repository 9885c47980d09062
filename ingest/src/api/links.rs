//! `/v1/programs/P/links`

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
use crate::registry::{Change, EntryKey, LinkPatch};
use hyper::{Response, StatusCode};
use rand::RngExt;
use serde_json::{Map, Value, json};
use whence_runtime::http::Full;
use whence_schemas::event::Link;

/// Letters and digits that nobody takes for one another.
const CODE_ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// 64 bits: nobody finds a link by trying.
const CODE_CHARS: usize = 11;

/// `POST`: one or many, whose codes must be free on their hosts. Without a code, one is made up; without
/// a host, it is the first of the program's `link_hosts`.
pub(super) async fn create(api: &Api, call: Call, program: String) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &program)?;
    api.known_program(&program)?;
    let host = api.registry.shared().read().program(&program).and_then(|p| p.link_hosts.first().cloned());
    let caller = call.caller.clone();
    api.create(call, |value| {
        write::record(value, "a link", |fields| read(fields, &program, host.as_deref()))
            .map(|link| write::asked_by(&caller, Change::CreateLink(link)))
    })
    .await
}

fn read(fields: &mut Fields<'_>, program: &str, host_default: Option<&str>) -> Link {
    same_as_path(fields, "program", program);
    let host = match host_default {
        Some(host) if !fields.has("host") => host.to_owned(),
        _ => fields.required_text("host").unwrap_or_default(),
    };
    let status = status(fields).unwrap_or_default();
    Link {
        host,
        code: fields.text("code").unwrap_or_else(new_code),
        program: program.to_owned(),
        referrer: fields.required_text("referrer").unwrap_or_default(),
        channel: fields.text("channel").unwrap_or_default(),
        destination: fields.required_text("destination").unwrap_or_default(),
        expires_at_ms: moment::field(fields, "expires_at").map_or(0, |at| at.0),
        disabled: fields.flag("disabled").unwrap_or(false),
        passthrough: fields.flag("passthrough").unwrap_or(false),
        channel_override: fields.flag("channel_override").unwrap_or(false),
        test: fields.flag("test").unwrap_or(false),
        status,
    }
}

/// Out of range is 1, which the registry refuses by name.
fn status(fields: &mut Fields<'_>) -> Option<u32> {
    fields.integer("http_status").map(|status| u32::try_from(status).unwrap_or(1))
}

fn new_code() -> String {
    let mut random = rand::rng();
    (0..CODE_CHARS).map(|_| char::from(CODE_ALPHABET[random.random_range(0..CODE_ALPHABET.len())])).collect()
}

/// `PATCH`: changes what is named. `expires_at` may be `null`: never.
pub(super) async fn change(
    api: &Api,
    call: Call,
    program: String,
    host: String,
    code: String,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryWrite, &program)?;
    let caller = call.caller.clone();
    let body = api.read_object(call).await?;
    let is_for_ever = body.get("expires_at").is_some_and(Value::is_null);
    let patch = write::record(body, "a link that can be changed", |fields| LinkPatch {
        destination: fields.text("destination"),
        channel: fields.text("channel"),
        expires_at_ms: moment::field(fields, "expires_at").map(|at| at.0).or(is_for_ever.then_some(0)),
        disabled: fields.flag("disabled"),
        passthrough: fields.flag("passthrough"),
        channel_override: fields.flag("channel_override"),
        test: fields.flag("test"),
        status: status(fields),
    })?;
    let change = write::asked_by(&caller, Change::ChangeLink { program, host, code, patch });
    let entry = api.write_one(change).await?;
    Ok(batch::json_response(StatusCode::OK, &api.view_of(&entry).into()))
}

/// `GET` of one.
pub(super) fn show(
    api: &Api,
    call: &Call,
    program: &str,
    host: &str,
    code: &str,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    let key = EntryKey::Link { program: program.into(), host: host.into(), code: code.into() };
    api.show(&key, &format!("{host}/{code}"))
}

/// `GET` of the program's, by code and host. `after` is `CODE/HOST`.
pub(super) fn list(api: &Api, call: &Call, program: &str) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    api.known_program(program)?;
    let page = Page::of(call.query.as_deref())?;
    let after = match page.after.as_str() {
        "" => ("", ""),
        after => after
            .split_once('/')
            .ok_or_else(|| Problem::of_field("after", Code::Invalid, "is not what next of a page said"))?,
    };
    let state = api.registry.shared().read();
    let links: Vec<&Link> = state.links_after(program, after, page.limit + 1).collect();
    let scheme = api.settings.api_link_scheme;
    let next = |link: &Link| format!("{}/{}", link.code, link.host);
    Ok(write::page(links, &page, next, |link| view(link, scheme)))
}

/// A link as callers see it.
pub(super) fn view(link: &Link, scheme: super::LinkScheme) -> Map<String, Value> {
    object(json!({
        "program": link.program,
        "host": link.host,
        "code": link.code,
        "url": format!("{}://{}/{}", scheme.word(), link.host, link.code),
        "referrer": link.referrer,
        "channel": link.channel,
        "destination": link.destination,
        "expires_at": (link.expires_at_ms != 0).then_some(link.expires_at_ms),
        "passthrough": link.passthrough,
        "channel_override": link.channel_override,
        "test": link.test,
        "http_status": if link.status == 0 { 302 } else { link.status },
        "disabled": link.disabled,
    }))
}
