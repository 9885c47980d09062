//! From a request to an answer: route, key, call. One place for the order in which a request is refused:
//! 404, 401, 405, 403, then what is wrong with the body.

use super::{
    Api,
    auth::{self, Caller},
    endpoints, events, keys, links, openapi,
    problem::{Code, Problem},
    programs, referrers,
    route::Route,
    webhooks,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Request, Response, Uri,
    body::{Body as _, Incoming},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::SemaphorePermit, time::timeout};
use whence_runtime::http::{BodyError, Full, read_body};

/// A body that takes longer is given up: callers are servers, not phones.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for senders that have proved nothing yet.
const UNPROVED_TIMEOUT: Duration = Duration::from_secs(10);
/// What a place among the bodies in memory stands for.
const ROOM_UNIT: usize = 1024;

/// A request whose sender is known.
pub(super) struct Call {
    /// Who.
    pub caller: Caller,
    /// The query, undecoded.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
}

impl Call {
    /// Bytes that the body is to have, where that is declared.
    pub(super) fn declared_bytes(&self) -> Option<usize> {
        self.body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok())
    }
}

/// Answers a request.
pub(super) async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Response<Full> {
    handle(&api, request).await.unwrap_or_else(|problem| {
        metrics::counter!("whence_api_problems_total", "code" => problem.code.tag()).increment(1);
        problem.response()
    })
}

async fn handle(api: &Api, request: Request<Incoming>) -> Result<Response<Full>, Problem> {
    let (head, body) = request.into_parts();
    let route =
        Route::of(head.uri.path()).ok_or_else(|| Problem::new(Code::NotFound, "there is no such path"))?;
    if route.is_public() {
        return described(&head.method, &route);
    }
    let query = head.uri.query().map(str::to_owned);
    if let Route::Webhook(program, _) | Route::Postback(program) = &route {
        // A provider has no key: its delivery proves itself.
        let call = Call { caller: Caller::of(program, &[]), query, headers: head.headers, body };
        return deliver(api, &head.method, &head.uri, &route, call).await;
    }
    let caller = auth::authenticate(&head.headers, api.registry.as_ref(), &api.admin)?;
    let call = Call { caller, query, headers: head.headers, body };
    dispatch(api, &head.method, route, call).await
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
        (_, route) => Err(Problem::method(route.methods())),
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
        ("GET", Route::Keys) => keys::list(api, &call),
        ("POST", Route::Keys) => keys::create(api, call).await,
        ("GET", Route::Key(id)) => keys::show(api, &call, &id),
        ("POST", Route::Switch(target, disabled)) => {
            super::write::switch(api, &call, *target, disabled).await
        }
        (_, route) => Err(Problem::method(route.methods())),
    }
}

impl Api {
    /// The body, and the room it takes among all bodies in memory: keep that for as long as the body.
    pub(super) async fn read_body(
        &self,
        call: Call,
        bytes_max: usize,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Problem> {
        let bytes = call.declared_bytes().map_or(bytes_max, |bytes| bytes.min(bytes_max));
        let units = u32::try_from(bytes.div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX);
        let room = self.room.try_acquire_many(units).map_err(|_| busy())?;
        Ok((read_body(call.body, bytes_max, BODY_TIMEOUT).await?, room))
    }

    /// The body of a sender that has proved nothing yet, and its room among all such bodies. Room is taken
    /// for what has arrived: a length that is only declared takes none.
    pub(super) async fn read_unproved_body(
        &self,
        call: Call,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Problem> {
        let bytes_max = self.settings.api_body_bytes_max.as_usize();
        let mut body = call.body;
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(BodyError::TooLarge { bytes_max }.into());
        }
        let reading = async {
            let mut bytes = BytesMut::new();
            let mut room = self.unproved_room.try_acquire_many(0).map_err(|_| busy())?;
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|error| BodyError::Broken(error.into()))?.into_data() else {
                    continue;
                };
                let len = bytes.len() + data.len();
                if len > bytes_max {
                    return Err(BodyError::TooLarge { bytes_max }.into());
                }
                let missing = Self::room_for(len).saturating_sub(room.num_permits());
                let missing = u32::try_from(missing).unwrap_or(u32::MAX);
                room.merge(self.unproved_room.try_acquire_many(missing).map_err(|_| busy())?);
                bytes.extend_from_slice(&data);
            }
            Ok((bytes.freeze(), room))
        };
        let limit = UNPROVED_TIMEOUT;
        timeout(limit, reading).await.unwrap_or_else(|_| Err(BodyError::TooSlow { limit }.into()))
    }

    /// Places for this many bytes of bodies.
    pub(super) fn room_for(bytes: usize) -> usize {
        bytes.div_ceil(ROOM_UNIT)
    }
}

fn busy() -> Problem {
    Problem::new(Code::Busy, "too many requests are being read at the moment")
}
