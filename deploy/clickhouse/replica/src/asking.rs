//! Statements to an engine's HTTP interface, as its owner.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// An engine and its owner's password.
#[derive(Clone)]
pub struct Engine {
    url: String,
    password: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer that came whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Engine {
    /// The one at this `http://HOST:PORT`.
    pub fn new(url: &str, password: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { url: url.to_owned(), password: password.to_owned(), client }
    }

    /// The text that a statement is answered with.
    pub async fn ask(&self, sql: &str) -> Result<String, String> {
        let answer = self.post("/", sql).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status == StatusCode::OK { Ok(text) } else { Err(text) }
    }

    /// The answer to a statement that is sent to this path.
    pub async fn post(&self, path: &str, sql: &str) -> Result<Answer, String> {
        let request = Request::post(format!("{}{path}", self.url))
            .header("x-clickhouse-user", "default")
            .header("x-clickhouse-key", &self.password)
            .body(Full::from(sql.to_owned()))
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}
