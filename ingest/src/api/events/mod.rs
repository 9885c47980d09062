//! Events on their way in: read ([`draft`], of forms [`urlencoded`]), resolved against the registry ([`resolve`]).

pub mod digest;
pub mod draft;
pub mod history;
pub mod kind;
pub use whence_schemas::money;
pub mod resolve;
pub mod urlencoded;

use super::{
    Api,
    auth::Caller,
    batch::{self, Body, Outcome},
    call::Call,
    problem::{Code, Problem},
};
use draft::Context;
use hyper::{Response, StatusCode, header::CONTENT_TYPE};
use kind::Kind;
use serde_json::Value;
use tokio::sync::SemaphorePermit;
use whence_runtime::http::Full;

/// `POST /v1/events`, and its short forms, which name kind and program in the path.
pub(super) async fn post(
    api: &Api,
    call: Call,
    kind: Option<Kind>,
    program: Option<String>,
) -> Result<Response<Full>, Problem> {
    authorize(api, &call.caller, kind, program.as_deref())?;
    let key = idempotency_key(&call)?;
    let context = Context { kind, program, key, ..Context::default() };
    let caller = call.caller.clone();
    let content_type =
        call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (body, _room) = api.read_body(call, api.settings.api_body_bytes_max.as_usize()).await?;
    let is_form = kind.is_some() && urlencoded::is_form(content_type.as_deref(), &body);
    let sent = match is_form {
        true => Body::One(urlencoded::read(&body)?),
        false => batch::split(content_type.as_deref(), &body, api.settings.api_events_max)?,
    };
    match sent {
        Body::One(event) => {
            let outcome = api.intake.take(vec![Ok(event)], &context, &caller).await.swap_remove(0);
            Ok(batch::answer_one(outcome, StatusCode::ACCEPTED))
        }
        Body::Many(events) => take_many(api, events, &context, &caller).await,
    }
}

/// `POST /v1/events/batch`: the same for a list, of which each event has its outcome. One alone is a list of one.
pub(super) async fn post_batch(api: &Api, call: Call) -> Result<Response<Full>, Problem> {
    authorize(api, &call.caller, None, None)?;
    let (context, caller) =
        (Context { key: idempotency_key(&call)?, ..Context::default() }, call.caller.clone());
    let (events, _room) = read_many(api, call).await?;
    take_many(api, events, &context, &caller).await
}

async fn take_many(
    api: &Api,
    events: Vec<Result<Value, Problem>>,
    context: &Context,
    caller: &Caller,
) -> Result<Response<Full>, Problem> {
    if context.key.is_some() {
        let detail = "the header Idempotency-Key is for a single event; give each event of a batch an id";
        return Err(Problem::new(Code::Invalid, detail));
    }
    let outcomes = api.intake.take(events, context, caller).await;
    Ok(batch::answer_many(outcomes, StatusCode::ACCEPTED, &["accepted"]))
}

/// The events of a body, however many it has, and the room that they take until they are done with.
async fn read_many(
    api: &Api,
    call: Call,
) -> Result<(Vec<Result<Value, Problem>>, SemaphorePermit<'_>), Problem> {
    let content_type =
        call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (body, room) = api.read_body(call, api.settings.api_body_bytes_max.as_usize()).await?;
    let events = match batch::split(content_type.as_deref(), &body, api.settings.api_events_max)? {
        Body::One(event) => vec![Ok(event)],
        Body::Many(events) => events,
    };
    Ok((events, room))
}

/// `POST /v1/events/dry-run`: what would become of each event now. Writes nothing.
pub(super) async fn dry_run(api: &Api, call: Call) -> Result<Response<Full>, Problem> {
    authorize(api, &call.caller, None, None)?;
    let (context, caller) = (Context::default(), call.caller.clone());
    let (events, _room) = read_many(api, call).await?;
    let outcomes = events.into_iter().map(|event| match event {
        Ok(event) => api.intake.check(event, &context, &caller),
        Err(problem) => Outcome::refused(problem),
    });
    Ok(batch::answer_dry_run(outcomes))
}

/// What can be told without the body. Each event is looked at again: see [`resolve`].
fn authorize(api: &Api, caller: &Caller, kind: Option<Kind>, program: Option<&str>) -> Result<(), Problem> {
    match kind {
        Some(kind) => caller.require(kind.scope())?,
        None => caller.require_any(&Kind::ALL.map(Kind::scope))?,
    }
    let Some(program) = program else { return Ok(()) };
    caller.require_program(program)?;
    api.known_program(program)
}

/// The draft standard has the key in quotation marks, which most clients leave out.
fn idempotency_key(call: &Call) -> Result<Option<String>, Problem> {
    let Some(header) = call.headers.get("idempotency-key") else { return Ok(None) };
    let key = header.to_str().map_err(|_| {
        Problem::new(Code::Invalid, "the header Idempotency-Key must be made of visible ASCII characters")
    })?;
    let unquoted = key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Ok(Some(unquoted.unwrap_or(key).to_owned()))
}
