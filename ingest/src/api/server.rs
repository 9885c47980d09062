//! From a request to an answer: route, key, call. One place for the order in which a request is refused:
//! 404, 401, 405, what is wrong with the query, 403, then what is wrong with the body.

use super::{
    Api,
    auth::{self, Caller},
    call::Call,
    events, hosts, keys, lists, openapi,
    problem::{Code, Problem},
    query::Query,
    records::{self, Collection},
    request_id::RequestId,
    route::Route,
    webhooks,
};
use hyper::{Method, Request, Response, Uri, body::Incoming};
use std::sync::Arc;
use tracing::Instrument;
use whence_runtime::{
    http::{Full, Peer},
    shares::Prefix,
};

whence_metrics::declare! {
    /// Requests answered with a problem as a whole, by reason.
    counter API_PROBLEMS: "whence_api_problems_total" { code };
}

/// Answers a request. Its id is in the answer and in the log lines about it.
pub(super) async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Response<Full> {
    let id = RequestId::of(request.headers());
    // Of the severest level, so that no filter drops it from the lines that it lets through.
    let span = tracing::error_span!("request", id = id.as_str());
    let answered = handle(&api, request).instrument(span).await;
    let mut response = answered.unwrap_or_else(|problem| {
        metrics::counter!(API_PROBLEMS, "code" => problem.code.tag()).increment(1);
        problem.response()
    });
    id.put(response.headers_mut());
    response
}

async fn handle(api: &Api, request: Request<Incoming>) -> Result<Response<Full>, Problem> {
    let (head, body) = request.into_parts();
    let peer = head.extensions.get::<Peer>().expect("every request has its peer").0.ip();
    let network = api.callers.network_of(peer, &head.headers);
    let Some(route) = Route::of(head.uri.path()) else {
        return Err(api.unproved(network, Problem::new(Code::NotFound, "there is no such path")));
    };
    if route.is_public() {
        let nothing_proved = Problem::new(Code::Unauthorized, "the description was asked for too often");
        return match api.callers.unproved.take(network) {
            Ok(()) => described(&head.method, head.uri.query(), &route),
            Err(beyond) => Err(nothing_proved.limited(beyond)),
        };
    }
    let (method, uri) = (head.method.clone(), head.uri.clone());
    if let Route::Webhook(program, _) | Route::Postback(program) = &route {
        // A provider has no key: its delivery proves itself.
        let call = Call::new(Caller::of(program, &[]), network, head, body);
        return deliver(api, &method, &uri, &route, call).await;
    }
    let now = (api.intake.clock)();
    let caller = auth::authenticate(&head.headers, api.registry.as_ref(), &api.admin, &api.key_uses, now);
    let caller = caller.map_err(|problem| auth::refused(&api.callers, &head.headers, network, problem))?;
    dispatch(api, &method, route, Call::new(caller, network, head, body)).await
}

impl Api {
    /// What to answer a request with that has proved nothing and ends with `problem`.
    pub(super) fn unproved(&self, network: Prefix, problem: Problem) -> Problem {
        match self.callers.unproved.take(network) {
            Ok(()) => problem,
            Err(beyond) => problem.limited(beyond),
        }
    }
}

async fn deliver(
    api: &Api,
    method: &Method,
    uri: &Uri,
    route: &Route,
    call: Call,
) -> Result<Response<Full>, Problem> {
    match (method.as_str(), route) {
        ("POST", Route::Webhook(program, source)) => {
            webhooks::receive(api, "POST", uri, call, program, source).await
        }
        ("GET", Route::Postback(program)) => {
            webhooks::receive(api, "GET", uri, call, program, webhooks::POSTBACK).await
        }
        (_, route) => Err(api.unproved(call.network, Problem::method(route.allowed()))),
    }
}

/// What describes the API.
fn described(method: &Method, query: Option<&str>, route: &Route) -> Result<Response<Full>, Problem> {
    if ![Method::GET, Method::HEAD].contains(method) {
        return Err(Problem::method(route.allowed()));
    }
    Query::of(query, &[])?;
    match route {
        Route::Schema(name) => openapi::schema(name),
        _ => Ok(openapi::document()),
    }
}

async fn dispatch(api: &Api, method: &Method, route: Route, call: Call) -> Result<Response<Full>, Problem> {
    let is_head = method == Method::HEAD && route.has_head();
    let method = if is_head { "GET" } else { method.as_str() };
    if !route.methods().split(", ").any(|taken| taken == method) {
        return Err(Problem::method(route.allowed()));
    }
    let list = route.list().filter(|_| method == "GET");
    let query = match list {
        _ if route.has_foreign_query() => Query::default(),
        Some((kind, _)) => Query::of_list(call.query.as_deref(), kind)?,
        None => Query::of(call.query.as_deref(), &[])?,
    };
    if let Some((kind, program)) = list {
        return lists::list(api, &call, kind, program, &query);
    }
    if let Some(key) = route.record() {
        return match method {
            "GET" => records::show(api, &call, &key),
            "PUT" => records::put(api, call, key).await,
            _ => records::patch(api, call, key).await,
        };
    }
    match (method, route) {
        ("POST", Route::Events) => events::post(api, call, None, None).await,
        ("POST", Route::EventsBatch) => events::post_batch(api, call).await,
        ("POST", Route::EventsDryRun) => events::dry_run(api, call).await,
        ("POST", Route::Short { kind, program }) => events::post(api, call, Some(kind), Some(program)).await,
        ("POST", Route::Referrers(program)) => {
            records::create(api, call, Collection::Referrers(program)).await
        }
        ("POST", Route::Links(program)) => records::create(api, call, Collection::Links(program)).await,
        ("POST", Route::Keys) => keys::create(api, call).await,
        ("POST", Route::DryRun(program, id)) => webhooks::dry_run::run(api, call, &program, &id).await,
        ("GET", Route::Host(program, host)) => hosts::show(api, &call, &program, &host),
        ("PUT", Route::Host(program, host)) => hosts::put(api, call, program, host).await,
        ("PATCH", Route::Host(program, host)) => hosts::patch(api, call, program, host).await,
        ("DELETE", Route::Host(program, host)) => hosts::release(api, call, program, host).await,
        ("POST", Route::Switch(target, disabled)) => records::switch(api, &call, &target, disabled).await,
        (_, route) => Err(Problem::method(route.allowed())),
    }
}
