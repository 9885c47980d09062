//! One HTTP call to a part of whence that runs: plain HTTP, a connection of its own, bounded in time and
//! size.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not an address that can be called.
    #[error("{0} is not an address such as http://127.0.0.1:8080")]
    Address(String),
    /// Nobody listens there, or the connection broke.
    #[error("{address} does not answer")]
    Connection {
        /// Who was called.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{0} did not answer within {CALL_MAX:?}")]
    TimedOut(String),
}

/// An answer.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON, `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Calls `base`, such as `http://127.0.0.1:8080`, with these headers; `Host` is the base's unless it is
/// among them.
///
/// # Errors
/// See [`CallError`]. Every status is an answer.
pub async fn call(
    base: &str,
    method: Method,
    path: &str,
    headers: &[(HeaderName, HeaderValue)],
    body: Option<&Value>,
) -> Result<Answer, CallError> {
    let address = || CallError::Address(base.to_owned());
    let uri: Uri = base.parse().map_err(|_| address())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(address)?;
    let to = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let body_bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let mut request = Request::new(Full::new(body_bytes));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| address())?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| address())?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if body.is_some() {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    match timeout(CALL_MAX, exchange(to, request)).await {
        Ok(answered) => answered.map_err(|source| CallError::Connection { address: base.to_owned(), source }),
        Err(_) => Err(CallError::TimedOut(base.to_owned())),
    }
}

async fn exchange(
    to: (&str, u16),
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => return answer,
        ended = &mut connection => ended?,
    }
    // The connection has read it all.
    exchange.await
}
