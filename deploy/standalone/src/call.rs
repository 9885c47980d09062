//! Calls of parts of whence that run elsewhere: over http or https, bounded in time and size, without following
//! redirects, and without the proxies of this process's environment.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;
use whence_runtime::tls::{self, Names, TlsError, TlsFiles};

use crate::chain::chain;

/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// What words about certificates name.
const NAMES: Names = Names { authorities: "call-ca-file", identity: None };

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not an address that can be called. It is not shown: it may have a password in it.
    #[error("not an address such as http://127.0.0.1:8080 or https://api.example, without user and password")]
    Address,
    /// The authorities of its certificate can't be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody listens there, it is not trusted, it took too long, or the connection broke.
    #[error("{address} does not answer: {why}")]
    Connection {
        /// Who was called.
        address: String,
        /// Why, and what to do.
        why: String,
        /// Whether the same call ends the same way until something is changed.
        is_final: bool,
    },
}

impl CallError {
    /// Whether another try would end the same way.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Address | Self::Tls(_) => true,
            Self::Connection { is_final, .. } => *is_final,
        }
    }
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
    /// The body as JSON, `null` where it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A part of whence that can be called.
#[derive(Debug)]
pub struct Part {
    /// Without a `/` at its end.
    address: String,
    client: Client,
}

impl Part {
    /// The part at `base`, such as `http://127.0.0.1:8080` or `https://api.example/whence`.
    ///
    /// # Errors
    /// The text is not such an address, or the file of trusted authorities can't be read.
    pub fn at(base: &str, files: &TlsFiles) -> Result<Self, CallError> {
        let url: Url = base.parse().map_err(|_| CallError::Address)?;
        let is_http = ["http", "https"].contains(&url.scheme()) && url.host().is_some();
        let is_bare = url.username().is_empty() && url.password().is_none();
        if !is_http || !is_bare || url.query().is_some() || url.fragment().is_some() {
            return Err(CallError::Address);
        }
        let tls = match url.scheme() {
            "https" => tls::client(files)?,
            _ => tls::unused(),
        };
        let client = Client::builder()
            .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(CALL_MAX)
            .build()
            .expect("the TLS that it is given is rustls's, and nothing else can fail");
        Ok(Self { address: url.as_str().trim_end_matches('/').to_owned(), client })
    }

    /// Calls it with these headers; `Host` is the address's unless it is among them.
    ///
    /// # Errors
    /// See [`CallError`]. Every status is an answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<&Value>,
    ) -> Result<Answer, CallError> {
        let mut request = self.client.request(method, format!("{}{path}", self.address));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answered = async { read(request.send().await?).await };
        answered.await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &Failed) -> CallError {
        let (why, is_final) = match error {
            Failed::TooLarge => (format!("its answer is larger than {ANSWER_BYTES_MAX} bytes"), false),
            Failed::Call(error) if error.is_timeout() => {
                (format!("nothing came within {} s", CALL_MAX.as_secs()), false)
            }
            Failed::Call(error) => match tls::cause(error, NAMES) {
                Some(cause) => (cause.text, cause.is_final),
                // The error's own text has the URL, its causes have not.
                None => (error.source().map_or_else(|| "the call failed".to_owned(), chain), false),
            },
        };
        CallError::Connection { address: self.address.clone(), why, is_final }
    }
}

enum Failed {
    Call(reqwest::Error),
    TooLarge,
}

impl From<reqwest::Error> for Failed {
    fn from(error: reqwest::Error) -> Self {
        Self::Call(error)
    }
}

async fn read(mut response: Response) -> Result<Answer, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failed::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), headers: response.headers().clone(), body: body.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_a_password_or_without_a_host_are_refused_and_not_shown() {
        let at = |base: &str| Part::at(base, &TlsFiles::default());
        for base in ["http://127.0.0.1:8080", "https://api.example/whence/", "http://[::1]:1"] {
            at(base).unwrap_or_else(|error| panic!("{base}: {error}"));
        }
        for base in
            ["api.example", "ftp://api.example", "http://ann:hunter2@api", "http://a/?x=1", "", "http://"]
        {
            let error = at(base).unwrap_err();
            assert!(matches!(error, CallError::Address) && !error.to_string().contains("hunter2"), "{base}");
        }
    }
}
