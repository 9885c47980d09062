//! The listener: connections, their bounds, and the end.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use whence_runtime::site::Site;

use super::auth::Accounts;
use super::body::Budget;
use super::gate::Gate;
use super::places::{Busy, ConnectionSlot, ConnectionSlots, Room};
use super::reply::Body;
use super::server::Server;
use crate::config::ServerConfig;
use crate::engine::{Engine, EngineError};
use crate::pulse;
use crate::scratch::Scratch;
use crate::sql::SettingLimits;
use crate::watchdog::Watchdog;

/// How long the engine's threads may take to end after their statements were killed.
const KILLED_MAX: Duration = Duration::from_secs(10);
/// A pause after a failed `accept`, which without one would spin: out of descriptors, most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a server did not start, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener does not say where it listens.
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
    /// The engine did not open or close.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Opens the engine and serves ClickHouse's HTTP interface on `listener` until `shutdown`; then lets
/// requests under way end within `drain_max`, kills the rest, and closes the engine.
///
/// Connections wait in the listener's backlog until the engine is open, so the first answer to
/// `/ping` means ready.
///
/// # Errors
/// The engine does not open; or, at the end, does not close, after which
/// the process should exit without running destructors (acknowledged rows are safe either way).
pub async fn serve(
    config: ServerConfig,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    serve_and_tell(config, listener, shutdown, || ()).await
}

/// The same, and calls `opened` once the engine is open: a confined process cannot connect to itself to ask.
///
/// # Errors
/// As for [`serve`].
pub async fn serve_and_tell(
    config: ServerConfig,
    listener: TcpListener,
    shutdown: CancellationToken,
    opened: impl FnOnce() + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    let server = Arc::new(open(config, address).await?);
    tracing::info!(%address, version = server.engine.version(), "clickhouse engine is listening");
    opened();
    let ending = CancellationToken::new();
    let sweeping = tokio::spawn(Arc::clone(&server.scratch).keep(ending.clone()));
    Arc::clone(&server.watchdog).keep(ending.clone());
    let engine = Arc::clone(&server.engine);
    let pulse = pulse::inherited().and_then(|stream| {
        let answering = pulse::answer(stream, engine, ending.clone());
        answering.inspect_err(|error| tracing::warn!(%error, "cannot answer the supervisor")).ok()
    });
    accept(&server, listener, &shutdown).await;
    ending.cancel();
    let helped = tokio::task::spawn_blocking(move || pulse.is_none_or(|pulse| pulse.join().is_ok())).await;
    if sweeping.await.is_err() || !helped.unwrap_or(false) {
        tracing::warn!("a helper of the server failed");
    }
    close(server).await
}

async fn open(config: ServerConfig, address: SocketAddr) -> Result<Server, ServeError> {
    let ServerConfig { library, data, owner, reader, databases, hosts, engine: engine_limits, limits } =
        config;
    let further_engines = engines_of(&engine_limits.further_grants);
    let made = databases.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let engine = Engine::open(&library, &data, &engine_limits, &made)?;
        let time_zone = engine.time_zone()?;
        Ok::<_, EngineError>((engine, time_zone))
    });
    let (engine, time_zone) = opening.await.expect("opening the engine does not panic")?;
    let engine = Arc::new(engine);
    let gate = |places| Gate::new(places, limits.waiting_max, limits.wait_max);
    let reader_places = limits.reader_queries_max.max(1);
    Ok(Server {
        queries: gate(limits.queries_max),
        inserts: gate(limits.inserts_max),
        reader: gate(reader_places),
        writing: Arc::new(Semaphore::new(1)),
        watchdog: Arc::new(Watchdog::new(limits.stuck_max)),
        scratch: Arc::new(Scratch::new(Arc::clone(&engine), &databases.scratch, limits.scratch)),
        engine,
        blocking: TaskTracker::new(),
        site: Site { is_local: address.ip().is_loopback(), names: hosts, has_pages: false },
        accounts: Accounts { owner, reader },
        databases,
        further_engines,
        setting_limits: SettingLimits {
            memory_bytes_max: (limits.reader_memory_bytes_max / reader_places as u64).max(1),
            seconds_max: limits.reader_seconds_max.max(1),
            threads_max: limits.reader_threads_max.max(1),
            temporary_bytes_max: (limits.reader_temporary_bytes_max / reader_places as u64).max(1),
        },
        budget: Budget::new(limits.bodies_bytes_max),
        reader_budget: Budget::new(limits.reader_bodies_bytes_max),
        time_zone,
        limits,
    })
}

/// The engines that further grants name: `TABLE ENGINE ON Kafka`.
fn engines_of(grants: &[String]) -> Vec<String> {
    grants.iter().filter_map(|grant| grant.strip_prefix("TABLE ENGINE ON ")).map(str::to_owned).collect()
}

/// Accepts until `shutdown`, then waits for the connections' requests.
async fn accept(server: &Arc<Server>, listener: TcpListener, shutdown: &CancellationToken) {
    let limits = &server.limits;
    let places = ConnectionSlots::new(Room {
        strangers: limits.strangers_max,
        owner: limits.owner_connections_max,
        reader: limits.reader_connections_max,
    });
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                // Without a place the stream is dropped, and with it closed.
                let Some(place) = places.take() else { continue };
                let leave = place.leave();
                let connection = connection(server.clone(), stream, Arc::new(place), &graceful);
                let cut = cut.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = leave.cancelled() => {}
                        () = cut.cancelled() => {}
                        () = connection => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // New connections are refused from here on, rather than left to wait for nobody.
    drop(listener);
    tracing::info!(connections = graceful.count(), "draining");
    if timeout(server.limits.drain_max, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests did not end in time and are cut");
    }
    cut.cancel();
    connections.close();
    connections.wait().await;
}

fn connection(
    server: Arc<Server>,
    stream: TcpStream,
    place: Arc<ConnectionSlot>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "cannot switch nagle's algorithm off");
    }
    let headers_max = server.limits.headers_max;
    let service = service_fn(move |request| {
        let (server, place, busy) = (server.clone(), Arc::clone(&place), place.begin());
        async move {
            let answer = server.answer(request, &place).await;
            // In progress until its last byte is taken.
            Ok::<_, std::convert::Infallible>(answer.map(|body| Held { body, _busy: busy }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(headers_max)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "connection ended");
        }
    }
}

/// A body that keeps its connection busy.
struct Held {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn close(server: Arc<Server>) -> Result<(), ServeError> {
    server.blocking.close();
    if timeout(server.limits.drain_max, server.blocking.wait()).await.is_err() {
        tracing::warn!(statements = server.blocking.len(), "killing statements that did not end");
        let engine = server.engine.clone();
        let _ = tokio::task::spawn_blocking(move || {
            engine.keeper()?.query(b"KILL QUERY WHERE 1 ASYNC", "Null", &[])
        })
        .await;
        let _ = timeout(KILLED_MAX, server.blocking.wait()).await;
    }
    let Ok(server) = Arc::try_unwrap(server) else {
        return Err(EngineError::Busy.into());
    };
    drop(server.scratch);
    let Ok(engine) = Arc::try_unwrap(server.engine) else {
        return Err(EngineError::Busy.into());
    };
    tokio::task::spawn_blocking(move || engine.close()).await.expect("closing does not panic")?;
    tracing::info!("clickhouse engine closed");
    Ok(())
}
