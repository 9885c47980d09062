//! `POST /v1/programs/P/sources/S/dry-run`: what a payload would become. Needs an API key and no
//! signature, writes nothing. The payload is sent as the provider sends it, headers that matter included.

use super::{caller, personal, touches};
use crate::api::{
    Api,
    auth::Scope,
    batch::json_response,
    call::Call,
    events::{draft::Context, history},
    intake::WORTHLESS,
    problem::{Code, Problem},
};
use crate::webhooks::{Delivery, Provider, ProviderEvent, Translation, translate};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use std::borrow::Cow;
use whence_runtime::http::Full;
use whence_schemas::event::WebhookSource;

/// Answers with every event of the payload and what it would become.
pub(in crate::api) async fn run(
    api: &Api,
    call: Call,
    program: &str,
    id: &str,
) -> Result<Response<Full>, Problem> {
    call.caller.require_in(Scope::RegistryRead, program)?;
    let source = api.registry.shared().read().source(program, id).cloned();
    let source = source.ok_or_else(|| api.missing("source", id))?;
    let provider = Provider::of(&source.provider)
        .ok_or_else(|| Problem::new(Code::NotFound, "there is no such source"))?;
    let (headers, query) = (call.headers.clone(), call.query.clone());
    let (body, _room) = api.read_body(call, api.settings.api_body_bytes_max.as_usize()).await?;
    let delivery = Delivery {
        method: "POST",
        uri: Cow::Borrowed(""),
        query: query.as_deref(),
        headers: &headers,
        body: &body,
        now: (api.intake.clock)(),
    };
    let events = provider.events(&delivery, &source).map_err(|error| Problem::new(Code::Malformed, error))?;
    let shown: Vec<Value> = events.iter().map(|event| shown(api, &source, event, &delivery)).collect();
    Ok(json_response(StatusCode::OK, &json!({ "events": shown })))
}

fn shown(api: &Api, source: &WebhookSource, event: &ProviderEvent, delivery: &Delivery<'_>) -> Value {
    let Translation { events, unusable, without_effect, left_out } = translate(source, event, delivery.now);
    let outcome = match (events.is_empty(), unusable.is_empty()) {
        (true, true) if !without_effect.is_empty() => "without_effect",
        (true, true) => "unmapped",
        (true, false) => "unusable",
        _ => "mapped",
    };
    let unusable: Vec<Value> =
        unusable.into_iter().map(|(rule, why)| json!({ "rule": rule, "reason": why })).collect();
    let gives: Vec<Value> = events
        .into_iter()
        .map(|one| {
            let (rule, named) = (one.rule, one.touches.clone());
            let condition =
                source.rules.get(rule).and_then(|rule| Some((rule.history.as_ref()?, &rule.name)));
            let condition = condition.map(|(history, name)| history::words(history, name));
            let one = personal::told_as_alias(&api.intake, one);
            let event = touches::proved(&api.intake, one, &caller(source));
            let outcome = api.intake.check(
                event.clone(),
                &Context { is_delivery: true, ..Context::default() },
                &caller(source),
            );
            let worthless = outcome.head.get(WORTHLESS).cloned().unwrap_or_else(|| json!([]));
            let problem = outcome.result.err().map(|problem| json!(problem));
            json!({
                "rule": rule,
                "touches_found": named,
                "event": event,
                "event_id": outcome.head.get("id"),
                "worthless_touches": worthless,
                "problem": problem,
                "condition": condition,
            })
        })
        .collect();
    json!({
        "id": event.id,
        "name": event.name,
        "outcome": outcome,
        "gives": gives,
        "unusable": unusable,
        "left_out": left_out,
    })
}
