//! The operator's port: `/livez`, `/readyz`, `/metrics`. Shows [`health`](crate::health) and
//! [`telemetry`](crate::telemetry), decides nothing.
//!
//! Serve it until the last stage of a shutdown, so that a draining process says so instead of vanishing.

use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::http::{Drained, Full, Limits, empty, full, serve_http};
use crate::telemetry::Metrics;

crate::settings! {
    /// Operations
    pub struct AdminSettings {
        /// Address for `/livez`, `/readyz` and `/metrics`; keep it inside your network.
        pub admin_listen: SocketAddr = "127.0.0.1:9600",
    }
}

/// A handful of scrapers and probes; more is a mistake somewhere. Nobody else's connections take these places.
pub const CONNECTIONS_MAX: usize = 32;

/// The exposition format's own type, with the version Prometheus asks for.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Serves the three paths until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Drained {
    let limits = Limits { connections_max: CONNECTIONS_MAX, ..Limits::named("admin") };
    let handler = move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &health, &metrics);
        std::future::ready(response)
    };
    serve_http(listener, limits, handler, shutdown).await
}

fn answer(method: &Method, path: &str, health: &Health, metrics: &Metrics) -> Response<Full> {
    if !matches!(path, "/livez" | "/readyz" | "/metrics") {
        return status(StatusCode::NOT_FOUND);
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/livez" => {
            let liveness = health.liveness();
            verdict(liveness.live, &liveness)
        }
        "/readyz" => {
            let readiness = health.readiness();
            verdict(readiness.ready, &readiness)
        }
        _ => typed(StatusCode::OK, EXPOSITION, metrics.render()),
    }
}

fn verdict(good: bool, report: &impl Serialize) -> Response<Full> {
    let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_vec(report).expect("reports are structs of text and numbers");
    typed(code, JSON, body)
}

fn typed(code: StatusCode, content_type: HeaderValue, body: impl Into<bytes::Bytes>) -> Response<Full> {
    let mut response = Response::new(full(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn status(code: StatusCode) -> Response<Full> {
    let mut response = Response::new(empty());
    *response.status_mut() = code;
    response
}
