//! One request to an endpoint: bounded in time and in what is read of the answer, to an address that may be called,
//! without following redirects. Connections are kept and used again; each was made to an address that was looked at.

use crate::{
    metrics::bound_met,
    sign::{SigningKey, sign},
};
use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use reqwest::{
    Client, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use std::{error::Error, io, net::SocketAddr, sync::Arc, time::Duration};
use url::Host;
use whence_runtime::tls::{self, TlsFiles};
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
    /// How long the endpoint asks to wait (`Retry-After`).
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

    /// Whether the endpoint accepts no more messages (410).
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
    client: Client,
    limits: CallLimits,
}

impl Caller {
    /// A client with the machine's trust store that calls by itself whatever proxies this process's environment
    /// names: they would be called in place of the address that was looked at.
    ///
    /// # Panics
    /// Never: what it is made of is there.
    #[must_use]
    pub fn new(limits: CallLimits) -> Caller {
        let tls = tls::client(&TlsFiles::default()).expect("no file is read that could be wrong");
        let client = Client::builder()
            .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
            .dns_resolver(NamesWithin(limits.reach))
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(limits.timeout)
            .timeout(limits.timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build()
            .expect("the TLS that it is given is rustls's, and nothing else can fail");
        Caller { client, limits }
    }

    /// Posts a JSON body under this id, signed by these keys as at `at`, as the Standard Webhooks specification
    /// has it.
    pub async fn post(&self, url: &str, keys: &[SigningKey], id: &str, at: UnixMs, body: Bytes) -> Reply {
        // A name is looked at again when it is resolved; an address in the URL is not resolved.
        if outgoing::check(url, self.limits.reach).is_err() {
            return Reply::failed("address_refused");
        }
        let Ok(url) = url.parse::<Url>() else { return Reply::failed("bad_url") };
        // The parser of URLs makes addresses of what others take for a name, such as `0x7f.1`.
        if !self.limits.covers(&url) {
            return Reply::failed("address_refused");
        }
        let headers = headers(keys, id, at, &body);
        match self.client.post(url).headers(headers).body(body).send().await {
            Ok(response) => self.reply(response).await,
            Err(error) => Reply::failed(word(&error)),
        }
    }

    async fn reply(&self, mut response: Response) -> Reply {
        let status = response.status();
        let asked = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            .then(|| retry_after(response.headers()))
            .flatten();
        // Whatever it says: to have been read is all that is wanted of it.
        let mut read = 0;
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => read += chunk.len(),
                Err(error) if error.is_timeout() => return Reply::failed("timeout"),
                Ok(None) | Err(_) => break,
            }
            if read > BODY_BYTES_MAX {
                bound_met("answer_bytes");
                break;
            }
        }
        let error = if status.is_redirection() { "redirect" } else { "" };
        Reply { status: status.as_u16(), error, asked }
    }
}

impl CallLimits {
    /// Whether an address in the URL may be called; names are looked at when they are resolved.
    fn covers(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Ipv4(address)) => self.reach.covers(address.into()),
            Some(Host::Ipv6(address)) => self.reach.covers(address.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        }
    }
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
fn word(error: &reqwest::Error) -> &'static str {
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
    match () {
        () if error.is_timeout() => "timeout",
        () if error.is_connect() => "connect",
        () => "connection",
    }
}

/// All of a name's addresses are of networks that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("none of the name's addresses is on the public Internet")]
struct Refused;

/// Resolves names as the machine does, and leaves out addresses that may not be called. What it gives is what is
/// called: nobody looks the name up again.
#[derive(Clone, Copy, Debug)]
struct NamesWithin(Reach);

impl Resolve for NamesWithin {
    fn resolve(&self, name: Name) -> Resolving {
        let NamesWithin(reach) = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let is_known = !found.is_empty();
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|address| reach.covers(address.ip())).collect();
            match allowed.is_empty() && is_known {
                true => Err(Refused.into()),
                false => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_refused_whatever_the_name() {
        let resolve = async |reach| NamesWithin(reach).resolve("localhost".parse().unwrap()).await;
        let refused = resolve(Reach::Public).await.map(|_| ()).unwrap_err();
        assert!(refused.is::<Refused>(), "{refused}");
        assert!(resolve(Reach::Private).await.unwrap().count() > 0);
    }

    #[tokio::test]
    async fn an_address_is_refused_however_it_is_written() {
        let limits = CallLimits { timeout: Duration::from_secs(5), reach: Reach::Public };
        let caller = Caller::new(limits);
        for host in
            ["127.0.0.1", "0x7f.1", "127.1", "2130706433", "0177.0.0.1", "①②⑦.0.0.1", "[::ffff:127.0.0.1]"]
        {
            let url = format!("https://{host}:9/x");
            let reply = caller.post(&url, &[], "id", UnixMs(0), Bytes::new()).await;
            assert!(matches!(reply.error, "address_refused" | "bad_url"), "{host}: {reply:?}");
            let parsed = url.parse::<Url>().map_or(true, |url| !limits.covers(&url));
            assert!(parsed, "{host} is no address to the URL's parser");
        }
    }
}
