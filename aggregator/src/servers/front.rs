//! What stands before several servers: takes requests from the `clickhouse` crate's client over connections within
//! the process, and passes each to the first server that takes it.
//!
//! The next server is asked when one can't be reached, speaks no TLS that is trusted, breaks the connection, or says
//! 502, 503 or 504. Never for what ClickHouse says of a statement. Each server is asked once at most. A request that
//! may have arrived is only sent again if that changes nothing: a question, or an insert under a token.

use super::{
    connect,
    connect::Connector,
    load::{Kept, Load},
    trouble,
    turn::Turn,
    url::ServerUrl,
    wait::{AnswerTimeout, Timed},
};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    header::{CONNECTION, HOST, HeaderName, TRANSFER_ENCODING},
    http::uri::InvalidUri,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::TokioIo,
};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tower_service::Service;

/// What the client within the process believes to call.
pub(super) const URL: &str = "http://clickhouse";
/// What a connection within the process holds in either direction.
const PIPE_BYTES: usize = 256 << 10;
/// What a server says when it, or what stands before it, can't work on anything now.
const UNAVAILABLE: [StatusCode; 3] =
    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];

type Answer = Response<Either<Timed, Full<Bytes>>>;

/// The in-process end.
#[derive(Clone)]
pub(super) struct Front(Arc<Inner>);

struct Inner {
    urls: Vec<ServerUrl>,
    servers: Client<Connector, Load>,
    turn: Arc<Turn>,
    timeout: Option<AnswerTimeout>,
}

impl Front {
    pub(super) fn new(
        urls: Vec<ServerUrl>,
        connector: Connector,
        turn: Arc<Turn>,
        timeout: Option<AnswerTimeout>,
    ) -> Front {
        Front(Arc::new(Inner { urls, servers: connect::pool(connector), turn, timeout }))
    }

    /// A client whose requests all come here.
    pub(super) fn pool<B>(self) -> Client<Front, B>
    where
        B: Body + Send,
        B::Data: Send,
    {
        connect::pool(self)
    }
}

impl Service<Uri> for Front {
    type Response = TokioIo<Pipe>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Pipe>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let inner = Arc::clone(&self.0);
        let answered = service_fn(move |request| {
            let inner = Arc::clone(&inner);
            async move { Ok::<_, Infallible>(inner.pass_on(request).await) }
        });
        // Ends with its client's end, and gives up then what it asked.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(theirs), answered));
        ready(Ok(TokioIo::new(Pipe(ours))))
    }
}

impl Inner {
    async fn pass_on(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = match Kept::of(body).await {
            Ok(body) => body,
            // The client has gone.
            Err(error) => return said(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let changes_nothing = body.is_question() || has_token(&head.uri);
        let mut failures = Vec::new();
        for server in self.turn.order() {
            let Some(load) = body.load() else { break };
            let (begun, frames) = (Arc::clone(&load.begun), Arc::clone(&load.frames));
            let url = &self.urls[server];
            let request = match at(url, &head.uri) {
                Ok(uri) => {
                    let mut request = Request::new(load);
                    *request.method_mut() = head.method.clone();
                    *request.uri_mut() = uri;
                    *request.headers_mut() = passed_on(&head.headers);
                    request
                }
                Err(error) => return said(StatusCode::BAD_REQUEST, error.to_string()),
            };
            let asked = self.turn.ask(server);
            let answer = self.servers.request(request);
            let answer = match &self.timeout {
                Some(timeout) => timeout.watch(url, &frames, answer).await,
                None => Some(answer.await),
            };
            let (reason, text, is_refused) = match answer {
                None => {
                    let after = self.timeout.as_ref().map_or(0.0, |timeout| timeout.after.as_secs_f64());
                    ("silent", format!("it has not answered for {after} s"), false)
                }
                Some(Ok(answer)) if !UNAVAILABLE.contains(&answer.status()) => {
                    asked.answered();
                    return passed_back(answer, url, self.timeout.as_ref());
                }
                Some(Ok(answer)) => {
                    let status = answer.status();
                    let text = format!("it says {status}: it can't work now, or nothing behind it does");
                    ("unavailable", text, status == StatusCode::SERVICE_UNAVAILABLE)
                }
                Some(Err(error)) => {
                    let (word, trouble) = trouble::of_network(&error);
                    (word, trouble.text, false)
                }
            };
            failures.push(format!("{url}: {text}"));
            asked.failed(reason, &text);
            let may_be_done = begun.load(Ordering::Relaxed) && !is_refused;
            if may_be_done && !changes_nothing {
                break;
            }
        }
        self.turn.exhausted();
        said(StatusCode::SERVICE_UNAVAILABLE, format!("{}: {}", trouble::NOBODY, failures.join("; ")))
    }
}

/// The same request at a server.
fn at(server: &ServerUrl, uri: &Uri) -> Result<Uri, InvalidUri> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{server}{}{query}", if server.path().is_empty() { "/" } else { "" }).parse()
}

fn has_token(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("insert_deduplication_token="))
}

/// Without what is of the connection within the process.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [HOST, CONNECTION, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
    headers
}

fn passed_back(answer: Response<Incoming>, url: &ServerUrl, timeout: Option<&AnswerTimeout>) -> Answer {
    let (mut head, body) = answer.into_parts();
    head.headers = passed_on(&head.headers);
    head.version = hyper::Version::HTTP_11;
    Response::from_parts(head, Either::Left(Timed::new(body, url, timeout)))
}

fn said(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Either::Right(Full::new(text.into())));
    *answer.status_mut() = status;
    answer
}

/// One end of a connection within the process.
pub(super) struct Pipe(DuplexStream);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
