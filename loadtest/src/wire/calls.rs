//! Single requests with JSON bodies.

use super::{
    connection::{Answer, Connection, Failure},
    target::Target,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How long one call may take: ten thousand links are written at once.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer.
    #[error("{method} {path} got no answer")]
    NoAnswer {
        /// The method.
        method: Method,
        /// The path.
        path: String,
        /// Why.
        source: Failure,
    },
    /// Another answer than success.
    #[error("{method} {path} was answered with {status}: {body}")]
    Refused {
        /// The method.
        method: Method,
        /// The path.
        path: String,
        /// The answer's status.
        status: StatusCode,
        /// The beginning of its body.
        body: String,
    },
    /// An answer in another form than expected.
    #[error("{method} {path} was answered with something other than {expected}")]
    Form {
        /// The method.
        method: Method,
        /// The path.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// Sends JSON and reads JSON; any answer but 2xx is an error.
pub async fn call(
    target: &Target,
    bearer: &HeaderValue,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<Value, CallError> {
    let answer = ask(target, bearer, method.clone(), path, body).await?;
    if !answer.status.is_success() {
        let body = String::from_utf8_lossy(&answer.body).chars().take(500).collect();
        return Err(CallError::Refused { method, path: path.to_owned(), status: answer.status, body });
    }
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer.body).map_err(|_| CallError::Form {
        method,
        path: path.to_owned(),
        expected: "JSON",
    })
}

async fn ask(
    target: &Target,
    bearer: &HeaderValue,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<Answer, CallError> {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let text = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder()
        .method(method.clone())
        .uri(path)
        .header(HOST, &target.host)
        .header(AUTHORIZATION, bearer)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(text)))
        .expect("paths are made of ids");
    let exchange = async { Connection::open(target, deadline).await?.exchange(request, deadline).await };
    exchange.await.map_err(|source| CallError::NoAnswer { method, path: path.to_owned(), source })
}
