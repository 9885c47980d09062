//! Starting and stopping an edge. All that can fail at the start fails before [`start`] returns.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use arc_swap::ArcSwap;
use rand::{SeedableRng, rngs::StdRng, rngs::SysRng};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use whence_journal::{JournalConfig, OpenError, Quota};
use whence_runtime::{health::Health, shares::Share};
use whence_schemas::token::KeyRing;

use super::{
    address::AddressHasher,
    agent_cache::{AGENTS_MAX, AgentCache},
    agents::AgentList,
    config::{EdgeConfig, EdgeError, SecureConfig},
    links::LinkTable,
    recorder::{JournalHealth, Recorder},
    server::{self, Limits},
    shared::{Clock, Shared},
    stream::{Listener, Listeners},
    tls,
    visitor::VisitorCookie,
    worker::Worker,
};

/// The name of the edge's component in readiness.
const COMPONENT: &str = "edge.journal";
/// hyper's own limit.
const HEAD_BYTES_MIN: usize = 8192;

/// What an edge works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The links.
    pub links: Arc<LinkTable>,
    /// The keys that tokens are made with; to be replaced as a whole when they rotate.
    pub keys: Arc<ArcSwap<KeyRing>>,
    /// Hashes addresses and visitors.
    pub hasher: AddressHasher,
    /// The time.
    pub clock: Clock,
    /// Where a disk that refuses clicks is shown.
    pub health: Option<Health>,
}

/// A running edge. Dropping it stops the edge without waiting.
#[derive(Debug)]
pub struct EdgeHandle {
    local_addr: SocketAddr,
    secure_addr: Option<SocketAddr>,
    stop: CancellationToken,
    cores: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    ended: oneshot::Receiver<usize>,
    thread: JoinHandle<()>,
}

/// How an edge ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Stopped {
    /// Connections that were cut because they did not finish in time.
    pub cut: usize,
    /// Threads that ended by a panic.
    pub panicked: usize,
}

impl EdgeHandle {
    /// Where the edge listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where the edge listens for TLS.
    #[must_use]
    pub fn secure_addr(&self) -> Option<SocketAddr> {
        self.secure_addr
    }

    /// Stops the edge: it takes no more connections, lets requests in hand finish, and returns no later
    /// than `drain_timeout` after that. All clicks are in the journals, and the journals are closed.
    pub async fn stop(mut self) -> Stopped {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits for an edge that its shutdown token stops.
    pub async fn join(mut self) -> Stopped {
        self.ended().await
    }

    async fn ended(&mut self) -> Stopped {
        let mut stopped = Stopped::default();
        for core in std::mem::take(&mut self.cores) {
            let cut = core.ended.await;
            // The message is a thread's last act: this waits for nothing.
            let joined = core.thread.join();
            match (cut, joined) {
                (Ok(cut), Ok(())) => stopped.cut += cut,
                _ => stopped.panicked += 1,
            }
        }
        if stopped.cut > 0 {
            tracing::warn!(connections = stopped.cut, "connections cut after the drain time-out");
        }
        stopped
    }
}

impl Drop for EdgeHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts an edge. `shutdown` stops it as [`EdgeHandle::stop`] does.
///
/// # Errors
/// See [`EdgeError`]; nothing runs then.
pub fn start(
    config: &EdgeConfig,
    parts: &Parts,
    shutdown: &CancellationToken,
) -> Result<EdgeHandle, EdgeError> {
    let shared = shared(config, parts)?;
    let agents = Arc::new(agent_list(config)?);
    let (local_addr, listeners) = listeners("edge", config.listen, config)?;
    let secure = config.secure.as_ref().map(|secure| door(secure, config)).transpose()?;
    let (secure_addr, acceptor, secure_listeners) = secure.map_or_else(
        || (None, None, Vec::new()),
        |(address, acceptor, listeners)| (Some(address), Some(acceptor), listeners),
    );
    let health = JournalHealth::new(parts.health.as_ref().map(|health| health.component(COMPONENT)));
    let quota = quota(config).map_err(OpenError::from)?;
    let workers: Vec<Worker> = (0..config.threads)
        .map(|index| {
            let recorder =
                Recorder::open(journal(config, &quota, index), config.segment_age, health.clone())?;
            let random = StdRng::try_from_rng(&mut SysRng).map_err(EdgeError::Random)?;
            Ok(Worker::new(
                shared.clone(),
                AgentCache::new(Arc::clone(&agents), AGENTS_MAX),
                recorder,
                random,
            ))
        })
        .collect::<Result<_, EdgeError>>()?;
    health.opened();
    let stop = shutdown.child_token();
    let mut handle = EdgeHandle { local_addr, secure_addr, stop: stop.clone(), cores: Vec::new() };
    let limits = Limits {
        connections_max: config.connections_max,
        share_percent: config.connections_share_percent,
        head_bytes_max: config.head_bytes_max,
        head_timeout: config.head_timeout,
        drain_timeout: config.drain_timeout,
    };
    let mut secure_listeners = secure_listeners.into_iter();
    for (index, (plain, worker)) in listeners.into_iter().zip(workers).enumerate() {
        let doors = Doors { plain, secure: secure_listeners.next(), acceptor: acceptor.clone() };
        // An error drops the handle, which stops the threads that run already.
        handle.cores.push(run(index, doors, limits, worker, stop.clone()).map_err(EdgeError::Thread)?);
    }
    tracing::info!(
        address = %local_addr,
        tls = secure_addr.map(tracing::field::display),
        threads = config.threads,
        "the edge answers links"
    );
    Ok(handle)
}

fn shared(config: &EdgeConfig, parts: &Parts) -> Result<Shared, EdgeError> {
    if config.threads == 0 {
        return Err(EdgeError::NoThreads);
    }
    if config.head_bytes_max < HEAD_BYTES_MIN {
        return Err(EdgeError::HeadBytes);
    }
    Ok(Shared {
        links: Arc::clone(&parts.links),
        keys: Arc::clone(&parts.keys),
        hasher: parts.hasher.clone(),
        trusted_proxies: config.trusted_proxies.as_slice().into(),
        forwarded_header: config.forwarded_header,
        certificates: config.secure.as_ref().map(|secure| Arc::clone(&secure.certificates)),
        proxies: [&*config.trusted_proxies, &*config.proxy_protocol_from].concat().into(),
        proxy_protocol_from: config.proxy_protocol_from.as_slice().into(),
        unknown_codes: Arc::new(Share::per_minute("unknown_codes", config.unknown_codes_per_minute)),
        majority: Arc::default(),
        cookie: VisitorCookie::new(&config.cookie).ok_or(EdgeError::CookieName)?,
        clock: parts.clock.clone(),
    })
}

fn agent_list(config: &EdgeConfig) -> Result<AgentList, EdgeError> {
    match &config.agents_path {
        None => Ok(AgentList::built_in()),
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| EdgeError::AgentFile { path: path.clone(), error })?;
            Ok(AgentList::parse(&text)?)
        }
    }
}

/// The journal of a core; its folder's name, with the number behind it.
const JOURNAL: &str = "clicks-";

fn journal(config: &EdgeConfig, quota: &Quota, index: usize) -> JournalConfig {
    JournalConfig {
        dir: config.journal_dir.join(format!("{JOURNAL}{index}")),
        segment_bytes: config.segment_bytes,
        quota: quota.clone(),
    }
}

/// One bound for the journals of all cores, so that a busy one loses nothing while others have room; what cores of
/// before have left counts too.
fn quota(config: &EdgeConfig) -> io::Result<Quota> {
    let quota = Quota::bytes(config.quota_bytes);
    let entries = match fs::read_dir(&config.journal_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(quota),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_journal = entry.file_name().to_str().is_some_and(|name| name.starts_with(JOURNAL));
        if is_journal && entry.file_type()?.is_dir() {
            quota.count(&entry.path())?;
        }
    }
    Ok(quota)
}

/// Where a core takes connections.
struct Doors {
    plain: TcpListener,
    secure: Option<TcpListener>,
    acceptor: Option<TlsAcceptor>,
}

/// What TLS needs: one configuration for all cores, so that each resumes the others' sessions.
fn door(
    secure: &SecureConfig,
    config: &EdgeConfig,
) -> Result<(SocketAddr, TlsAcceptor, Vec<TcpListener>), EdgeError> {
    let tls = tls::server_config(Arc::clone(&secure.certificates)).map_err(EdgeError::Tls)?;
    let (address, listeners) = listeners("edge-tls", secure.listen, config)?;
    Ok((address, tls.into(), listeners))
}

/// As many listeners as threads at one address.
fn listeners(
    name: &str,
    address: SocketAddr,
    config: &EdgeConfig,
) -> Result<(SocketAddr, Vec<TcpListener>), EdgeError> {
    let failed = |error| EdgeError::Bind { address, error };
    let listeners = server::listen(name, address, config.threads, config.head_timeout).map_err(failed)?;
    let bound = listeners.first().expect("an edge has threads").local_addr().map_err(failed)?;
    Ok((bound, listeners))
}

fn run(
    index: usize,
    doors: Doors,
    limits: Limits,
    worker: Worker,
    stop: CancellationToken,
) -> io::Result<Running> {
    let (ending, ended) = oneshot::channel();
    // A runtime of this kind lives on the thread that built it.
    let (started, starting) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("edge-{index}")).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        let cut = runtime.block_on(async move {
            let Doors { plain, secure, acceptor } = doors;
            let registered = Listener::new(plain).and_then(|plain| {
                let secure = secure.map(Listener::new).transpose()?;
                Ok(Listeners { plain, secure })
            });
            match registered {
                Ok(listeners) => {
                    let _ = started.send(Ok(()));
                    server::serve(listeners, acceptor, limits, worker, stop).await
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                    0
                }
            }
        });
        // What is left of the connections goes with the runtime, and with the last of them the journal
        // closes: only then has this core ended.
        drop(runtime);
        let _ = ending.send(cut);
    })?;
    match starting.recv() {
        Ok(Ok(())) => Ok(Running { ended, thread }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the thread ended at once")),
    }
}
