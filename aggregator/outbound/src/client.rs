//! One request to an endpoint: bounded in time and in what is read of the answer, to an address that may be called,
//! without following redirects. Connections are kept and used again; each was made to an address that was looked at.

use crate::{
    metrics::bound_met,
    sign::{SigningKey, sign},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use std::{
    error::Error,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};
use tower_service::Service;
use whence_schemas::{
    outgoing::{self, Reach},
    time::UnixMs,
};

/// What is read of an answer's body, so that its connection can be used again. A longer one costs the connection.
const BODY_BYTES_MAX: usize = 4096;
/// Connections to one endpoint that wait for a next request, and for how long.
const IDLE_MAX: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bounds of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// From the name's look-up to the last byte of the answer.
    pub timeout: Duration,
    /// Which addresses may be called.
    pub reach: Reach,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The answer's status; 0 without an answer.
    pub status: u16,
    /// What went wrong, as a fixed word; empty where the status says it all.
    pub error: &'static str,
    /// How long the endpoint wants to be left alone.
    pub asked: Option<Duration>,
}

impl Reply {
    fn failed(error: &'static str) -> Reply {
        Reply { status: 0, error, asked: None }
    }

    /// Whether the endpoint has taken it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the endpoint wants nothing any more (410).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.status == StatusCode::GONE.as_u16()
    }

    /// Whether another try soon would end the same way.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.is_gone() || matches!(self.error, "address_refused" | "bad_url")
    }

    /// Why it was not taken, as a fixed word; empty where it was.
    #[must_use]
    pub fn why(&self) -> &'static str {
        match self.error {
            "" if self.is_gone() => "gone",
            "" if !self.is_taken() => "status",
            word => word,
        }
    }
}

/// Makes requests.
#[derive(Debug)]
pub struct Caller {
    client: Client<HttpsConnector<HttpConnector<NamesWithin>>, Full<Bytes>>,
    limits: CallLimits,
}

impl Caller {
    /// A client that trusts whom the machine trusts.
    #[must_use]
    pub fn new(limits: CallLimits) -> Caller {
        let names = NamesWithin(limits.reach);
        let mut http = HttpConnector::new_with_resolver(names);
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(limits.timeout));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(https);
        Caller { client, limits }
    }

    /// Posts a JSON body under this id, signed by these keys as at `at`, as the Standard Webhooks specification
    /// has it.
    pub async fn post(&self, url: &str, keys: &[SigningKey], id: &str, at: UnixMs, body: Bytes) -> Reply {
        // A name is looked at again when it is resolved; an address in the URL is not resolved.
        if outgoing::check(url, self.limits.reach).is_err() {
            return Reply::failed("address_refused");
        }
        let Ok(url) = url.parse::<Uri>() else { return Reply::failed("bad_url") };
        let headers = headers(keys, id, at, &body);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = url;
        *request.headers_mut() = headers;
        match tokio::time::timeout(self.limits.timeout, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Reply::failed("timeout"),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Reply {
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => return Reply::failed(word(&error)),
        };
        let status = response.status();
        let asked = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            .then(|| retry_after(response.headers()))
            .flatten();
        // Whatever it says: to have been read is all that is wanted of it.
        let read = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        if read.is_err_and(|error| error.is::<LengthLimitError>()) {
            bound_met("answer_bytes");
        }
        let error = if status.is_redirection() { "redirect" } else { "" };
        Reply { status: status.as_u16(), error, asked }
    }
}

/// TLS with the root certificates of this machine, which its operator keeps up to date and can add to. Without any,
/// whence works all the same: only calls over https fail.
fn tls() -> ClientConfig {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("this machine has no root certificates: endpoints can't be called over https");
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The headers of a signed message.
fn headers(keys: &[SigningKey], id: &str, at: UnixMs, body: &[u8]) -> HeaderMap {
    let seconds = at.0.div_euclid(1000);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static("whence"));
    let mut put = |name: &'static str, value: String| {
        let value = HeaderValue::try_from(value).expect("ids, digits and Base64 are visible ASCII");
        headers.insert(name, value);
    };
    put("webhook-id", id.to_owned());
    put("webhook-timestamp", seconds.to_string());
    put("webhook-signature", sign(keys, id, seconds, body));
    headers
}

/// `Retry-After` in seconds. One that is a date is left out: it would need the endpoint's clock to be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Why no answer came, in a word. The error's own text may name the URL.
fn word(error: &hyper_util::client::legacy::Error) -> &'static str {
    let mut cause = error.source();
    while let Some(current) = cause {
        let inner = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if current.is::<Refused>() || inner.is_some_and(|inner| inner.is::<Refused>()) {
            return "address_refused";
        }
        if current.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return "tls";
        }
        cause = current.source();
    }
    if error.is_connect() { "connect" } else { "connection" }
}

/// All of a name's addresses are of networks that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("the name's addresses are none of the public Internet")]
struct Refused;

/// Resolves names as the machine does, and leaves out addresses that may not be called.
#[derive(Clone, Copy, Debug)]
struct NamesWithin(Reach);

impl Service<Name> for NamesWithin {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let NamesWithin(reach) = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let is_known = !found.is_empty();
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|address| reach.covers(address.ip())).collect();
            match allowed.is_empty() && is_known {
                true => Err(io::Error::other(Refused)),
                false => Ok(allowed.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_refused_whatever_the_name() {
        let resolve = async |reach| NamesWithin(reach).call("localhost".parse().unwrap()).await;
        let refused = resolve(Reach::Public).await.unwrap_err();
        assert!(refused.get_ref().is_some_and(|inner| inner.is::<Refused>()), "{refused}");
        assert!(resolve(Reach::Private).await.unwrap().count() > 0);
    }
}
