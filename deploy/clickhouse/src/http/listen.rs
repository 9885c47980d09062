//! The listener: connections, their bounds, and the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use metrics::gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Account;
use super::body::Budget;
use super::gate::Gate;
use super::server::Server;
use crate::config::ServerConfig;
use crate::engine::{Engine, EngineError};
use crate::metrics::CONNECTIONS;

/// How long the engine's threads may take to end after their statements were killed.
const KILLED_MAX: Duration = Duration::from_secs(10);
/// A pause after a failed `accept`, which without one would spin: out of descriptors, most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a server did not start, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Anyone who reaches the port could read and drop everything.
    #[error("refusing to listen on {address} without a password: only loopback may go without")]
    NoPassword {
        /// The address.
        address: SocketAddr,
    },
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
/// No password outside loopback; the engine does not open; or, at the end, does not close, after which
/// the process should exit without running destructors (acknowledged rows are safe either way).
pub async fn serve(
    config: ServerConfig,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    if config.password.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::NoPassword { address });
    }
    let server = Arc::new(open(config).await?);
    tracing::info!(%address, version = server.engine.version(), "clickhouse engine is listening");
    accept(&server, listener, &shutdown).await;
    close(server).await
}

async fn open(config: ServerConfig) -> Result<Server, ServeError> {
    let ServerConfig { library, data, user, password, engine: engine_limits, limits } = config;
    let opening = tokio::task::spawn_blocking(move || {
        let engine = Engine::open(&library, &data, &engine_limits)?;
        let time_zone = engine.time_zone()?;
        Ok::<_, EngineError>((engine, time_zone))
    });
    let (engine, time_zone) = opening.await.expect("opening the engine does not panic")?;
    Ok(Server {
        engine: Arc::new(engine),
        queries: Gate::new(limits.queries_max, limits.waiting_max, limits.wait_max),
        inserts: Gate::new(limits.inserts_max, limits.waiting_max, limits.wait_max),
        blocking: TaskTracker::new(),
        account: Account::new(user, password),
        budget: Budget::new(limits.bodies_bytes_max),
        time_zone,
        limits,
    })
}

/// Accepts until `shutdown`, then waits for the connections' requests.
async fn accept(server: &Arc<Server>, listener: TcpListener, shutdown: &CancellationToken) {
    let places = Arc::new(Semaphore::new(server.limits.connections_max));
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let next = async || {
        let place = places.clone().acquire_owned().await.expect("never closed");
        (listener.accept().await, place)
    };
    while let Some((accepted, place)) = shutdown.run_until_cancelled(next()).await {
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(server.clone(), stream, &graceful);
                let cut = cut.clone();
                connections.spawn(async move {
                    cut.run_until_cancelled(connection).await;
                    gauge!(CONNECTIONS).decrement(1.0);
                    drop(place);
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
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    gauge!(CONNECTIONS).increment(1.0);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "cannot switch nagle's algorithm off");
    }
    let headers_max = server.limits.headers_max;
    let service = service_fn(move |request| {
        let server = server.clone();
        async move { Ok::<_, std::convert::Infallible>(server.answer(request).await) }
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

async fn close(server: Arc<Server>) -> Result<(), ServeError> {
    server.blocking.close();
    if timeout(server.limits.drain_max, server.blocking.wait()).await.is_err() {
        tracing::warn!(statements = server.blocking.len(), "killing statements that did not end");
        let engine = server.engine.clone();
        let _ = tokio::task::spawn_blocking(move || {
            engine.session(&[])?.query(b"KILL QUERY WHERE 1 ASYNC", "Null", &[])
        })
        .await;
        let _ = timeout(KILLED_MAX, server.blocking.wait()).await;
    }
    let Ok(server) = Arc::try_unwrap(server) else {
        return Err(EngineError::Busy.into());
    };
    let Ok(engine) = Arc::try_unwrap(server.engine) else {
        return Err(EngineError::Busy.into());
    };
    tokio::task::spawn_blocking(move || engine.close()).await.expect("closing does not panic")?;
    tracing::info!("clickhouse engine closed");
    Ok(())
}
