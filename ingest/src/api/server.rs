//! From a request to an answer: route, key, call. One place for the order in which a request is refused:
//! 404, 401, 405, 403, then what is wrong with the body.

use super::{
    Api,
    auth::{self, Caller},
    call::Call,
    endpoints, events, hosts, keys, links, openapi,
    problem::{Code, Problem},
    programs, referrers,
    route::Route,
    webhooks,
};
use hyper::{Method, Request, Response, Uri, body::Incoming};
use std::sync::Arc;
use whence_runtime::{
    http::{Full, Peer},
    shares::Prefix,
};

whence_metrics::declare! {
    /// Requests answered with a problem as a whole, by reason.
    counter API_PROBLEMS: "whence_api_problems_total" { code };
}

/// Answers a request.
pub(super) async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Response<Full> {
    handle(&api, request).await.unwrap_or_else(|problem| {
        metrics::counter!(API_PROBLEMS, "code" => problem.code.tag()).increment(1);
        problem.response()
    })
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
            Ok(()) => described(&head.method, &route),
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
        (_, route) => Err(api.unproved(call.network, Problem::method(route.methods()))),
    }
}

/// What describes the API.
fn described(method: &Method, route: &Route) -> Result<Response<Full>, Problem> {
    match (method, route) {
        (&Method::GET, Route::OpenApi) => Ok(openapi::document()),
        (&Method::GET, Route::Schema(name)) => openapi::schema(name),
        _ => Err(Problem::method(route.methods())),
    }
}

async fn dispatch(api: &Api, method: &Method, route: Route, call: Call) -> Result<Response<Full>, Problem> {
    match (method.as_str(), route) {
        ("POST", Route::Events) => events::post(api, call, None, None).await,
        ("POST", Route::Short { kind, program }) => events::post(api, call, Some(kind), Some(program)).await,
        ("GET", Route::Programs) => programs::list(api, &call),
        ("GET", Route::Program(id)) => programs::show(api, &call, &id),
        ("PUT", Route::Program(id)) => programs::put(api, call, id).await,
        ("GET", Route::Referrers(program)) => referrers::list(api, &call, &program),
        ("POST", Route::Referrers(program)) => referrers::create(api, call, program).await,
        ("GET", Route::Referrer(program, id)) => referrers::show(api, &call, &program, &id),
        ("PUT", Route::Referrer(program, id)) => referrers::put(api, call, program, id).await,
        ("GET", Route::Links(program)) => links::list(api, &call, &program),
        ("POST", Route::Links(program)) => links::create(api, call, program).await,
        ("GET", Route::Link(program, host, code)) => links::show(api, &call, &program, &host, &code),
        ("PATCH", Route::Link(program, host, code)) => links::change(api, call, program, host, code).await,
        ("GET", Route::Sources(program)) => webhooks::sources::list(api, &call, &program),
        ("GET", Route::Source(program, id)) => webhooks::sources::show(api, &call, &program, &id),
        ("PUT", Route::Source(program, id)) => webhooks::sources::put(api, call, program, id).await,
        ("POST", Route::DryRun(program, id)) => webhooks::dry_run::run(api, call, &program, &id).await,
        ("GET", Route::Endpoints(program)) => endpoints::list(api, &call, &program),
        ("GET", Route::Endpoint(program, id)) => endpoints::show(api, &call, &program, &id),
        ("PUT", Route::Endpoint(program, id)) => endpoints::put(api, call, program, id).await,
        ("GET", Route::Hosts(program)) => hosts::list(api, &call, &program),
        ("GET", Route::Host(program, host)) => hosts::show(api, &call, &program, &host),
        ("PUT", Route::Host(program, host)) => hosts::claim(api, call, program, host).await,
        ("DELETE", Route::Host(program, host)) => hosts::release(api, call, program, host).await,
        ("GET", Route::Keys) => keys::list(api, &call),
        ("POST", Route::Keys) => keys::create(api, call).await,
        ("GET", Route::Key(id)) => keys::show(api, &call, &id),
        ("POST", Route::Switch(target, disabled)) => {
            super::write::switch(api, &call, *target, disabled).await
        }
        (_, route) => Err(Problem::method(route.methods())),
    }
}
