//! A bounded HTTP/1 server for plain listeners: the API, the console, the admin port. The redirector has
//! its own loop, because it counts nanoseconds; this one only counts limits.
//!
//! Every connection holds one of a fixed number of places and lives a bounded time: the time to read a
//! request's head (also the keep-alive idle time), the age after which it is asked to close, the time it
//! then has left. Where there is no place left, or none in the share of its network, an idle connection is
//! closed for a new one (see [`seats`](crate::seats)). Where all are being answered, a client gets a 503 and
//! is counted, so that the kernel's backlog never hides an overload.

mod body;
pub mod forwarded;
mod noticed;
mod parting;
mod places;
mod refusal;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Either;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::seats::Guest;
use crate::site::{self, Site};
use crate::{descriptors, seldom};
use places::{ConnectionSlot, ConnectionSlots};

pub use body::{BodyError, Full, empty, full, read_body};
pub use noticed::Noticed;
pub use refusal::Refusal;

use parting::Parting;

whence_metrics::declare! {
    /// Open connections of a listener.
    gauge HTTP_CONNECTIONS: "whence_http_connections" { listener };
    /// Connections answered 503 because the listener was full.
    counter HTTP_CONNECTIONS_REFUSED: "whence_http_connections_refused_total" { listener };
    /// Idle connections closed so that a new one had a place.
    counter HTTP_CONNECTIONS_DISPLACED: "whence_http_connections_displaced_total" { listener };
    /// Connections cut because they did not finish in the time to drain.
    counter HTTP_CONNECTIONS_CUT: "whence_http_connections_cut_total" { listener };
    /// Requests to a local listener by a foreign name or another site's page, by reason.
    counter HTTP_REQUESTS_TURNED_AWAY: "whence_http_requests_turned_away_total" { listener, reason };
    /// Failed accepts of a listener.
    counter HTTP_ACCEPT_ERRORS: "whence_http_accept_errors_total" { listener };
    /// Requests that the HTTP parser refused, by listener and reason.
    counter HTTP_HEADS_REFUSED: "whence_http_heads_refused_total" { listener, reason };
    /// Answered requests by listener and status.
    counter HTTP_REQUESTS: "whence_http_requests_total" { listener, status };
    /// Time from a request's head to its answer's head.
    histogram HTTP_REQUEST_DURATION_SECONDS: "whence_http_request_duration_seconds" { listener };
}

/// After a failed `accept` (usually: out of file descriptors) there is nothing to do but wait for a
/// connection to end. The length is arbitrary.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Sent raw to a client for which there is no slot; its request is not read.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What one listener allows.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The listener's name, a label of its metrics.
    pub name: &'static str,
    /// Connections at a time.
    pub connections_max: usize,
    /// A network's share of them, in percent: see [`seats`](crate::seats).
    pub share_percent: usize,
    /// Names by which it may be called where it listens on loopback, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Networks of proxies: these have no share, and none of their connections is closed for another one.
    pub proxies: Vec<IpNet>,
    /// Time for a request's head, and for the silence between two requests of a connection.
    pub head_timeout: Duration,
    /// Bytes of a request's head, and of the read buffer. hyper's minimum is 8192.
    pub head_bytes_max: usize,
    /// Age at which a connection is asked to close after the request in hand, so that load balances again
    /// and a reader that never finishes does not hold its place for ever.
    pub connection_age_max: Duration,
    /// Time for the requests in hand once a connection is to close.
    pub drain_timeout: Duration,
}

impl Limits {
    /// Limits for a listener that few people know of: 1,000 connections, a quarter of them for one network, heads
    /// of 16 KiB within 10 s, connections of 10 minutes, 5 s to drain.
    pub const fn named(name: &'static str) -> Self {
        Self {
            name,
            connections_max: 1_000,
            share_percent: 25,
            hosts: Vec::new(),
            proxies: Vec::new(),
            head_timeout: Duration::from_secs(10),
            head_bytes_max: 16 << 10,
            connection_age_max: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// The address of the connection's other end, in every request's extensions. Behind a proxy it is the
/// proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// Connections that were cut because they did not finish in time.
    pub cut: usize,
}

/// Serves until `shutdown` is cancelled, then stops accepting, lets requests in hand finish, and returns
/// no later than `drain_timeout` after that.
///
/// On loopback, requests by a foreign name or by a page of another site are refused before `handler` sees
/// them (see [`site`]).
///
/// `handler` answers one request; it finds the [`Peer`] in the extensions. A panic in it ends its
/// connection only. It must bound its own work and the body it reads ([`read_body`]).
///
/// # Panics
/// If `head_bytes_max` is below hyper's minimum of 8192.
pub async fn serve_http<H, F, B>(
    listener: TcpListener,
    limits: Limits,
    handler: H,
    shutdown: CancellationToken,
) -> Drained
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let site = Arc::new(Site { is_local, names: limits.hosts.clone(), has_pages: true });
    let meters = Meters::of(limits.name);
    let places = ConnectionSlots::new(limits.connections_max, limits.share_percent);
    let limits = Arc::new(limits);
    let connections = TaskTracker::new();
    // Cancelling it drops what is left of every connection.
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                meters.accept_errors.increment(1);
                seldom!(warn, listener = limits.name, %error, "accept failed");
                if descriptors::are_exhausted(&error) {
                    places.make_room();
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.seat(Guest::of(peer.ip(), &limits.proxies)).await else {
            refuse(&stream, &meters);
            continue;
        };
        let connection = serve_connection(
            stream,
            (Peer(peer), Arc::new(place)),
            (Arc::clone(&limits), Arc::clone(&site)),
            handler.clone(),
            shutdown.clone(),
            meters.clone(),
        );
        let cut = cut.clone();
        connections.spawn(async move {
            cut.run_until_cancelled_owned(connection).await;
        });
    }
    drop(listener);
    connections.close();
    let left = match timeout(limits.drain_timeout, connections.wait()).await {
        Ok(()) => 0,
        Err(_) => connections.len(),
    };
    if left > 0 {
        tracing::warn!(
            listener = limits.name,
            connections = left,
            "connections cut after the drain time-out"
        );
        meters.cut.increment(left as u64);
        cut.cancel();
        connections.wait().await;
    }
    Drained { cut: left }
}

async fn serve_connection<H, F, B>(
    stream: TcpStream,
    (peer, place): (Peer, Arc<ConnectionSlot>),
    (limits, site): (Arc<Limits>, Arc<Site>),
    handler: H,
    shutdown: CancellationToken,
    meters: Meters,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _open = meters.opened();
    // Answers are small and complete; waiting to fill a segment only adds latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(listener = limits.name, %error, "cannot set TCP_NODELAY");
    }
    let requests = meters.clone();
    let seated = Arc::clone(&place);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        seated.served();
        let started = Instant::now();
        let checked = site.check(request.method(), request.uri(), request.headers());
        let answer = checked.map(|()| handler(request));
        let (meters, seated) = (requests.clone(), Arc::clone(&seated));
        async move {
            let response = match answer {
                Ok(answer) => answer.await.map(Either::Left),
                Err(refusal) => meters.turned_away(refusal).map(Either::Right),
            };
            seated.heard();
            meters.answered(response.status().as_u16(), started.elapsed());
            Ok::<_, Infallible>(response)
        }
    });
    let noticing = {
        let place = Arc::clone(&place);
        move || place.begun()
    };
    let parting = Parting::new(stream, shutdown.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes_max)
        // A client that has ended its side may wait for the answer (RFC 9112, 9.6).
        .half_close(true)
        .serve_connection(Noticed::new(TokioIo::new(parting), noticing), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        // First, so that a request that has arrived already is answered whatever comes next.
        biased;
        ended = connection.as_mut() => ended,
        () = place.told.cancelled() => {
            meters.displaced.increment(1);
            // A request may have come since it was the one to go.
            match place.is_served() {
                true => {
                    connection.as_mut().graceful_shutdown();
                    ended_within(limits.drain_timeout, connection, &meters).await
                }
                false => Ok(()),
            }
        }
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // The accept loop cuts all connections at one deadline and counts them.
            connection.await
        }
        () = sleep(limits.connection_age_max) => {
            connection.as_mut().graceful_shutdown();
            ended_within(limits.drain_timeout, connection, &meters).await
        }
    };
    if let Err(error) = ended {
        if let Some(refusal) = Refusal::of(&error) {
            meters.head_refused(refusal);
        }
        // Clients that vanish or talk nonsense are daily life.
        tracing::debug!(listener = limits.name, %error, "connection ended early");
    }
}

async fn ended_within<C: Future<Output = hyper::Result<()>>>(
    limit: Duration,
    connection: C,
    meters: &Meters,
) -> hyper::Result<()> {
    timeout(limit, connection).await.unwrap_or_else(|_| {
        meters.cut.increment(1);
        Ok(())
    })
}

/// Best effort: the socket is dropped right after, and a client that has already written may see a reset
/// instead of the answer. Both tell it to come back later.
fn refuse(stream: &TcpStream, meters: &Meters) {
    meters.refused.increment(1);
    if let Err(error) = stream.try_write(REFUSAL) {
        tracing::debug!(%error, "cannot answer a refused connection");
    }
}

/// The metrics of one listener.
#[derive(Clone)]
struct Meters {
    name: &'static str,
    open: metrics::Gauge,
    refused: metrics::Counter,
    displaced: metrics::Counter,
    cut: metrics::Counter,
    accept_errors: metrics::Counter,
    duration: metrics::Histogram,
}

impl Meters {
    fn of(name: &'static str) -> Self {
        Self {
            name,
            open: metrics::gauge!(HTTP_CONNECTIONS, "listener" => name),
            refused: metrics::counter!(HTTP_CONNECTIONS_REFUSED, "listener" => name),
            displaced: metrics::counter!(HTTP_CONNECTIONS_DISPLACED, "listener" => name),
            cut: metrics::counter!(HTTP_CONNECTIONS_CUT, "listener" => name),
            accept_errors: metrics::counter!(HTTP_ACCEPT_ERRORS, "listener" => name),
            duration: metrics::histogram!(HTTP_REQUEST_DURATION_SECONDS, "listener" => name),
        }
    }

    fn opened(&self) -> Open {
        self.open.increment(1.0);
        Open(self.open.clone())
    }

    fn turned_away(&self, refusal: site::Refusal) -> Response<Full> {
        let reason = refusal.label();
        metrics::counter!(HTTP_REQUESTS_TURNED_AWAY, "listener" => self.name, "reason" => reason)
            .increment(1);
        let mut response = Response::new(full(refusal.text()));
        *response.status_mut() = refusal.status();
        response
    }

    fn head_refused(&self, refusal: Refusal) {
        metrics::counter!(
            HTTP_HEADS_REFUSED, "listener" => self.name, "reason" => refusal.word()
        )
        .increment(1);
    }

    fn answered(&self, status: u16, took: Duration) {
        self.duration.record(took.as_secs_f64());
        // The label is one of the statuses the handlers return, a score at most.
        metrics::counter!(HTTP_REQUESTS, "listener" => self.name, "status" => status.to_string())
            .increment(1);
    }
}

/// Counts a connection down when it ends in whatever way.
struct Open(metrics::Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
